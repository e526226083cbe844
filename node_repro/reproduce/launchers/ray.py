"""Jobs as tasks of a Ray cluster.

Each task starts a `node-run` process and waits for it. If its worker is killed, the process saves a
checkpoint and ends (`parent.stop_with_parent`). All tasks stop their processes if there is a file
ray.stop beside the logs, since `ray.cancel` does not let a process save. If the command that
submitted the tasks is killed, Ray kills their processes. Nodes share the folder of the logs and
have the same Python.
"""

import os
import subprocess
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from node_repro.config import ConfigError
from node_repro.reproduce import Job
from node_repro.reproduce.launchers import End, command
from node_repro.reproduce.parent import STOPS_WITH_PARENT

_POLL_SECONDS = 0.5


class Ray:
    """Submits tasks to a cluster: a running one, or else one that Ray starts on this machine.

    Args:
        options: `address` of the cluster, and options of a task such as `num_cpus`, `num_gpus` and
            `memory`.
        folder: Folder of the logs.

    Raises:
        ConfigError: Ray is not installed, the cluster cannot be reached, or an option is unknown.
    """

    poll_seconds = 0.5

    def __init__(self, options: Mapping[str, str], folder: Path) -> None:
        try:
            ray: Any = import_module("ray")
            task = ray.remote
        except (ModuleNotFoundError, AttributeError) as error:  # or a folder of this name
            raise ConfigError(
                "launcher=ray needs the package ray, which is not installed: pip install ray"
            ) from error
        values = {key: yaml.safe_load(value) for key, value in options.items()}
        address = values.pop("address", None)
        try:
            self._task: Any = task(max_retries=0, **values)(_run)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"launcher=ray: {error}") from error
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except Exception as error:  # Ray raises Exception itself if a node does not start in time
            raise ConfigError(f"launcher=ray: there is no cluster: {error}") from error
        self._ray = ray
        self._running: dict[str, Any] = {}
        self._stop = folder / "ray.stop"
        self._stop.unlink(missing_ok=True)

    def start(self, job: Job, log: Path) -> None:
        """Submit the task of a job."""
        log.unlink(missing_ok=True)
        task = self._task.options(name=job.name)
        arguments = command(job.words), os.getcwd(), str(log), str(self._stop)
        self._running[job.name] = task.remote(*arguments)

    def ended(self) -> Mapping[str, End]:
        """The tasks that have ended since the last call."""
        tasks = list(self._running.values())
        ready = self._ray.wait(tasks, num_returns=len(tasks), timeout=0)[0] if tasks else []
        ends = {name: self._end(task) for name, task in self._running.items() if task in ready}
        for name in ends:
            del self._running[name]
        return ends

    def _end(self, task: object) -> End:
        errors = self._ray.exceptions
        try:
            code = self._ray.get(task)
        except errors.TaskCancelledError:
            return End(None, "its task was cancelled")
        except errors.RayTaskError as error:
            return End(None, f"its task failed: {error.cause}")
        except errors.RayError as error:
            return End(None, f"Ray: {str(error).partition('.')[0]}")
        if code is not None and code < 0:
            return End(code, f"killed by signal {-code}")
        return End(code)

    def stop(self, *, kill: bool) -> None:
        """Let all tasks stop their processes; with `kill`, end their workers."""
        self._stop.touch()
        if kill:
            for task in self._running.values():
                self._ray.cancel(task, force=True)

    def close(self) -> None:
        """Leave the cluster, which ends the tasks that are left."""
        self._ray.shutdown()


def _run(words: list[str], folder: str, log: str, stop: str) -> int | None:
    """Run a command in a worker until it ends or there is a file `stop`.

    Returns:
        The exit code of the command; None if it was stopped before its start.
    """
    os.chdir(folder)
    if os.path.exists(stop):
        return None
    with open(log, "wb") as file:
        process = subprocess.Popen(
            words,
            env={**os.environ, STOPS_WITH_PARENT: "1"},
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while (code := process.poll()) is None and not os.path.exists(stop):
        time.sleep(_POLL_SECONDS)
    if code is None:
        process.terminate()
    return process.wait()
