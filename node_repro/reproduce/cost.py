"""Estimated seconds of runs and probes on one CPU thread, from finished ones.

`seconds.csv` contains the seconds per iteration of finished runs, including their evaluations, and
the seconds of finished probes; `scripts/measure_costs.py` writes it. For other experiments, the
median of those with the same task and model, or else with the same task, is used.
"""

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from statistics import median

from node_repro.config.choices import Choices
from node_repro.experiments import Experiment, all_experiments
from node_repro.reproduce.stored import FIRST_TASK, digits_budget

TABLE = Path(__file__).with_name("seconds.csv")
_TRAINING_DIGITS = {True: 4_000 - 500, False: 60_000 - 5_000}
"""Number of training digits without the validation set, by whether they are the embedded ones."""
_BATCH = 128
_BUDGET = "${budget.${profile}."


@cache
def _measured() -> Mapping[tuple[str, str], float]:
    """Seconds by kind ("start", "iteration", "probe") and name of the experiment or probe."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        return {(row["kind"], row["name"]): float(row["seconds"]) for row in csv.DictReader(file)}


def training_seconds(
    experiment: Experiment, profile: str, choices: Choices, *, embedded: bool
) -> float | None:
    """Estimated time of a whole run; None if no similar experiment was measured.

    Args:
        experiment: The experiment.
        profile: The profile, which sets the number of iterations.
        choices: The choices that define the task.
        embedded: Whether the digits are the 5,000 embedded ones.
    """
    per_iteration = _seconds_per_iteration(experiment)
    iterations = _iterations(experiment, profile, choices, embedded=embedded)
    if per_iteration is None or iterations is None:
        return None
    return _measured()["start", ""] + iterations * per_iteration


def probe_seconds(probe: str, *, smallest: bool) -> float | None:
    """Estimated time of a probe with its default or with the smallest options; None if unknown."""
    return _measured()["start", ""] if smallest else _measured().get(("probe", probe))


def _iterations(
    experiment: Experiment, profile: str, choices: Choices, *, embedded: bool
) -> int | None:
    task = choices.content("task", experiment.choice("task") or FIRST_TASK)
    budget = digits_budget(task, profile)

    def number(key: str) -> int | None:
        """The value of trainer.<key>, which may refer to an entry of the task's budget."""
        value = experiment.overrides.get(f"trainer.{key}", task.get("trainer", {}).get(key))
        if isinstance(value, str) and value.startswith(_BUDGET):
            value = budget.get(value.removeprefix(_BUDGET).removesuffix("}"))
        return value if isinstance(value, int) else None

    if (iterations := number("iterations")) is not None:
        return iterations
    epochs = number("epochs")
    return None if epochs is None else epochs * (_TRAINING_DIGITS[embedded] // _BATCH)


def _seconds_per_iteration(experiment: Experiment) -> float | None:
    measured = _measured()
    if ("iteration", experiment.name) in measured:
        return measured["iteration", experiment.name]

    def similar(groups: tuple[str, ...]) -> list[float]:
        return [
            measured["iteration", other.name]
            for other in all_experiments().values()
            if ("iteration", other.name) in measured
            and all(other.choice(group) == experiment.choice(group) for group in groups)
        ]

    seconds = similar(("task", "model")) or similar(("task",))
    return median(seconds) if seconds else None
