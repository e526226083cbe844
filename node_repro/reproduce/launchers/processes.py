"""Jobs as processes of this machine.

Each process leads its own process group, so that Ctrl-C in a terminal does not reach it. Its
standard input is a pipe from this process. If this process ends for any reason, the pipe closes and
the others end too (`parent.stop_with_parent`).
"""

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from node_repro.reproduce import Job
from node_repro.reproduce.launchers import End, command
from node_repro.reproduce.parent import STOPS_WITH_PARENT
from node_repro.runs.environment import usable_cores


class Processes:
    """Starts processes, each with its share of the cores.

    Args:
        most: Largest number of concurrent processes.
    """

    poll_seconds = 0.1

    def __init__(self, most: int) -> None:
        share = max(1, usable_cores() // most)
        self._limit = {"OMP_THREAD_LIMIT": str(share)} if most > 1 else {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, job: Job, log: Path) -> None:
        """Start the process of a job."""
        with log.open("wb") as file:
            self._running[job.name] = subprocess.Popen(
                command(job.words),
                env={**self._limit, **os.environ, STOPS_WITH_PARENT: "1"},
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ended(self) -> Mapping[str, End]:
        """The processes that have ended since the last call."""
        ends = {}
        for name, process in list(self._running.items()):
            if (code := process.poll()) is not None:
                ends[name] = End(code, f"killed by signal {-code}" if code < 0 else "")
                _close(self._running.pop(name))
        return ends

    def stop(self, *, kill: bool) -> None:
        """Send SIGTERM to all processes, or SIGKILL to their groups."""
        for process in self._running.values():
            if process.poll() is None and kill:
                os.killpg(process.pid, signal.SIGKILL)
            elif process.poll() is None:
                process.terminate()

    def close(self) -> None:
        """Stop the processes that are left, and wait for them."""
        self.stop(kill=False)
        for process in self._running.values():
            _close(process)


def _close(process: "subprocess.Popen[bytes]") -> None:
    process.wait()
    if process.stdin is not None:
        process.stdin.close()
