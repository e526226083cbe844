"""Runs the plan: make runs the targets, the report is written last, what failed is named.

make gives what it is good at (jobs, going on after a failure, a target each); here is what it does
not give: stamps that no longer hold are dropped, a signal stops all children politely, and the end
says what is missing and how to go on.
"""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

from node_repro.config.choices import Choices
from node_repro.config.overrides import literal
from node_repro.reproduce import Ask, Target
from node_repro.reproduce.experiments import Experiments
from node_repro.reproduce.makefile import log, makefile
from node_repro.reproduce.plan import is_embedded, targets, usable_cores
from node_repro.reproduce.states import DONE, is_probed, state
from node_repro.reproduce.words import duration
from node_repro.runs import OutputError
from node_repro.runs.lock import Lock

NODE_RUN = (sys.executable, "-m", "node_repro.cli")
_STOPS = {signal.SIGINT: 130, signal.SIGTERM: 143}
_PR_SET_PDEATHSIG = 1
_FAILED = 1


def reproduce(ask: Ask, choices: Choices) -> int:
    """Runs what is missing of the plan; returns 0, 1 if something failed, or a signal's code.

    Called by an outer `make -n`, it prints the plan and neither writes nor runs anything.

    Raises ConfigError, and OutputError where the folder cannot be written or another reproduction
    works in it.
    """
    ask = replace(ask, jobs=_jobs_of_outer_make(os.environ) or ask.jobs)
    plan = targets(ask, choices)
    folder = folder_of(ask)
    if _is_dry_run(os.environ):
        print(_outlook(ask, plan, missing(ask, plan, choices)))
        return 0
    if shutil.which("make") is None:
        raise OutputError("GNU make is not installed, which runs the targets: install it.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock, _ = Lock.take(folder / "lock")
        try:
            return _reproduce(ask, plan, missing(ask, plan, choices), folder)
        finally:
            lock.release()
    except OSError as error:
        raise OutputError(f"Cannot write {folder}: {error.strerror}.") from error


def folder_of(ask: Ask) -> Path:
    """Where makefile, stamps and logs of one profile are."""
    return Path(ask.outputs) / ".reproduce" / ask.profile


def missing(ask: Ask, plan: Sequence[Target], choices: Choices) -> list[Target]:
    """The targets without a stamp that holds: its key is theirs, and its result is there."""
    reader = Experiments(choices, ask.profile)
    known = {name: reader.read(name) for name in ask.experiments}
    embedded = is_embedded(ask, choices)

    def holds(target: Target) -> bool:
        stamp = folder_of(ask) / target.name
        if not stamp.is_file() or stamp.read_bytes().strip() != target.key.encode():
            return False
        run = state(ask, known[target.experiment], target.seed, embedded=embedded)
        if run.word != DONE or run.folder is None:
            return False
        return target.probe is None or is_probed(run.folder, target.probe)

    return [target for target in plan if not holds(target)]


def _reproduce(
    ask: Ask,
    plan: Sequence[Target],
    left: Sequence[Target],
    folder: Path,
) -> int:
    for target in left:
        (folder / target.name).unlink(missing_ok=True)
    (folder / "Makefile").write_text(makefile(plan, folder, Path.cwd(), NODE_RUN))
    print(_outlook(ask, plan, left))
    print(f"logs   {folder}", flush=True)
    begin = time.time()
    stopped = Make(folder, ask.jobs).run() if left else 0
    report = 0 if stopped else _report(ask, folder)
    failures = [target for target in left if not (folder / target.name).is_file()]
    for line in _told(failures, folder, begin, bool(stopped)):
        print(line)
    done = len(plan) - len(failures)
    again = "; the same command goes on from here" if failures or report else ""
    print(f"{'stopped' if stopped else 'end   '} {done} of {len(plan)} are done{again}")
    return stopped or (_FAILED if failures or report else 0)


def _outlook(ask: Ask, plan: Sequence[Target], left: Sequence[Target]) -> str:
    """How many processes there are, and how long those that are left will take."""
    seconds = sum(target.seconds for target in left) / ask.jobs
    return f"plan   {len(plan)} processes, {len(plan) - len(left)} done; {duration(seconds)} to go"


class Make:
    """GNU make on the plan, in a process group of its own, and the signals that stop it."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self.folder, self.jobs = folder, jobs
        self.stopped = 0
        self._process: subprocess.Popen | None = None

    def run(self) -> int:
        """Returns 0 when make has ended, or the exit code of the signal that stopped it."""
        served = "--jobserver" in os.environ.get("MAKEFLAGS", "")  # an outer make -j decides
        words = ["make", "--no-print-directory", "-k", "-C", str(self.folder)]
        words += [] if served else [f"-j{self.jobs}"]
        share = {"OMP_THREAD_LIMIT": str(max(1, usable_cores() // self.jobs))}
        before = {number: signal.signal(number, self._stop) for number in _STOPS}
        try:
            self._process = subprocess.Popen(
                [*words, "all"],
                env=(share if self.jobs > 1 else {}) | os.environ,
                start_new_session=True,
                close_fds=False,  # the outer make's job server
                preexec_fn=_die_with_parent,
            )
            if self.stopped:  # before there was a process to tell
                self._process.send_signal(signal.SIGTERM)
            self._process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return self.stopped

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """The first signal lets every process save, a second one kills them."""
        if self.stopped and self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            return
        self.stopped = _STOPS[signal.Signals(number)]
        print("stopping: the processes save and end; once more kills them", flush=True)
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)  # make hands it to its children and waits


def _die_with_parent() -> None:
    """Linux sends SIGTERM when the parent is gone, kill -9 included; elsewhere nothing happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _jobs_of_outer_make(environment: Mapping[str, str]) -> int | None:
    """How many processes `make -j4 reproduce-all` lets run; None where its -j does not decide."""
    served = re.search(r"-j(\d+) .*--jobserver", environment.get("MAKEFLAGS", ""))
    return int(served[1]) if served else None


def _is_dry_run(environment: Mapping[str, str]) -> bool:
    """Whether an outer make was called with -n: its first word has the flags of one letter."""
    first = environment.get("MAKEFLAGS", "").partition(" ")[0]
    return "n" in first and not first.startswith("-") and "=" not in first


def _report(ask: Ask, folder: Path) -> int:
    """Writes the report from whatever there is; returns its exit code."""
    words = ["job=report", f"profile={ask.profile}", literal("outputs", ask.outputs)]
    path = folder / "report.log"
    with path.open("wb") as file:
        command = [*NODE_RUN, *words]
        code = subprocess.run(
            command, stdout=file, stderr=subprocess.STDOUT, check=False
        ).returncode
    if code:
        print(f"failed  report: {_last_line(path)}  ({path})")
    else:
        print(f"report {Path(ask.outputs) / 'report' / 'index.html'}")
    return code


def _told(failures: Sequence[Target], folder: Path, begin: float, stopped: bool) -> list[str]:
    """A line for every target that was not done: why, and its log."""
    lines = []
    names = {target.name for target in failures}
    for target in failures:
        path = log(folder, target)
        if target.after in names:
            lines.append(f"left    {target.name}: its run is not there")
        elif not path.is_file() or path.stat().st_mtime < begin:
            lines.append(f"left    {target.name}: not started")
        else:
            lines.append(f"{_end(target.name, path, stopped)}  ({path})")
    shown = [line for line in lines if not (stopped and line.startswith("left"))]
    return shown


def _end(name: str, path: Path, stopped: bool) -> str:
    """How a process ended that was not done, by its log."""
    if not stopped or _faults(path):
        return f"failed  {name}: {_last_line(path)}"
    if _last_line(path).startswith("stopped "):
        return f"saved   {name}"
    return f"ended   {name}: stopped where there was nothing to save"


def _last_line(path: Path) -> str:
    return (_faults(path) or _lines(path) or ["no word"])[-1]


def _faults(path: Path) -> list[str]:
    marked = "node-run: "
    return [one.removeprefix(marked) for one in _lines(path) if one.startswith(marked)]


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
