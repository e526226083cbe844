"""What a target costs in seconds on one thread: measured on finished runs, never guessed by hand.

`seconds.yaml` holds seconds an iteration of finished runs, with what is evaluated and drawn on the
way, and of finished probes; scripts/measure_costs.py writes it. What was never measured is taken to
cost what the experiment does that is most like it: by task, by model, by name.
"""

from difflib import SequenceMatcher
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from node_repro.config.choices import load
from node_repro.reproduce import Experiment

ITERATIONS_AN_EPOCH = {True: 4_000 - 500, False: 60_000 - 5_000}
"""Digits to train on: of the embedded ones, and of all."""
_BATCH = 128


@cache
def _measured() -> dict[str, Any]:
    return load(Path(__file__).with_name("seconds.yaml"))


def training_seconds(experiment: Experiment, *, embedded: bool) -> float:
    """Of one run from its start to its result."""
    iterations = experiment.iterations
    if iterations is None:
        iterations = (experiment.epochs or 0) * (ITERATIONS_AN_EPOCH[embedded] // _BATCH)
    return _measured()["start"] + iterations * _seconds_an_iteration(experiment)


def probe_seconds(probe: str, *, smallest: bool) -> float:
    """Of one probe with its default options, or with the smallest, when it is all start."""
    probes = _measured()["probes"]
    if smallest or not probes:
        return _measured()["start"]
    return probes.get(probe, median(probes.values()))


def _seconds_an_iteration(experiment: Experiment) -> float:
    table = _measured()["iteration"]
    if experiment.name in table:
        return table[experiment.name]["seconds"]

    def likeness(name: str) -> tuple[bool, bool, float]:
        row, chosen = table[name], experiment.chosen
        alike = SequenceMatcher(None, name, experiment.name).ratio()
        return row["task"] == chosen["task"], row["model"] == chosen["model"], alike

    return table[max(table, key=likeness)]["seconds"]
