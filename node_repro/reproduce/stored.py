"""Which runs of a request there are, read from their directories."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from node_repro.config.choices import Choices
from node_repro.config.overrides import unquoted
from node_repro.reproduce import Request
from node_repro.runs.stored_run import StoredRun, find_runs

FIRST_TASK = "mnist"
"""The task of an experiment that names none (conf/config.yaml)."""


class StoredRuns:
    """The runs of a request's profile below its outputs folder.

    Runs on the 5,000 embedded digits count only where the embedded digits are what a new run would
    train on, and the other way round.
    """

    def __init__(self, request: Request, choices: Choices) -> None:
        self.embedded = uses_embedded_digits(request, choices)
        self._runs: dict[tuple[str, int], list[StoredRun]] = {}
        for run in find_runs(request.outputs, profile=request.profile):
            if "mnist" not in run.data or ("embedded" in run.data) == self.embedded:
                self._runs.setdefault((run.experiment, run.seed), []).append(run)

    def finished(self, experiment: str, seed: int) -> list[StoredRun]:
        """The finished runs of an experiment with a seed, the newest first."""
        found = [run for run in self._runs.get((experiment, seed), ()) if run.result]
        return sorted(found, key=lambda run: run.since, reverse=True)

    def best(self, experiment: str, seed: int) -> StoredRun | None:
        """The newest finished run, else the newest one, else None."""
        if finished := self.finished(experiment, seed):
            return finished[0]
        return max(self._runs.get((experiment, seed), ()), key=lambda run: run.since, default=None)


def digits_budget(task: Mapping[str, Any], profile: str) -> Mapping[str, Any]:
    """What a profile spends on a task, by the content of the task's yaml."""
    return (task.get("budget") or {}).get(profile) or {}


def uses_embedded_digits(request: Request, choices: Choices) -> bool:
    """Whether task=mnist would train on the embedded digits: by profile, or for want of others."""
    budget = digits_budget(choices.content("task", "mnist"), request.profile)
    return budget.get("source") == "embedded" or not has_digits(request.extra)


def has_digits(extra: Sequence[str], environment: Mapping[str, str] = os.environ) -> bool:
    """Whether data=mnist would find files: in data.root=, $NODE_REPRO_DATA or the cache folder."""
    given = {key: unquoted(value) for key, _, value in (word.partition("=") for word in extra)}
    if given.get("data.source") == "embedded":
        return False
    cache = Path(environment.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "node_repro"
    named = given.get("data.root") or environment.get("NODE_REPRO_DATA")
    root = Path(named).expanduser() if named else cache
    places = (root, root / "MNIST" / "raw")
    return any(next(place.glob("train-images*"), None) is not None for place in places)
