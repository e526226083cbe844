"""Jobs of a Slurm cluster, by the commands sbatch, squeue and scancel.

Jobs belong to Slurm and not to the process that submitted them: if that process is killed or its
terminal is closed, they go on. The same command finds those that are still in the queue by the file
NAME.slurm beside the log, and waits for them instead of submitting them again. Nodes share the
folder of the logs, and have the same Python.
"""

import getpass
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from node_repro.config import ConfigError
from node_repro.reproduce import Job
from node_repro.reproduce.launchers import End, LaunchError, command

_COMMANDS = ("sbatch", "squeue", "scancel")
_OWN = ("job-name", "output", "error", "parsable", "wrap", "array", "wait")
_ENDED = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED"),
    *("NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"),
}
"""States of a job that does not run any more and will not run again."""
_SCRIPT = """#!/bin/sh
export OMP_THREAD_LIMIT="${{OMP_THREAD_LIMIT:-$SLURM_CPUS_ON_NODE}}"
exec {command}
"""
"""exec makes node-run the process that Slurm signals, and whose exit code Slurm records."""


class Slurm:
    """Submits jobs, and watches the queue.

    Args:
        options: Options of sbatch without their dashes: `gpus_per_node` is --gpus-per-node. The
            value `true` gives an option without a value.
        folder: Folder of the logs.

    Raises:
        ConfigError: Slurm is not available, or an option is set by this class.
    """

    poll_seconds = 5.0

    def __init__(self, options: Mapping[str, str], folder: Path) -> None:
        missing = [name for name in _COMMANDS if shutil.which(name) is None]
        if missing:
            raise ConfigError(
                f"launcher=slurm needs Slurm's commands {', '.join(_COMMANDS)} on this machine; "
                f"{missing[0]} is not among the programs that can be found"
            )
        self._options = [_option(key, value) for key, value in options.items()]
        self._folder = folder
        self._running: dict[str, str] = {}  # name of a job -> its number in Slurm
        self._refused: dict[str, End] = {}
        self._told = ""
        try:
            self._queue = _queue()
        except LaunchError as error:
            raise ConfigError(f"launcher=slurm: Slurm does not answer: {error}") from error

    def start(self, job: Job, log: Path) -> None:
        """Submit a job, unless the same one is still in the queue."""
        words = command(job.words)
        record = self._folder / f"{job.name}.slurm"
        number, earlier = _read(record)
        if number in self._queue and self._queue[number][0] not in _ENDED:
            if earlier != words:
                reason = f"its earlier job {number} has other options and has not ended"
                self._refused[job.name] = End(None, f"{reason}; `scancel {number}` ends it")
                return
        else:
            own = ["--parsable", f"--job-name={job.name}", f"--output={log.absolute()}"]
            script = _SCRIPT.format(command=shlex.join(words))
            answer = _slurm("sbatch", *own, *self._options, script=script)
            number = answer.strip().partition(";")[0]
            record.write_text(json.dumps({"job": number, "command": words}), encoding="utf-8")
        self._running[job.name] = number

    def ended(self) -> Mapping[str, End]:
        """The jobs that have ended since the last call. If Slurm does not answer, there are none.

        A job that Slurm does not list any more has ended in an unknown way.
        """
        try:
            self._queue = _queue()
        except LaunchError as error:
            if str(error) != self._told:
                print(f"Slurm does not answer: {error}", flush=True)
            self._told = str(error)
            return {}
        ends, self._refused = self._refused, {}
        for name, number in list(self._running.items()):
            state, status = self._queue.get(number, ("", 0))
            if not state or state in _ENDED:
                ends[name] = _end(number, state, status)
                del self._running[name]
                (self._folder / f"{name}.slurm").unlink(missing_ok=True)
        return ends

    def stop(self, *, kill: bool) -> None:
        """Cancel all jobs. Slurm sends SIGTERM to those that run, and later SIGKILL."""
        if self._running:
            signal = ["--signal=KILL", "--full"] if kill else []
            with suppress(LaunchError):  # those that have ended in the meantime
                _slurm("scancel", *signal, *self._running.values())

    def close(self) -> None:
        """Cancel the jobs that are left."""
        self.stop(kill=False)


def _option(key: str, value: str) -> str:
    name = key.replace("_", "-")
    if name in _OWN:
        raise ConfigError(f"launcher.{key}= is set for each job of Slurm separately; remove it")
    return f"--{name}" if value == "true" else f"--{name}={value}"


def _read(record: Path) -> tuple[str, list[str]]:
    """Number and command of the job that was submitted last under a name; "" if there is none."""
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return "", []
    return content["job"], content["command"]


def _queue() -> dict[str, tuple[str, int]]:
    """State and wait status of this user's jobs, also of those that ended a few minutes ago."""
    fields = "--Format=JobID:24,State:24,exit_code:24"
    answer = _slurm("squeue", "--noheader", "--states=all", f"--user={getpass.getuser()}", fields)
    rows = (line.split() for line in answer.splitlines())
    return {row[0]: (row[1], int(row[2])) for row in rows if len(row) == 3}


def _end(number: str, state: str, status: int) -> End:
    code = os.waitstatus_to_exitcode(status)
    if not state:
        return End(None, f"Slurm does not know any more how job {number} ended")
    if state == "COMPLETED":
        return End(0)
    if state == "FAILED" and code > 0:
        return End(code)
    by_signal = f" by signal {-code}" if code < 0 else ""
    return End(code or None, f"job {number} of Slurm: {state.lower()}{by_signal}")


def _slurm(*words: str, script: str | None = None) -> str:
    """The output of a command of Slurm; raises LaunchError with its message if it fails."""
    done = subprocess.run(words, input=script, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (line.removeprefix(f"{words[0]}: ") for line in done.stderr.splitlines())
        reasons = [re.sub("^(error|fatal): ", "", line).strip() for line in lines]
        raise LaunchError(f"{words[0]}: {'; '.join(reasons) or 'failed'}")
    return done.stdout
