"""A TensorBoard event file, written synchronously.

torch's SummaryWriter writes in a thread, which prints a traceback when the disk is full or the
directory is gone; here both are an OutputError of one sentence.
"""

# The modules that protobuf generates do not declare their names:
# pyright: reportAttributeAccessIssue=false

import os
import socket
import time
from io import BufferedWriter
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from node_repro.runs import OutputError
from node_repro.runs.atomic import is_still, reason


class EventFile:
    """A new event file in a directory; with those of earlier starts it is one run."""

    def __init__(self, directory: Path, purge_step: int | None = None) -> None:
        """purge_step: the first step that is done again; what earlier files have from it on is
        hidden. Raises OutputError where the directory cannot be written to."""
        try:
            self.path, self._file = _new_event_file(directory)
        except OSError as error:
            raise OutputError(f"Cannot write {directory}: {reason(error)}.") from error
        self._records = RecordWriter(self._file)
        self._write(Event(file_version="brain.Event:2"))
        if purge_step is not None:
            session = SessionLog(status=SessionLog.START)
            self._write(Event(step=purge_step, session_log=session))
        self._flush()

    def add(self, step: int, *values: Summary.Value) -> None:
        """Writes and flushes values at a step. Raises OutputError."""
        for value in values:
            self._write(Event(step=step, summary=Summary(value=[value])))
        self._flush()

    def close(self) -> None:
        """Closes the file; closing twice is harmless. Raises OutputError."""
        try:
            self._file.close()
        except OSError as error:
            raise OutputError(f"Cannot write {self.path}: {reason(error)}.") from error

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        try:
            self._records.write(event.SerializeToString())
        except OSError as error:
            raise OutputError(f"Cannot write {self.path}: {reason(error)}.") from error

    def _flush(self) -> None:
        if not is_still(self.path, self._file.fileno()):
            raise OutputError(
                f"{self.path} was deleted, moved or replaced while the run was writing to "
                "it; start the run again."
            )
        try:
            self._file.flush()
        except OSError as error:
            raise OutputError(f"Cannot write {self.path}: {reason(error)}.") from error


def _new_event_file(directory: Path) -> tuple[Path, BufferedWriter]:
    """A new file that sorts behind those of earlier starts, as TensorBoard reads them in order."""
    for count in range(1000):
        name = f"{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{count:03d}"
        try:
            path = directory / f"events.out.tfevents.{name}"
            return path, open(path, "xb")
        except FileExistsError:
            continue
    raise FileExistsError(f"no free name for an event file in {directory}")
