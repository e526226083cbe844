"""Estimated seconds of runs and probes on one CPU thread, from finished ones.

`seconds.csv` holds the seconds per iteration of finished runs, with their evaluations, and the
seconds of finished probes; `scripts/measure_costs.py` writes it. An experiment that it does not
name is taken to cost as much as others of its task and model.
"""

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from node_repro.config.choices import Choices
from node_repro.experiments import Experiment, all_experiments
from node_repro.reproduce.stored import FIRST_TASK, digits_budget

TABLE = Path(__file__).with_name("seconds.csv")
_TRAINING_DIGITS = {True: 4_000 - 500, False: 60_000 - 5_000}
"""Without those held out for validation; by whether they are the embedded ones."""
_BATCH = 128
_BUDGET = "${budget.${profile}."


@cache
def _measured() -> Mapping[tuple[str, str], float]:
    """Seconds by kind ("start", "iteration", "probe") and name."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        return {(row["kind"], row["name"]): float(row["seconds"]) for row in csv.DictReader(file)}


def training_seconds(
    experiment: Experiment, profile: str, choices: Choices, *, embedded: bool
) -> float | None:
    """One run from its start to its result; None if nothing like it was ever measured.

    Args:
        experiment: What is trained.
        profile: How long it is trained.
        choices: Where the task is looked up.
        embedded: The digits are the 5,000 embedded ones.
    """
    an_iteration = _seconds_an_iteration(experiment)
    iterations = _iterations(experiment, profile, choices, embedded=embedded)
    if an_iteration is None or iterations is None:
        return None
    return _measured()["start", ""] + iterations * an_iteration


def probe_seconds(probe: str, *, smallest: bool) -> float | None:
    """One probe with its default options, or with the smallest ones; None if unknown."""
    return _measured()["start", ""] if smallest else _measured().get(("probe", probe))


def _iterations(
    experiment: Experiment, profile: str, choices: Choices, *, embedded: bool
) -> int | None:
    task = choices.content("task", experiment.choice("task") or FIRST_TASK)
    budget = digits_budget(task, profile)

    def number(key: str) -> int | None:
        """The trainer's value, which may name an entry of the task's budget."""
        value = experiment.overrides.get(f"trainer.{key}", task.get("trainer", {}).get(key))
        if isinstance(value, str) and value.startswith(_BUDGET):
            value = budget.get(value.removeprefix(_BUDGET).removesuffix("}"))
        return value if isinstance(value, int) else None

    if (iterations := number("iterations")) is not None:
        return iterations
    epochs = number("epochs")
    return None if epochs is None else epochs * (_TRAINING_DIGITS[embedded] // _BATCH)


def _seconds_an_iteration(experiment: Experiment) -> float | None:
    measured = _measured()
    if ("iteration", experiment.name) in measured:
        return measured["iteration", experiment.name]

    def alike(groups: tuple[str, ...]) -> list[float]:
        return [
            measured["iteration", other.name]
            for other in all_experiments().values()
            if ("iteration", other.name) in measured
            and all(other.choice(group) == experiment.choice(group) for group in groups)
        ]

    found: Any = alike(("task", "model")) or alike(("task",))
    return median(found) if found else None
