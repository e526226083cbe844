"""`node-run reproduce` and `node-run list`: all experiments, their probes and the report.

`request` parses the command line. `plan` derives the list of jobs and finds those that are done.
`pool` runs the others as `node-run` processes, which `launchers` start on this machine or on a
cluster; `run` adds the report and the summary. `listing` prints a table of the experiments, `cost`
estimates times. This package does not import torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Request:
    """The experiments to reproduce or list, and their settings.

    Args:
        experiments: Names of the experiments.
        profile: Amount of work of each run.
        seeds: Seeds of the runs of each experiment; probes measure the first.
        outputs: The folder of all runs.
        jobs: Largest number of concurrent processes; None if it is not given.
        extra: Overrides for every experiment that has their keys.
        folders: Additional folders of yaml files (`--config-dir`).
        seeds_by_experiment: Seeds of the experiments of a named plan, in place of `seeds`.
        launcher: Where the processes are started (`launchers`).
        launcher_options: The options of the launcher.
    """

    experiments: tuple[str, ...]
    profile: str = "quick"
    seeds: tuple[int, ...] = (0,)
    outputs: Path = Path("outputs")
    jobs: int | None = None
    extra: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
    seeds_by_experiment: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    launcher: str = "processes"
    launcher_options: Mapping[str, str] = field(default_factory=dict)

    def seeds_of(self, experiment: str) -> tuple[int, ...]:
        """The seeds of an experiment."""
        return self.seeds_by_experiment.get(experiment, self.seeds)

    @property
    def most_jobs(self) -> int | None:
        """Largest number of concurrent processes: one on this machine, any on a cluster."""
        return self.jobs or (1 if self.launcher == "processes" else None)

    @property
    def folder(self) -> Path:
        """The folder of the logs and the lock."""
        return self.outputs / ".reproduce" / self.profile


@dataclass(frozen=True)
class Job:
    """One `node-run` process: a training run, or a probe of one.

    Args:
        name: "table1_odenet-seed0", or "tolerance-table1_odenet-seed0" for a probe.
        words: Arguments of `node-run`.
        after: Name of the job whose run a probe measures; None for a run.
        seconds: Estimated time on one thread; None if unknown.
        done: Whether the result exists.
    """

    name: str
    words: tuple[str, ...]
    after: str | None = None
    seconds: float | None = None
    done: bool = False
