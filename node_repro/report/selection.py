"""Selection of the runs that represent an experiment, and their numbers over seeds.

An experiment is represented by its finished runs of one profile and one signature, the newest one.
Full and embedded digits are never mixed: if any run on full digits is finished, runs on embedded
digits are left out everywhere.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from node_repro.report.margins import DECIDING_PROFILES
from node_repro.report.statistics import Spread, spread
from node_repro.runs.result import RunResult, Which
from node_repro.runs.stored_run import StoredRun, find_runs

EMBEDDED = "-embedded"
DIGITS = "mnist"


@dataclass(frozen=True)
class Seeds:
    """The finished runs that represent one experiment, by seed; empty if there are none."""

    runs: tuple[StoredRun, ...] = ()

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[StoredRun]:
        return iter(self.runs)

    @cached_property
    def results(self) -> Sequence[RunResult]:
        """The runs' results."""
        return [run.result for run in self.runs if run.result is not None]

    @property
    def count(self) -> int | None:
        """The number of seeds; None if there are none."""
        return len(self.runs) or None

    @property
    def parameters(self) -> int | None:
        """Trained parameters."""
        return self.results[0].parameters if self.results else None

    @property
    def iterations(self) -> int | None:
        """Iterations of training."""
        return self.results[0].iterations if self.results else None

    def tests_by_seed(self, metric: str, model: Which = "selected") -> dict[int, float]:
        """A test score of the selected or the last model, by the seeds that have it."""
        return {
            run.seed: score
            for run in self.runs
            if run.result is not None
            and (score := get_number(run.result.models[model].test, metric)) is not None
        }

    def tests(self, metric: str, model: Which = "selected") -> list[float]:
        """A test score of the selected or the last model, of each seed that has it."""
        return list(self.tests_by_seed(metric, model).values())

    def test(self, metric: str, model: Which = "selected") -> Spread | None:
        """A test score of the selected or the last model."""
        return spread(self.tests(metric, model))

    def training(self, metric: str) -> Spread | None:
        """A mean over the last epoch of training; "seconds" is the time of the whole training."""
        return spread(get_number(result.training, metric) for result in self.results)

    def diagnostic(self, *keys: str) -> Spread | None:
        """A number that the task computed for the selected model; several keys for nested ones."""
        return spread(get_number(result.diagnostics, *keys) for result in self.results)


@dataclass(frozen=True)
class Selection:
    """All runs of one profile. experiments: the names of this version's experiments."""

    profile: str
    runs: Sequence[StoredRun]
    experiments: Collection[str] = ()

    @cached_property
    def finished(self) -> Sequence[StoredRun]:
        """All runs with a result that can be read."""
        return [run for run in self.runs if run.result is not None]

    @property
    def decides(self) -> bool:
        """Whether the profile trains long enough to judge claims about trained networks."""
        return self.profile in DECIDING_PROFILES

    @cached_property
    def uses_embedded_digits(self) -> bool:
        """Whether the digits' runs that are used are those on the embedded digits."""
        digits = [run.data for run in self.finished if run.data.startswith(DIGITS)]
        return bool(digits) and all(data.endswith(EMBEDDED) for data in digits)

    def seeds(self, experiment: str) -> Seeds:
        """The finished runs that represent an experiment."""
        candidates = [r for r in self.finished if r.experiment == experiment and self._usable(r)]
        if not candidates:
            return Seeds()
        newest = max(candidates, key=lambda run: (run.since, run.signature, -run.seed))
        chosen = (run for run in candidates if run.path.parent == newest.path.parent)
        return Seeds(tuple(sorted(chosen, key=lambda run: run.seed)))

    def probed(self, experiment: str, probe: str) -> tuple[StoredRun, ...]:
        """The runs that represent an experiment and that a probe has measured."""
        return tuple(run for run in self.seeds(experiment) if probe in run.probes)

    def unused(self) -> tuple[StoredRun, ...]:
        """Finished runs that are left out: of an older signature or of the other digits."""
        names = {run.experiment for run in self.runs}
        used = {run.path for name in names for run in self.seeds(name)}
        return tuple(run for run in self.finished if run.path not in used)

    def _usable(self, run: StoredRun) -> bool:
        is_digits = run.data.startswith(DIGITS)
        return not is_digits or run.data.endswith(EMBEDDED) == self.uses_embedded_digits


def select_runs(outputs: Path, profile: str, experiments: Collection[str]) -> Selection:
    """The runs of one profile below an outputs folder.

    Runs with a custom name (`name=...`) belong to no experiment and are not read.
    """
    return Selection(profile, find_runs(outputs, profile=profile), experiments)


def get_number(content: object, *keys: str) -> float | None:
    """A number inside nested mappings; None if it is missing or not a number."""
    for key in keys:
        content = content.get(key) if isinstance(content, Mapping) else None
    if isinstance(content, bool) or not isinstance(content, int | float):
        return None
    return float(content)
