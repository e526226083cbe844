"""`RunDirectory`: the directory of a run that is being written.

    config.yaml       the resolved configuration; its first line is the signature
    overrides.txt     the overrides of the command line, one per line
    command.txt       the command lines, one per start
    environment.json  versions, machine, git state
    metrics.jsonl     the logged metrics, one JSON object per line
    status.json       RUNNING, COMPLETED, FAILED or INTERRUPTED, and why
    result.json       the final numbers; written last, so its presence marks a complete run
    lock              present while a process uses the directory
    pictures/         images and arrays made by the task
    train.log, checkpoints/, events.out.tfevents.*   written by the progress output, the trainer
                      and TensorBoard

Only one process at a time can use it, and only with the configuration that it was created with.
"""

import contextlib
import json
import os
import shlex
import traceback
from collections.abc import Collection, Sequence
from datetime import datetime
from numbers import Real
from pathlib import Path
from typing import Self

from node_repro.runs import OutputError
from node_repro.runs.atomic import remove_leftovers, write_atomically, writing
from node_repro.runs.config_file import config_text, is_known, refuse_another
from node_repro.runs.environment import changes, environment
from node_repro.runs.json_values import encode
from node_repro.runs.lock import Lock
from node_repro.runs.metrics import refuse_undeclared
from node_repro.runs.metrics_file import MetricsFile
from node_repro.runs.result import RunResult

STATES = ("RUNNING", "COMPLETED", "FAILED", "INTERRUPTED")


