"""Run the jobs of a plan on a launcher, a limited number at a time.

At the first Ctrl-C or SIGTERM every job saves a checkpoint and ends; at the second one, the jobs
are killed.
"""

import signal
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from node_repro.reproduce import Job
from node_repro.reproduce.launchers import End, Launcher, LaunchError


@dataclass
class Pool:
    """Runs jobs in order.

    Args:
        launcher: Where they take place.
        most: Largest number of concurrent jobs; None for no limit.
        folder: Folder of their output, one file NAME.log each.
        ends: How the jobs ended, by name.
        stopped: The exit code of this process if a signal stopped it (130, 143), else 0.
    """

    launcher: Launcher
    most: int | None
    folder: Path
    ends: dict[str, End] = field(default_factory=dict)
    _signals: list[int] = field(default_factory=list)

    @property
    def stopped(self) -> int:
        return 128 + self._signals[0] if self._signals else 0

    def log(self, job: Job) -> Path:
        """The file with the output of a job."""
        return self.folder / f"{job.name}.log"

    def run(self, jobs: Sequence[Job]) -> None:
        """Run the jobs in order; a job with `after` waits for that job and is skipped if it fails.

        If the launcher does not accept a job, all that are left wait until another one has ended.

        Raises:
            LaunchError: The launcher does not accept a job while it runs none.
            OSError: A log cannot be written.
        """
        waiting = {job.name: job for job in jobs}
        running: set[str] = set()
        forwarded = 0  # number of signals
        with _handling_signals(self._signals):
            try:
                self._start(waiting, running)
                while running:
                    for number in range(forwarded, len(self._signals)):
                        self.launcher.stop(kill=number > 0)
                    forwarded = len(self._signals)
                    time.sleep(self.launcher.poll_seconds)
                    ends = self.launcher.ended()
                    for name, end in ends.items():
                        running.remove(name)
                        _print_event("done" if end.code == 0 else "ended", name)
                    self.ends.update(ends)
                    if ends:
                        self._start(waiting, running)
            finally:  # after an error, stop all jobs
                self.launcher.close()

    def _start(self, waiting: dict[str, Job], running: set[str]) -> None:
        """Start the jobs that can start now, and move their names from `waiting` to `running`."""
        limit = self.most or len(waiting) + len(running)
        while len(running) < limit and (job := self._next(waiting, running)):
            try:
                self.launcher.start(job, self.log(job))
            except LaunchError as error:
                if not running:
                    raise
                _print_event("wait", f"{job.name}: {error}")
                return
            _print_event("start", job.name)
            del waiting[job.name]
            running.add(job.name)

    def _next(self, waiting: Mapping[str, Job], running: Collection[str]) -> Job | None:
        """The first job that can start now; None if there is none."""
        if self.stopped:
            return None
        for job in waiting.values():
            if job.after in waiting or job.after in running:
                continue
            if job.after is None or job.after not in self.ends or self.ends[job.after].code == 0:
                return job
        return None


@contextmanager
def _handling_signals(received: list[int]) -> Iterator[None]:
    """Append SIGINT and SIGTERM to `received` instead of ending this process."""

    def receive(number: int, frame: FrameType | None) -> None:
        if not received:
            print("stopping: the processes save and end; repeat to kill them", flush=True)
        received.append(number)

    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_event(word: str, name: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {word:<5}  {name}", flush=True)
