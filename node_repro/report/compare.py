"""`node-run job=compare`: the differences between configurations, and their results.

Only config.yaml and result.json are read. An argument is the directory of a finished run, or a
folder of several seeds, whose numbers are then a mean ± standard deviation over seeds, or the
folder above that, if it holds a single configuration.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from node_repro.config import ConfigError
from node_repro.report.statistics import spread
from node_repro.report.tables import align
from node_repro.runs.json_values import flatten
from node_repro.runs.metrics import get_metric, shown_scores
from node_repro.runs.result import EngineUse, RunResult
from node_repro.runs.stored_run import StoredRun

_NOT_COMPARED = {"seed", "name", "outputs", "progress", "debug", "device", "profile", "threads"}
_NOT_COMPARED |= {"engine.choice", "engine.backend"}  # the one that was used is a fact
_COST = "nfe_forward nfe_backward step_seconds saved_bytes peak_bytes seconds".split()
_FACTS = "data profile device engine iterations parameters".split()


class Argument(NamedTuple):
    """One argument of runs=: a configuration (dotted keys) and its results, one for each seed."""

    title: str
    config: Mapping[str, str]
    results: Sequence[RunResult]


def compare(runs: Sequence[str]) -> str:
    """The differing keys of the configurations, and their results, as an aligned table.

    Raises:
        ConfigError: A directory holds no finished run, or a file of it cannot be read.
    """
    arguments = _shorten_titles([_read(Path(run)) for run in runs])
    keys = dict.fromkeys(key for one in arguments for key in one.config)
    configs = [[key, *(one.config.get(key, "-") for one in arguments)] for key in keys]
    differing = [row for row in configs if len(set(row[1:])) > 1]
    metrics = dict.fromkeys(name for one in arguments for name in _numbers(one.results[0]))
    return align(
        [
            ["", *(one.title for one in arguments)],
            *(differing or [["the configurations are the same"]]),
            [""],
            ["seeds", *(", ".join(str(result.seed) for result in a.results) for a in arguments)],
            *([fact, *(_format_fact(fact, one) for one in arguments)] for fact in _FACTS),
            *([name, *(_format_number(name, one) for one in arguments)] for name in metrics),
        ]
    )


def _read(path: Path) -> Argument:
    folders = [path] if (path / "config.yaml").is_file() else _find_seeds(path)
    finished = [folder for folder in folders if (folder / "result.json").is_file()]
    if not finished:
        why = "is not finished" if folders else "is neither a run nor a folder with its seeds"
        raise ConfigError(f"runs={path}: it {why}; `node-run list` shows all runs")
    config = StoredRun(finished[0]).config
    if not config:
        raise ConfigError(f"runs={path}: config.yaml cannot be read")
    try:
        results = [RunResult.read(folder / "result.json") for folder in finished]
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"runs={path}: result.json cannot be read: {reason}") from error
    return Argument(str(path), _shown_keys(config), results)


def _find_seeds(path: Path) -> list[Path]:
    """The runs in a folder of seeds, or in a folder with the seeds of a single configuration."""
    if not (folders := sorted(path.glob("seed*"))):
        folders = sorted(path.glob("*/seed*"))
        if len(names := sorted({folder.parent.name for folder in folders})) > 1:
            raise ConfigError(
                f"runs={path}: it holds several configurations, name one of {', '.join(names)}"
            )
    return folders


def _shorten_titles(arguments: list[Argument]) -> list[Argument]:
    """The paths without their common leading parts."""
    parts = [Path(one.title).parts for one in arguments]
    same = 0
    while all(len(one) > same + 1 for one in parts) and len({one[same] for one in parts}) == 1:
        same += 1
    return [
        argument._replace(title="/".join(one[same:]))
        for argument, one in zip(arguments, parts, strict=True)
    ]


def _shown_keys(config: Mapping[str, Any]) -> dict[str, str]:
    """The keys that are compared, and their values as a user types them."""
    shown = {}
    for key, value in flatten(dict(config)).items():
        if key not in _NOT_COMPARED and not key.rpartition(".")[2].startswith("_"):
            text = "null" if value is None else str(value)
            shown[key] = text.lower() if isinstance(value, bool) else text
    return shown


def _numbers(result: RunResult) -> dict[str, float]:
    """Row -> number: the scores of the selected and of the last model, and the training's cost."""
    rows: dict[str, float] = {}
    for name in ("selected", "last"):
        test = result.models[name].test
        shown = [*shown_scores(test), *(["nfe_forward"] if "nfe_forward" in test else [])]
        rows |= {f"{name}.{metric}": test[metric] for metric in shown}
    training = result.training
    return rows | {f"training.{name}": training[name] for name in _COST if name in training}


def _format_number(row: str, argument: Argument) -> str:
    """As in "0.58 ± 0.03 %"; empty if no run has the number."""
    if (value := spread(_numbers(result).get(row) for result in argument.results)) is None:
        return ""
    name = row.rpartition(".")[2]
    metric = get_metric("training_seconds" if name == "seconds" else name)
    return metric.format(value.mean, value.sd)


def _format_fact(fact: str, argument: Argument) -> str:
    values = [getattr(result, fact) for result in argument.results]
    names = (value.name if isinstance(value, EngineUse) else value for value in values)
    return ", ".join(dict.fromkeys("-" if name is None else str(name) for name in names))