class RunDirectory:
    """A locked directory to write to, or a complete one to read; made by `RunDirectory.open`.

    Every failure is raised as an OutputError.

    Attributes:
        path: The directory.
        result: The result if the run is finished; the directory is then not locked or written.
        resumed: Whether the directory held an unfinished run.
        notes: Sentences to show to the user.
    """

    def __init__(self, path: Path, lock: Lock | None, result: RunResult | None) -> None:
        self.path = path
        self.result = result
        self.resumed = False
        self.notes: list[str] = []
        self._lock = lock
        self._metrics: MetricsFile | None = None
        self._earlier_environments: list[dict] = []

    @property
    def complete(self) -> bool:
        """Whether there is a readable result.json."""
        return self.result is not None

    @classmethod
    def open(
        cls,
        path: Path | str,
        config: dict,
        signature: str,
        command: Sequence[str],
        *,
        overrides: Sequence[str] | None = None,
        harmless: Collection[str] = (),
    ) -> "RunDirectory":
        """Create the directory, or reopen the one of a run with the same signature.

        Args:
            path: The directory.
            config: The resolved configuration.
            signature: Its signature.
            command: The command line, for command.txt.
            overrides: For overrides.txt; by default the arguments of `command`.
            harmless: Dotted keys of the configuration that are not part of the signature, so that
                an error message does not name them.

        Raises:
            OutputError: The directory is locked, holds another run, or cannot be created.
        """
        path = Path(path)
        with writing(path):
            if (result := _read_result(path)) is not None:
                refuse_another(path, config, signature, harmless)
                return cls(path, None, result)
            os.makedirs(path.parent, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(path)
            if not path.is_dir():
                raise OutputError(f"{path} exists and is not a directory; choose another name=...")
            is_known(path)
            lock, notes = Lock.take(path / "lock")
            run = cls(path, lock, None)
            run.notes += notes
            try:
                run.result = _read_result(path)
                known = refuse_another(path, config, signature, harmless)
                if run.complete:  # the other process finished just before the lock was taken
                    run.close()
                else:
                    run.resumed = known
                    run._begin(
                        config_text(config, signature),
                        command[1:] if overrides is None else overrides,
                        command,
                    )
            except BaseException:
                run.close()
                raise
        return run

    def log(self, split: str, step: int, **metrics: float) -> None:
        """Append one line of metrics.

        Raises:
            ValueError: A metric is not declared.
            TypeError: A value is not a number.
            OutputError: The line cannot be written.
        """
        refuse_undeclared(metrics)
        for name, value in metrics.items():
            if not isinstance(value, Real):
                raise TypeError(f"metric '{name}' must be a number, not a {type(value).__name__}")
        values = {name: encode(value) for name, value in metrics.items()}
        self._writable_metrics().append(step, split, values)

    def cut(self, step: int) -> int:
        """On resume, remove the logged lines after `step` (-1: all); returns how many."""
        return self._writable_metrics().cut(step)

    def status(self, state: str, **facts: object) -> None:
        """Write status.json: the state, its time and process, and the facts."""
        if state not in STATES:
            raise ValueError(f"'{state}' is not a state of a run; allowed: {', '.join(STATES)}")
        self._writable_metrics()
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        head = {"state": state, "since": now, "pid": os.getpid(), "host": os.uname().nodename}
        self._write("status.json", _json(head | facts))

    def picture(self, file: str, content: bytes) -> None:
        """Write a file into pictures/, replacing one of the same name."""
        self._writable_metrics()
        with writing(self.path / "pictures"):
            (self.path / "pictures").mkdir(exist_ok=True)
            write_atomically(self.path / "pictures" / file, content)

    def finish(self, result: RunResult) -> None:
        """Set the status COMPLETED, then write result.json, which completes the run."""
        content = _json(result.to_json())
        self.status("COMPLETED")
        self._write("result.json", content)
        self.result = result

    def record_environment(self, **chosen: str) -> None:
        """Rewrite environment.json; to be called after torch and CUDA are initialised.

        Args:
            chosen: Further facts that were chosen for this machine, such as the engine.
        """
        self._writable_metrics()
        facts: dict = environment() | chosen
        if self._earlier_environments:
            facts["earlier"] = self._earlier_environments
        self._write("environment.json", _json(facts))

    def close(self) -> None:
        """Release the directory; closing it again does nothing."""
        if self._metrics is not None:
            self._metrics.close()
        self._metrics = None
        if self._lock is not None:
            self._lock.release()
        self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Close; an exception sets the status FAILED, an interrupt does not change it."""
        if isinstance(error, Exception) and self._metrics is not None and not self.complete:
            line = " ".join(f"{type(error).__name__}: {error}".split())
            text = "".join(traceback.format_exception(error))
            with contextlib.suppress(OutputError):  # do not hide the original exception
                self.status("FAILED", error=line, traceback=text)
        self.close()

    def _begin(self, text: str, overrides: Sequence[str], command: Sequence[str]) -> None:
        """With the lock held: remove leftovers, record the command, set the status RUNNING."""
        remove_leftovers(self.path)
        if (self.path / "result.json").exists():
            self.notes.append(f"{self.path / 'result.json'} cannot be read and will be replaced")
        if not self.resumed:  # first, since a directory with other files but without it is refused
            self._write("config.yaml", text)
        self._metrics = MetricsFile(self.path / "metrics.jsonl")
        if not (self.path / "overrides.txt").exists():
            self._write("overrides.txt", "".join(f"{line}\n" for line in overrides))
        commands = self.path / "command.txt"
        before = commands.read_text(encoding="utf-8") if commands.exists() else ""
        self._write("command.txt", f"{before}{shlex.join(command)}\n")
        self._compare_environments()
        self.record_environment()
        self.status("RUNNING")

    def _compare_environments(self) -> None:
        try:
            before = json.loads((self.path / "environment.json").read_bytes())
            self._earlier_environments = before.pop("earlier", [])
        except (FileNotFoundError, ValueError, AttributeError):
            return
        if differing := changes(before, environment()):
            self._earlier_environments.append(before)
            self.notes.append(
                "the environment changed since the last start, so results may differ in the last "
                f"bits: {'; '.join(differing)}"
            )

    def _write(self, name: str, text: str) -> None:
        with writing(self.path / name):
            write_atomically(self.path / name, text.encode())

    def _writable_metrics(self) -> MetricsFile:
        if self.complete:
            raise OutputError(f"{self.path} is already complete and cannot be written to.")
        if self._metrics is None:
            raise OutputError(f"{self.path} is closed and cannot be written to.")
        return self._metrics


def _json(value: dict) -> str:
    return json.dumps(encode(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _read_result(path: Path) -> RunResult | None:
    try:
        return RunResult.read(path / "result.json")
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
