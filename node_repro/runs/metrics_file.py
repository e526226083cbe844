"""metrics.jsonl: one JSON object per line, {"step", "split", "seconds", <metric>...}.

Lines are appended in one write and never rewritten in place. An incomplete last line, left by a
process that was killed while writing, is dropped when the file is opened again. `cut` removes the
lines after a given step.
"""

import contextlib
import json
import os
import time
from pathlib import Path

from node_repro.runs import OutputError
from node_repro.runs.atomic import is_still, write_atomically, writing
from node_repro.runs.json_values import restore


class MetricsFile:
    """An append-only file of JSON lines, created if it does not exist.

    Raises:
        OutputError: The file cannot be opened or, by `append` and `cut`, written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        try:
            with writing(path):
                self._open()
                data = path.read_bytes()
                lines = _whole_lines(data)
                if (length := sum(map(len, lines))) != len(data):
                    os.truncate(path, length)
        except OutputError:
            self.close()
            raise
        self._restart_clock(lines)

    def append(self, step: int, split: str, values: dict) -> None:
        """Append one line: step, split, seconds of work so far (summed over restarts), values."""
        descriptor = self._live_descriptor()
        seconds = round(self._seconds_before + time.monotonic() - self._started, 3)
        record = {"step": step, "split": split, "seconds": seconds} | values
        data = (json.dumps(record, allow_nan=False) + "\n").encode()
        size = os.fstat(descriptor).st_size
        with writing(self.path):
            try:
                while data:
                    data = data[os.write(descriptor, data) :]
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, size)
                raise

    def cut(self, step: int) -> int:
        """Atomically remove the lines after `step`; returns how many were removed."""
        self._live_descriptor()
        with writing(self.path):
            lines = _whole_lines(self.path.read_bytes())
            kept = [line for line in lines if _field(line, "step") <= step]
            if len(kept) != len(lines):
                write_atomically(self.path, b"".join(kept))
                self.close()
                self._open()
        self._restart_clock(kept)
        return len(lines) - len(kept)

    def close(self) -> None:
        """Close the file; closing it again does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> None:
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)

    def _live_descriptor(self) -> int:
        if self._descriptor is None:
            raise OutputError(f"{self.path} is closed; no more lines can be logged.")
        if not is_still(self.path, self._descriptor):
            raise OutputError(
                f"{self.path} was deleted, moved or replaced while the run was writing to it; "
                "start the run again."
            )
        return self._descriptor

    def _restart_clock(self, lines: list[bytes]) -> None:
        self._seconds_before = float(_field(lines[-1], "seconds")) if lines else 0.0
        self._started = time.monotonic()


def read_metrics(path: Path) -> list[dict]:
    """All lines as dicts; an incomplete last line is left out.

    Raises:
        OutputError: The file is missing, or a line before the last one is damaged.
    """
    try:
        lines = _whole_lines(path.read_bytes())
    except OSError as error:
        raise OutputError(f"Cannot read {path}: {error.strerror}.") from error
    for number, line in enumerate(lines, start=1):
        if not _parses(line):
            raise OutputError(f"{path} is damaged in line {number}: it is not a JSON object.")
    records = (json.loads(line) for line in lines)
    return [
        {key: value if key == "split" else restore(value) for key, value in record.items()}
        for record in records
    ]


def _whole_lines(data: bytes) -> list[bytes]:
    """The lines with their newlines; an incomplete last line is left out."""
    lines = data.splitlines(keepends=True)
    if lines and not (lines[-1].endswith(b"\n") and _parses(lines[-1])):
        lines.pop()
    return lines


def _parses(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _field(line: bytes, name: str) -> float:
    try:
        return json.loads(line)[name]
    except (ValueError, KeyError) as error:
        raise OutputError(
            f"A line of the metrics file is damaged: {line[:80]!r}; choose another name=..."
        ) from error
