"""The run in TensorBoard: curves, their charts, pictures, texts and its row in HPARAMS, as one run.

The event files lie in the run's own directory, so that TensorBoard calls a run by its path.
"""

# The modules that protobuf generates do not declare their names:
# pyright: reportAttributeAccessIssue=false

import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from tensorboard.compat.proto.summary_pb2 import (
    DATA_CLASS_SCALAR,
    DATA_CLASS_TENSOR,
    Summary,
    SummaryMetadata,
)
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_DOUBLE, DT_STRING

from node_repro.runs.event_file import EventFile
from node_repro.runs.hparams import experiment, session_end, session_start
from node_repro.runs.layout import layout, tag
from node_repro.runs.metrics import METRICS, check

BUCKETS = 30


class Dashboard:
    """One more event file in the run's directory. Everything that writes raises OutputError."""

    def __init__(
        self, path: Path, purge_step: int | None = None, logged: Iterable[Mapping] = ()
    ) -> None:
        """purge_step: on resume, the first step that is done again; what earlier starts wrote from
        it on is hidden. logged: what they logged before it, as lines of metrics.jsonl."""
        self._events = EventFile(path, purge_step)
        self._tags = {tag(line["split"], m) for line in logged for m in line if m in METRICS}
        self._described: set[str] = set()
        self._layout = layout(self._tags)

    def scalars(self, split: str, step: int, metrics: Mapping[str, float]) -> None:
        """Adds declared metrics at `step`; a chart appears with its first scalar.

        Raises ValueError (undeclared)."""
        check(metrics)
        values = [Summary.Value(tag=tag(split, m), simple_value=v) for m, v in metrics.items()]
        for value in values:
            if value.tag not in self._described:
                value.metadata.CopyFrom(_metadata("scalars", _description(value.tag)))
        self._events.add(step, *values)
        self._described |= {value.tag for value in values}
        self._tags |= self._described
        if (charts := layout(self._tags)) != self._layout:
            self._layout = charts
            content = charts.SerializeToString()
            self._add_strings("custom_scalars", "custom_scalars__config__", 0, content)

    def histogram(self, name: str, step: int, values: Sequence[float], description: str) -> None:
        """Adds the distribution of some numbers, which may be none."""
        finite = np.asarray(values, dtype=float)
        finite = finite[np.isfinite(finite)]
        if not len(finite):
            return
        low, high = finite.min(), finite.max()
        if high - low > 1e-9 * max(-low, high):
            counts, edges = np.histogram(finite, bins=BUCKETS)
        else:  # numpy would spread one value over a unit
            counts, edges = np.array([len(finite)]), np.array([low, high])
        buckets = np.stack([edges[:-1], edges[1:], counts], axis=1)
        tensor = TensorProto(dtype=DT_DOUBLE, tensor_content=buckets.tobytes())
        tensor.tensor_shape.CopyFrom(_shape(*buckets.shape))
        metadata = _metadata("histograms", description)
        self._events.add(step, Summary.Value(tag=name, metadata=metadata, tensor=tensor))

    def image(self, name: str, step: int, encoded: bytes) -> None:
        """Adds a picture, the bytes of a PNG or GIF file."""
        if encoded.startswith(b"GIF"):
            width, height = struct.unpack("<HH", encoded[6:10])
        else:
            width, height = struct.unpack(">II", encoded[16:24])
        image = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=encoded
        )
        self._events.add(step, Summary.Value(tag=name, image=image))

    def text(self, name: str, step: int, markdown: str) -> None:
        """Adds a text."""
        self._add_strings("text", name, step, markdown.encode())

    def started(self, step: int, hparams: Mapping[str, object], keys: Mapping[str, type]) -> None:
        """Adds the run's row in HPARAMS: its values, of the keys that any run may have."""
        self._events.add(step, experiment(keys), session_start(hparams))

    def finished(self) -> None:
        """Says in HPARAMS that the run is complete; its numbers there are the last scalars."""
        self._events.add(0, session_end())

    def close(self) -> None:
        """Closes the event file; closing twice is harmless."""
        self._events.close()

    def _add_strings(self, plugin: str, name: str, step: int, content: bytes) -> None:
        tensor = TensorProto(dtype=DT_STRING, string_val=[content], tensor_shape=_shape())
        metadata = _metadata(plugin)
        self._events.add(step, Summary.Value(tag=name, metadata=metadata, tensor=tensor))


def table(values: Mapping[str, object]) -> str:
    """Two columns in Markdown; mappings inside become dotted keys."""
    rows = (f"| `{key}` | {_cell(value)} |" for key, value in flat(values).items())
    return "\n".join(("| key | value |", "|---|---|", *rows))


def code(text: str) -> str:
    """Text in Markdown that is shown as it is."""
    return "\n".join(f"    {line}" for line in text.splitlines())


def flat(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Dotted key -> value."""
    found: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    text = text.replace("|", "\\|")
    return f"`{text}`" if "_" in text else text


def _description(name: str) -> str:
    metric = METRICS[name.rpartition("/")[2]]
    label = f"{metric.label}: " if metric.label else ""
    return f"{label}{metric.meaning}; unit: {metric.unit}"


def _metadata(plugin: str, description: str = "") -> SummaryMetadata:
    """TensorBoard's fast reader keeps a description only where the class of the data is said."""
    return SummaryMetadata(
        data_class=DATA_CLASS_SCALAR if plugin == "scalars" else DATA_CLASS_TENSOR,
        plugin_data=SummaryMetadata.PluginData(plugin_name=plugin),
        summary_description=description,
    )


def _shape(*sizes: int) -> TensorShapeProto:
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in sizes])
