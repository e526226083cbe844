"""Conversion of experiments to and from the content of yaml files.

`node_repro.experiments` describes most experiments in Python. They are stored in hydra's
ConfigStore (`config.compose.register_experiments`), so that sweeps, `glob()`, `--cfg` and tab
completion find them like the yaml files of `experiment/` folders.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from node_repro.config.options import GROUPS
from node_repro.experiments import Experiment, current_name

PROBES = "probes"
"""The key of an experiment's yaml that lists its probes; it is not a key of a run."""


def to_content(experiment: Experiment) -> dict[str, Any]:
    """The content of an equivalent yaml file, with its defaults list."""
    overrides = experiment.overrides.items()
    content: dict[str, Any] = {
        "defaults": [{f"override /{key}": value} for key, value in overrides if key in GROUPS]
    }
    for key, value in overrides:
        if key not in GROUPS:
            *sections, last = key.split(".")
            inside = content
            for section in sections:
                inside = inside.setdefault(section, {})
            inside[last] = value
    return content


def from_values(name: str, purpose: str, values: Mapping[str, Any]) -> Experiment:
    """The experiment of a yaml file.

    Args:
        name: The file's name.
        purpose: Its first comment.
        values: Its content by dotted key.
    """
    overrides: dict[str, object] = {}
    for entry in values.get("defaults") or []:
        for key, value in entry.items() if isinstance(entry, Mapping) else ():
            overrides[key.removeprefix("override ").removeprefix("/").partition("@")[0]] = value
    overrides |= {key: value for key, value in values.items() if key not in ("defaults", PROBES)}
    return Experiment(name, purpose, overrides=overrides, probes=tuple(values.get(PROBES) or ()))


def replace_former_names(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Replace former names of experiments in overrides.

    Returns:
        The overrides, and a line for each replaced name.
    """
    replaced: list[str] = []

    def current(name: re.Match[str]) -> str:
        new = current_name(name[0])
        if new != name[0]:
            replaced.append(f"experiment {name[0]} is now called {new}")
        return new

    words = [
        re.sub(r"\w+", current, word) if word.startswith("experiment=") else word for word in words
    ]
    return words, list(dict.fromkeys(replaced))
