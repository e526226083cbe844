"""The growing metrics.jsonl: one JSON object a line, appended in one write, never rewritten in
place. A torn last line is dropped when the file is opened again; `cut` goes back to a step."""

import contextlib
import json
import os
import time
from pathlib import Path

from node_repro.runs import OutputError
from node_repro.runs.atomic import is_still, reason, write_atomically
from node_repro.runs.metrics import whole_lines


class MetricsFile:
    """An append-only file of JSON lines. Raises OutputError (open, append, cut) in one sentence."""

    def __init__(self, path: Path) -> None:
        """Opens `path` for appending, made if absent; a torn last line is cut off."""
        self.path = path
        self._descriptor: int | None = None
        try:
            self._open()
            data = path.read_bytes()
            lines = whole_lines(data)
            if (length := sum(map(len, lines))) != len(data):
                os.truncate(path, length)
        except OSError as error:
            self.close()
            raise OutputError(f"Cannot write {path}: {reason(error)}.") from error
        self._restart_clock(lines)

    def append(self, step: int, split: str, values: dict) -> None:
        """Adds one line: step, split, the seconds worked so far (summed over resumes), values."""
        descriptor = self._live_descriptor()
        seconds = round(self._seconds_before + time.monotonic() - self._started, 3)
        record = {"step": step, "split": split, "seconds": seconds} | values
        data = (json.dumps(record, allow_nan=False) + "\n").encode()
        size = os.fstat(descriptor).st_size
        try:
            while data:
                data = data[os.write(descriptor, data) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size)
            raise OutputError(f"Cannot write {self.path}: {reason(error)}.") from error

    def cut(self, step: int) -> int:
        """Drops the lines whose step is beyond `step`, atomically; returns how many there were."""
        self._live_descriptor()
        try:
            lines = whole_lines(self.path.read_bytes())
            kept = [line for line in lines if _field(line, "step") <= step]
            if len(kept) != len(lines):
                write_atomically(self.path, b"".join(kept))
                self.close()
                self._open()
        except OSError as error:
            raise OutputError(f"Cannot write {self.path}: {reason(error)}.") from error
        self._restart_clock(kept)
        return len(lines) - len(kept)

    def close(self) -> None:
        """Closes the file; closing twice is harmless."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> None:
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)

    def _live_descriptor(self) -> int:
        if self._descriptor is None:
            raise OutputError(f"{self.path} is closed; nothing more can be logged.")
        if not is_still(self.path, self._descriptor):
            raise OutputError(
                f"{self.path} was deleted, moved or replaced while the run was writing to it; "
                "start the run again."
            )
        return self._descriptor

    def _restart_clock(self, lines: list[bytes]) -> None:
        self._seconds_before = float(_field(lines[-1], "seconds")) if lines else 0.0
        self._started = time.monotonic()


def _field(line: bytes, name: str) -> float:
    try:
        return json.loads(line)[name]
    except (ValueError, KeyError) as error:
        raise OutputError(
            f"A line of the metrics file is damaged: {line[:80]!r}; choose another name=..."
        ) from error
