"""`node-run reproduce` and `node-run list`: all experiments, their probes and the report.

`request` reads the command line. `plan` makes a list of jobs from it, and finds those that are
done. `pool` runs the others as `node-run` processes, `run` adds the report and the summary.
`listing` prints what there is, `cost` estimates seconds. Nothing here imports torch.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Request:
    """What is to be reproduced or listed.

    Args:
        experiments: Names.
        profile: How much work each run is.
        seeds: Each experiment is trained with each of them; probes measure the first.
        outputs: The folder of all runs.
        jobs: Processes at a time.
        extra: Overrides for every experiment that reads their keys.
        folders: Folders of yaml files beside the program's own (`--config-dir`).
    """

    experiments: tuple[str, ...]
    profile: str = "quick"
    seeds: tuple[int, ...] = (0,)
    outputs: Path = Path("outputs")
    jobs: int = 1
    extra: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()

    @property
    def folder(self) -> Path:
        """The folder of the logs and the lock."""
        return self.outputs / ".reproduce" / self.profile


@dataclass(frozen=True)
class Job:
    """One `node-run` process: a training run, or a probe of one.

    Args:
        name: "table1_odenet-seed0", or "tolerance-table1_odenet-seed0" for a probe.
        words: The command line after `node-run`.
        after: The name of the run that a probe measures; None for a run.
        seconds: Estimated time on one thread; None if unknown.
        done: The result is there already.
    """

    name: str
    words: tuple[str, ...]
    after: str | None = None
    seconds: float | None = None
    done: bool = False
