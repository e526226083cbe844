"""The existing runs of a request, read from their directories."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from node_repro.config.choices import Choices
from node_repro.config.overrides import unquoted
from node_repro.reproduce import Request
from node_repro.runs.stored_run import StoredRun, find_runs

FIRST_TASK = "mnist"
"""The default task (conf/config.yaml)."""


class StoredRuns:
    """The runs of a request's profile in its outputs folder.

    Runs on the 5,000 embedded digits are included only if a new run would use the embedded digits,
    and runs on the full data only if it would not.
    """

    def __init__(self, request: Request, choices: Choices) -> None:
        self.embedded = uses_embedded_digits(request, choices)
        self._runs: dict[tuple[str, int], list[StoredRun]] = {}
        for run in find_runs(request.outputs, profile=request.profile):
            if "mnist" not in run.data or ("embedded" in run.data) == self.embedded:
                self._runs.setdefault((run.experiment, run.seed), []).append(run)

    def finished(self, experiment: str, seed: int) -> list[StoredRun]:
        """The finished runs of an experiment with a seed, the newest first."""
        runs = [run for run in self._runs.get((experiment, seed), ()) if run.result]
        return sorted(runs, key=lambda run: run.since, reverse=True)

    def best(self, experiment: str, seed: int) -> StoredRun | None:
        """The newest finished run, else the newest one, else None."""
        if finished := self.finished(experiment, seed):
            return finished[0]
        return max(self._runs.get((experiment, seed), ()), key=lambda run: run.since, default=None)


def digits_budget(task: Mapping[str, Any], profile: str) -> Mapping[str, Any]:
    """The entry of a profile in the `budget` of a task's yaml; empty if there is none."""
    return (task.get("budget") or {}).get(profile) or {}


def uses_embedded_digits(request: Request, choices: Choices) -> bool:
    """Whether task=mnist would use the embedded digits: by profile, or for lack of other files."""
    budget = digits_budget(choices.content("task", "mnist"), request.profile)
    return budget.get("source") == "embedded" or not has_digits(request.extra)


def has_digits(extra: Sequence[str], environment: Mapping[str, str] = os.environ) -> bool:
    """Whether there are MNIST files in data.root=, $NODE_REPRO_DATA or the cache folder."""
    given = {key: unquoted(value) for key, _, value in (word.partition("=") for word in extra)}
    if given.get("data.source") == "embedded":
        return False
    cache = Path(environment.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "node_repro"
    named = given.get("data.root") or environment.get("NODE_REPRO_DATA")
    root = Path(named).expanduser() if named else cache
    places = (root, root / "MNIST" / "raw")
    return any(next(place.glob("train-images*"), None) is not None for place in places)
