"""Where the jobs of a reproduction take place.

`processes` starts them on this machine, `slurm` submits them to a Slurm cluster, `ray` runs them as
tasks of a Ray cluster. `pool.Pool` decides which job starts when, and is the same for all.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from node_repro.reproduce import Job

LAUNCHERS = ("processes", "slurm", "ray")
NODE_RUN = (sys.executable, "-m", "node_repro.cli")
"""The command of a job, before its words."""


class LaunchError(Exception):
    """A cluster does not accept a job."""

    exit_code: ClassVar[int] = 5


@dataclass(frozen=True)
class End:
    """How a job ended.

    Args:
        code: Its exit code, negative for the number of the signal that killed it; None if the job
            never started or its exit code is not known.
        reason: Why it ended, if the job cannot have said so in its log; else "".
    """

    code: int | None
    reason: str = ""


class Launcher(Protocol):
    """Starts jobs, and says which have ended.

    Attributes:
        poll_seconds: Time between two calls of `ended`.
    """

    poll_seconds: float

    def start(self, job: Job, log: Path) -> None:
        """Start a job whose output goes to a file.

        Raises:
            LaunchError: The job is not accepted.
            OSError: The file cannot be written.
        """
        ...

    def ended(self) -> Mapping[str, End]:
        """The jobs that have ended since the last call, by name."""
        ...

    def stop(self, *, kill: bool) -> None:
        """Ask all jobs to save a checkpoint and to end; with `kill`, end them at once."""
        ...

    def close(self) -> None:
        """Stop the jobs that are left, and free what the launcher holds."""
        ...


def command(words: Sequence[str]) -> list[str]:
    """The command of a job with these words."""
    return [*NODE_RUN, *words]
