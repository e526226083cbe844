"""A TensorBoard event file that is written synchronously.

tensorboard's own `EventFileWriter`, and with it torch's `SummaryWriter`, writes in a thread. If the
disk is full, that thread prints a traceback and only a later call raises the error. Here the call
that cannot write raises an OutputError.
"""

# protobuf's generated modules do not declare the names in them:
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
from node_repro.runs.atomic import is_still, writing


class EventFile:
    """A new event file. All event files of a directory form one TensorBoard run.

    Args:
        directory: Where the file is created.
        purge_step: On resume, the first step that is repeated. TensorBoard hides the data of
            earlier files from this step on.

    Raises:
        OutputError: The file cannot be written; raised by all methods.
    """

    def __init__(self, directory: Path, purge_step: int | None = None) -> None:
        with writing(directory):
            self.path, self._file = _create(directory)
        self._records = RecordWriter(self._file)
        self._write(Event(file_version="brain.Event:2"))
        if purge_step is not None:
            self._write(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))
        self._flush()

    def add(self, step: int, summary: Summary) -> None:
        """Write the values of a summary at a step, and flush the file."""
        for value in summary.value:
            self._write(Event(step=step, summary=Summary(value=[value])))
        self._flush()

    def close(self) -> None:
        """Close the file; closing it again does nothing."""
        with writing(self.path):
            self._file.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        with writing(self.path):
            self._records.write(event.SerializeToString())

    def _flush(self) -> None:
        if not is_still(self.path, self._file.fileno()):
            raise OutputError(
                f"{self.path} was deleted, moved or replaced while the run was writing to it; "
                "start the run again."
            )
        with writing(self.path):
            self._file.flush()


def _create(directory: Path) -> tuple[Path, BufferedWriter]:
    """Create a file that sorts after existing ones, since TensorBoard reads files in this order."""
    for count in range(1000):
        name = f"{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{count:03d}"
        path = directory / f"events.out.tfevents.{name}"
        try:
            return path, open(path, "xb")
        except FileExistsError:
            continue
    raise FileExistsError(f"no free name for an event file in {directory}")
