"""Run jobs as `node-run` processes, a limited number at a time.

Each process leads its own process group, so that Ctrl-C in a terminal reaches only this process,
which forwards it: at the first signal, every process saves a checkpoint and ends; at the second
one, the groups are killed. The standard input of each process is a pipe from this process. If this
process ends for any reason, the pipe closes and the others end too (`parent.stop_with_parent`).
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from node_repro.reproduce import Job
from node_repro.reproduce.parent import STOPS_WITH_PARENT
from node_repro.runs.environment import usable_cores

NODE_RUN = (sys.executable, "-m", "node_repro.cli")
_POLL_SECONDS = 0.1


@dataclass
class Pool:
    """Runs jobs as processes.

    Args:
        processes: Largest number of concurrent processes.
        folder: Folder of their output, one file NAME.log each.
        exit_codes: Job -> exit code of the processes that ended; negative for a signal.
        stopped: The exit code of this process if a signal stopped it (130, 143), else 0.
    """

    processes: int
    folder: Path
    exit_codes: dict[str, int] = field(default_factory=dict)
    _signals: list[int] = field(default_factory=list)

    @property
    def stopped(self) -> int:
        return 128 + self._signals[0] if self._signals else 0

    def log(self, job: Job) -> Path:
        """The file with the output of a job."""
        return self.folder / f"{job.name}.log"

    def run(self, jobs: Sequence[Job]) -> None:
        """Run the jobs in order; a job with `after` waits for that job and is skipped if it fails.

        Raises:
            OSError: A log cannot be written.
        """
        waiting = {job.name: job for job in jobs}
        running: dict[str, subprocess.Popen[bytes]] = {}
        forwarded = 0  # number of signals
        with _handling_signals(self._signals):
            try:
                while True:
                    while len(running) < self.processes and (job := self._next(waiting, running)):
                        running[job.name] = self._start(waiting.pop(job.name))
                    if not running:
                        break
                    for number in range(forwarded, len(self._signals)):
                        _stop(running.values(), kill=number > 0)
                    forwarded = len(self._signals)
                    time.sleep(_POLL_SECONDS)
                    for name, process in list(running.items()):
                        if (code := process.poll()) is not None:
                            self.exit_codes[name] = code
                            running.pop(name)
                            _close(process)
                            _print_event("done" if code == 0 else "ended", name)
            finally:  # after an error, stop all processes
                _stop(running.values(), kill=False)
                for process in running.values():
                    _close(process)

    def _next(self, waiting: Mapping[str, Job], running: Mapping[str, object]) -> Job | None:
        """The first job that can start now; None if there is none."""
        if self.stopped:
            return None
        for job in waiting.values():
            if job.after in waiting or job.after in running:
                continue
            if self.exit_codes.get(job.after or "", 0) == 0:
                return job
        return None

    def _start(self, job: Job) -> "subprocess.Popen[bytes]":
        _print_event("start", job.name)
        share = max(1, usable_cores() // self.processes)
        limit = {"OMP_THREAD_LIMIT": str(share)} if self.processes > 1 else {}
        with self.log(job).open("wb") as file:
            return subprocess.Popen(
                [*NODE_RUN, *job.words],
                env={**limit, **os.environ, STOPS_WITH_PARENT: "1"},
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


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


def _stop(processes: "Iterable[subprocess.Popen[bytes]]", *, kill: bool) -> None:
    for process in processes:
        if process.poll() is None and kill:
            os.killpg(process.pid, signal.SIGKILL)
        elif process.poll() is None:
            process.terminate()


def _close(process: "subprocess.Popen[bytes]") -> None:
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _print_event(word: str, name: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {word:<5}  {name}", flush=True)
