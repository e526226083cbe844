"""config.yaml of a run: the resolved configuration, with the signature in the first line.

The signature decides whether a directory belongs to a run; the configuration is only used to
explain a mismatch.
"""

import json
import os
from collections.abc import Collection
from pathlib import Path

import yaml

from node_repro.runs import OutputError
from node_repro.runs.json_values import flatten

_SIGNATURE = "# signature: "
_BEFORE_CONFIG = ("lock", "train.log")  # files of a process killed at its start


def config_text(config: dict, signature: str) -> str:
    """The content of config.yaml."""
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    return f"{_SIGNATURE}{signature}\n{text}"


def is_known(path: Path) -> bool:
    """Whether the directory holds a run; False if it is empty.

    Raises:
        OutputError: It holds files that do not belong to a run.
    """
    names = os.listdir(path)
    if "config.yaml" in names:
        return True
    foreign = sorted(n for n in names if n not in _BEFORE_CONFIG and not n.startswith("."))
    if foreign:
        raise OutputError(
            f"{path} has no config.yaml but holds {', '.join(foreign[:5])}: it is not the "
            "directory of a run; choose another name=..."
        )
    return False


def refuse_another(path: Path, config: dict, signature: str, harmless: Collection[str]) -> bool:
    """Whether the directory holds a run of this signature; False if it is empty.

    Args:
        path: The directory.
        config: The resolved configuration, compared to explain a mismatch.
        signature: The signature that the directory's run must have.
        harmless: Dotted keys that are not named as the reason.

    Raises:
        OutputError: It holds another run (the message names the keys that differ) or foreign files.
    """
    if not is_known(path):
        return False
    file = path / "config.yaml"
    try:
        first, _, text = file.read_text(encoding="utf-8").partition("\n")
        if first == _SIGNATURE + signature:
            return True
        old = flatten(yaml.safe_load(text))
    except (ValueError, AttributeError, yaml.YAMLError) as error:
        raise OutputError(f"{file} is damaged; choose another name=...") from error
    lines = _differences(old, flatten(yaml.safe_load(yaml.safe_dump(config))), harmless)
    shown = ", ".join(lines[:8]) + (f" and {len(lines) - 8} more" if len(lines) > 8 else "")
    raise OutputError(
        f"{path} holds a run with another configuration "
        f"({shown or 'equal keys, but a signature of another version of the program'}); "
        "choose another name=... or remove that directory."
    )


def _differences(
    old: dict[str, object], new: dict[str, object], harmless: Collection[str]
) -> list[str]:
    def shown(values: dict[str, object], key: str) -> str:
        return (
            json.dumps(values[key], ensure_ascii=False, default=str)
            if key in values
            else "(absent)"
        )

    pairs = [(key, shown(old, key), shown(new, key)) for key in dict.fromkeys([*old, *new])]
    return [
        f"{key}: {before} -> {after}"
        for key, before, after in pairs
        if before != after and not any(f"{key}.".startswith(f"{name}.") for name in harmless)
    ]
