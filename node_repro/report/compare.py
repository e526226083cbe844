"""`node-run job=compare`: where configurations differ, and what came of them, side by side.

Read from config.yaml and result.json alone. An argument is the directory of a finished run, or one
that holds several seeds, whose numbers are then a mean ± the standard deviation over them, or the
one above that, if it holds a single configuration.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import yaml

from node_repro.config import ConfigError
from node_repro.runs.metrics import METRICS
from node_repro.runs.result import read_result

_NOT_COMPARED = {"seed", "name", "outputs", "progress", "debug", "device", "profile", "threads"}
_COST = "nfe_forward nfe_backward step_seconds saved_bytes peak_bytes".split()
_FACTS = "data profile device iterations parameters".split()


@dataclass(frozen=True)
class Column:
    """One argument of runs=: the results of one configuration, one for each seed."""

    title: str
    config: Mapping[str, str]  # dotted keys
    results: Sequence[Mapping[str, Any]]


def compare(runs: Sequence[str]) -> str:
    """The table. ConfigError for a directory without a finished run, naming it."""
    columns = _titled([_column(Path(run)) for run in runs])
    keys = dict.fromkeys(key for column in columns for key in column.config)
    configs = [(key, [column.config.get(key, "-") for column in columns]) for key in keys]
    differing = [(key, values) for key, values in configs if len(set(values)) > 1]
    names = dict.fromkeys(name for column in columns for name in _numbers(column.results[0]))
    numbers = [(name, [_told(name, column) for column in columns]) for name in names]
    facts = [(fact, [_fact(fact, column) for column in columns]) for fact in ("seeds", *_FACTS)]
    rows = [
        ("", [column.title for column in columns]),
        *(differing or [("the configurations are the same", [])]),
        ("", []),
        *facts,
        *numbers,
    ]
    return _aligned(rows)


def _column(path: Path) -> Column:
    folders = [path] if (path / "config.yaml").is_file() else _seeds(path)
    finished = [folder for folder in folders if (folder / "result.json").is_file()]
    if not finished:
        why = "is not finished" if folders else "is no run, nor a folder with the seeds of one"
        raise ConfigError(f"runs={path}: it {why}; `node-run list` shows which there are")
    try:
        config = yaml.safe_load((finished[0] / "config.yaml").read_text(encoding="utf-8"))
        results = [read_result(folder / "result.json") for folder in finished]
        if not isinstance(config, dict):
            raise ValueError("config.yaml holds no keys")
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"runs={path}: a file of it cannot be read: {reason}") from error
    return Column(str(path), dict(_flat(config)), results)


def _seeds(path: Path) -> list[Path]:
    """The runs in a folder of seeds, or of one configuration's seeds."""
    if not (folders := sorted(path.glob("seed*"))):
        folders = sorted(path.glob("*/seed*"))
        if len(below := sorted({folder.parent.name for folder in folders})) > 1:
            raise ConfigError(
                f"runs={path}: there are several configurations in it, name one: {', '.join(below)}"
            )
    return folders


def _titled(columns: list[Column]) -> list[Column]:
    """With the paths' parts that tell them apart, in place of the whole paths."""
    parts = [Path(column.title).parts for column in columns]
    same = 0
    while all(len(one) > same + 1 for one in parts) and len({one[same] for one in parts}) == 1:
        same += 1
    return [
        Column("/".join(one[same:]), column.config, column.results)
        for one, column in zip(parts, columns, strict=True)
    ]


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif f"{prefix}{key}" not in _NOT_COMPARED and not key.startswith("_"):
            shown = "null" if value is None else str(value)
            yield f"{prefix}{key}", shown.lower() if isinstance(value, bool) else shown


def _numbers(result: Mapping[str, Any]) -> dict[str, float]:
    """Row -> number: the selected and the last model's scores, then what they cost."""
    rows: dict[str, float] = {}
    for model in ("selected", "last"):
        for name, value in result[model]["test"].items():
            if name in METRICS and METRICS[name].label:
                rows[f"{model}.{name}"] = value
        if "nfe_forward" in result[model]["test"]:
            rows[f"{model}.nfe_forward"] = result[model]["test"]["nfe_forward"]
    training = result["training"]
    rows |= {f"training.{name}": training[name] for name in _COST if name in training}
    return rows | ({"training.seconds": training["seconds"]} if "seconds" in training else {})


def _told(row: str, column: Column) -> str:
    """A number with its unit: "0.58 ± 0.03 %"; empty where a run has no such number."""
    found = [numbers[row] for one in column.results if row in (numbers := _numbers(one))]
    if not found:
        return ""
    name = row.rpartition(".")[2]
    scale, unit = _unit(name)
    digits = 2 if unit in ("%", "MB") else 4 if unit in ("nats", "") else 3
    if name.startswith("nfe"):
        digits, unit = 1, ""
    spread = f" ± {stdev(found) * scale:.{digits}f}" if len(found) > 1 else ""
    return f"{mean(found) * scale:.{digits}f}{spread} {unit}".rstrip()


def _unit(name: str) -> tuple[float, str]:
    unit = METRICS[name].unit if name in METRICS else "seconds"
    known = {"fraction": (100.0, "%"), "bytes": (1e-6, "MB"), "seconds": (1.0, "s")}
    return known.get(unit, (1.0, unit if unit == "nats" else ""))


def _fact(fact: str, column: Column) -> str:
    if fact == "seeds":
        return ", ".join(str(one["seed"]) for one in column.results)
    values = dict.fromkeys(str(one[fact]) for one in column.results)
    return ", ".join(values)


def _aligned(rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Every column as wide as its widest entry."""
    full = [[key, *values] for key, values in rows if values]
    widths = [max(map(len, cells)) for cells in zip(*full, strict=True)]
    lines = []
    for key, values in rows:
        cells = [key, *values] if values else [key]
        lines.append("  ".join(c.ljust(w) for c, w in zip(cells, widths, strict=False)).rstrip())
    return "\n".join(lines) + "\n"
