"""The run in TensorBoard: scalars as `<split>/<metric>` and the hyper-parameters, in one run.

The event file is written here, synchronously: torch's SummaryWriter does it in a thread, which
prints a traceback when the disk is full or the directory is gone. `add_hparams` would make a
second, timestamped run; the summaries it is made of are written into this one.
"""

import os
import socket
import struct
import time
from collections.abc import Mapping
from io import BufferedWriter
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore
from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import summary

from node_repro.record import OutputError
from node_repro.record.atomic import is_still, reason
from node_repro.record.metrics import check


class Dashboard:
    """One event file in the directory `path`; with the files of earlier starts it is one run."""

    def __init__(self, path: Path, purge_step: int | None = None) -> None:
        """purge_step: on resume, the first step that is done again; what earlier starts wrote from
        it on is hidden. Raises OutputError if the directory (not its parent) cannot be made."""
        self.path = Path(path)
        try:
            self.path.mkdir(exist_ok=True)
            self._file_path, self._file = _new_event_file(self.path)
        except OSError as error:
            raise OutputError(f"Cannot write {self.path}: {reason(error)}.") from error
        self._records = RecordWriter(self._file)
        self._step = 0
        self._add(Event(file_version="brain.Event:2"))
        if purge_step is not None:
            session = SessionLog(status=SessionLog.START)
            self._add(Event(step=purge_step, session_log=session))
        self._flush()

    def scalars(self, split: str, step: int, metrics: Mapping[str, float]) -> None:
        """Adds declared metrics at `step`. Raises ValueError (undeclared) and OutputError."""
        check(metrics)
        self._step = max(self._step, step)
        for name, value in metrics.items():
            content = summary.scalar(f"{split}/{name}", float(value))
            self._add(Event(step=step, summary=content))
        self._flush()

    def image(self, tag: str, step: int, encoded: bytes) -> None:
        """Adds a picture, the bytes of a PNG or GIF file. Raises OutputError."""
        if encoded.startswith(b"GIF"):
            width, height = struct.unpack("<HH", encoded[6:10])
        else:
            width, height = struct.unpack(">II", encoded[16:24])
        image = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=encoded
        )
        self._add(Event(step=step, summary=Summary(value=[Summary.Value(tag=tag, image=image)])))
        self._flush()

    def hparams(self, hparams: Mapping[str, object], metrics: Mapping[str, float]) -> None:
        """Adds the row of the HParams tab: a nested configuration, and final numbers by tag.

        metrics: `<split>/<metric>` -> value, e.g. "test/error"; each is added as a scalar, too.
        """
        check(tag.rpartition("/")[2] for tag in metrics)
        for content in summary.hparams(_flat(hparams), dict(metrics)):
            self._add(Event(summary=content))
        for tag, value in metrics.items():
            self._add(Event(step=self._step, summary=summary.scalar(tag, float(value))))
        self._flush()

    def close(self) -> None:
        """Closes the event file; closing twice is harmless. Raises OutputError."""
        try:
            self._file.close()
        except OSError as error:
            raise OutputError(f"Cannot write {self._file_path}: {reason(error)}.") from error

    def _add(self, event: Event) -> None:
        event.wall_time = time.time()
        try:
            self._records.write(event.SerializeToString())
        except OSError as error:
            raise OutputError(f"Cannot write {self._file_path}: {reason(error)}.") from error

    def _flush(self) -> None:
        if not is_still(self._file_path, self._file.fileno()):
            raise OutputError(
                f"{self._file_path} was deleted, moved or replaced while the run was writing to "
                "it; start the run again."
            )
        try:
            self._file.flush()
        except OSError as error:
            raise OutputError(f"Cannot write {self._file_path}: {reason(error)}.") from error


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


def _flat(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        elif value is None or isinstance(value, bool | int | float | str):
            flat[f"{prefix}{name}"] = value
        else:
            flat[f"{prefix}{name}"] = str(value)
    return flat
