"""TensorBoard output of a run: scalars, charts, histograms, images, texts and its HPARAMS row.

It writes tensorboard's own messages, because torch's `SummaryWriter` has no descriptions of
scalars, no images from encoded files (PNG, GIF), and no HPARAMS row in the run's event file.
"""

# protobuf's generated modules do not declare the names in them:
# pyright: reportAttributeAccessIssue=false

import math
import re
import struct
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tensorboard.compat.proto.summary_pb2 import (
    DATA_CLASS_SCALAR,
    DATA_CLASS_TENSOR,
    Summary,
    SummaryMetadata,
)
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.custom_scalar import layout_pb2 as layouts
from tensorboard.plugins.custom_scalar import metadata as custom_scalars
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.hparams import api_pb2 as api
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)
from tensorboard.plugins.text.summary_v2 import text_pb

from node_repro.runs.event_file import EventFile
from node_repro.runs.json_values import flatten
from node_repro.runs.metrics import METRICS, STEP_SIZE, get_metric, refuse_undeclared

CATEGORIES = {"score": "Learning", "solver": "Solver", "cost": "Cost"}
"""Group of a metric -> category of its chart. Every layout has all categories, because TensorBoard
loses charts when it merges layouts with different ones.
"""

_FIRST_COLUMNS = (
    *(("test/selected", name) for name in ("error", "loss_nats", "nll_nats", "rmse_noisy")),
    *(("epoch", name) for name in ("nfe_forward", "nfe_backward")),
)
_FIRST_KEYS = ("experiment", "model.choice", "solver.choice", "gradient.choice", "seed")
"""Of HPARAMS, TensorBoard initially shows five columns and five keys; others must be selected."""

_FINAL = ("parameters", "training_seconds")
"""Metrics logged once per run, under the split "final"."""


class TensorBoard:
    """TensorBoard output of one start of a run. Methods that write may raise OutputError.

    Args:
        directory: The run's directory, whose path is the run's name in TensorBoard.
        purge_step: On resume, the first step that is repeated.
        logged: The lines of metrics.jsonl of earlier starts, whose charts are kept.
    """

    def __init__(
        self, directory: Path, purge_step: int | None = None, logged: Iterable[Mapping] = ()
    ) -> None:
        self._events = EventFile(directory, purge_step)
        self._tags = {tag(line["split"], name) for line in logged for name in line}
        self._described: set[str] = set()
        self._layout = _layout(self._tags)

    def scalars(self, split: str, step: int, metrics: Mapping[str, float]) -> None:
        """Add declared metrics; a chart is added with its first scalar.

        Raises:
            ValueError: A metric is not declared.
        """
        refuse_undeclared(metrics)
        values = []
        for name, number in metrics.items():
            value = Summary.Value(tag=tag(split, name), simple_value=number)
            if value.tag not in self._described:
                value.metadata.CopyFrom(_scalar_metadata(name))
            values.append(value)
        self._events.add(step, Summary(value=values))
        self._described |= {value.tag for value in values}
        if self._described <= self._tags:
            return
        self._tags |= self._described
        if (layout := _layout(self._tags)) != self._layout:
            self._layout = layout
            content = TensorProto(
                dtype=DT_STRING,
                string_val=[layout.SerializeToString()],
                tensor_shape=TensorShapeProto(),
            )
            value = Summary.Value(
                tag=custom_scalars.CONFIG_SUMMARY_TAG,
                metadata=custom_scalars.create_summary_metadata(),
                tensor=content,
            )
            self._events.add(0, Summary(value=[value]))

    def histogram(self, name: str, step: int, values: Sequence[float], description: str) -> None:
        """Add a histogram of the finite values, if there are any."""
        if finite := [value for value in values if math.isfinite(value)]:
            summary = histogram_pb(name, finite, description=description)
            summary.value[0].metadata.data_class = DATA_CLASS_TENSOR
            self._events.add(step, summary)

    def image(self, name: str, step: int, encoded: bytes) -> None:
        """Add an image, given as the bytes of a PNG or GIF file."""
        if encoded.startswith(b"GIF"):
            width, height = struct.unpack("<HH", encoded[6:10])
        else:
            width, height = struct.unpack(">II", encoded[16:24])
        image = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=encoded
        )
        self._events.add(step, Summary(value=[Summary.Value(tag=name, image=image)]))

    def text(self, name: str, step: int, markdown: str) -> None:
        """Add a text."""
        self._events.add(step, text_pb(name, markdown))

    def start_session(
        self, step: int, values: Mapping[str, object], columns: Mapping[str, type]
    ) -> None:
        """Add the run's row of HPARAMS.

        Args:
            step: The current iteration.
            values: Key -> value of this run; None is left out.
            columns: Key -> type for the keys of all runs, because TensorBoard reads the columns
                from a single run.
        """
        info = SessionStartInfo(start_time_secs=time.time())
        for key, value in values.items():
            if isinstance(value, bool):
                info.hparams[key].bool_value = value
            elif isinstance(value, int | float):
                info.hparams[key].number_value = value
            elif value is not None:
                info.hparams[key].string_value = str(value)
        experiment = _experiment(columns)
        self._events.add(step, _hparams(hparams_metadata.EXPERIMENT_TAG, experiment=experiment))
        self._events.add(
            step, _hparams(hparams_metadata.SESSION_START_INFO_TAG, session_start_info=info)
        )

    def end_session(self) -> None:
        """Mark the run in HPARAMS as complete; its metrics there are its last scalars."""
        info = SessionEndInfo(status=api.STATUS_SUCCESS, end_time_secs=time.time())
        self._events.add(0, _hparams(hparams_metadata.SESSION_END_INFO_TAG, session_end_info=info))

    def close(self) -> None:
        """Close the event file; closing it again does nothing."""
        self._events.close()


def tag(split: str, name: str) -> str:
    """The name of a scalar: <split>/<metric>, prefixed by solver/ or cost/ unless it is a score."""
    group = get_metric(name).group
    return f"{split}/{name}" if group == "score" else f"{group}/{split}/{name}"


def table(values: Mapping[str, object]) -> str:
    """A Markdown table of two columns; keys of nested mappings are dotted."""
    rows = (f"| `{key}` | {_cell(value)} |" for key, value in flatten(values).items())
    return "\n".join(("| key | value |", "|---|---|", *rows))


def code(text: str) -> str:
    """A text as a Markdown code block."""
    return "\n".join(f"    {line}" for line in text.splitlines())


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    text = text.replace("|", "\\|")
    return f"`{text}`" if "_" in text else text


def _scalar_metadata(name: str) -> SummaryMetadata:
    metric = get_metric(name)
    label = f"{metric.label}: " if metric.label else ""
    return SummaryMetadata(
        data_class=DATA_CLASS_SCALAR,  # without it TensorBoard's fast reader drops the description
        plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"),
        summary_description=f"{label}{metric.meaning}; unit: {metric.unit}",
    )


def _layout(tags: set[str]) -> layouts.Layout:
    """The charts for which `tags` has at least one scalar, by category."""
    charts: dict[str, list[layouts.Chart]] = {title: [] for title in CATEGORIES.values()}
    for group, title, names in _charts():
        prefix = "" if group == "score" else f"{group}/"
        splits = "train" if group == "solver" else "(train|validation)"
        pattern = f"{prefix}{splits}/({'|'.join(names)})"
        if title == STEP_SIZE:
            low, high, mean = (f"solver/train/h_{name}" for name in ("min", "max", "mean"))
            if {low, high, mean} <= tags:
                series = layouts.MarginChartContent.Series(value=mean, lower=low, upper=high)
                margin = layouts.MarginChartContent(series=[series])
                charts[CATEGORIES[group]].append(layouts.Chart(title=title, margin=margin))
        elif any(re.fullmatch(pattern, name) for name in tags):
            lines = layouts.MultilineChartContent(tag=[f"{pattern}$"])  # `$`: it matches prefixes
            charts[CATEGORIES[group]].append(layouts.Chart(title=title, multiline=lines))
    return layouts.Layout(
        category=[layouts.Category(title=title, chart=each) for title, each in charts.items()]
    )


def _charts() -> Iterator[tuple[str, str, list[str]]]:
    """Group, title and metrics of every possible chart."""
    charts: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for name, metric in METRICS.items():
        title = metric.chart
        if metric.group == "score" and metric.label:
            title = metric.label if metric.unit == "1" else f"{metric.label} ({metric.unit})"
        if title:
            charts[metric.group, title].append(name)
    for (group, title), names in charts.items():
        yield group, title, names


def _experiment(keys: Mapping[str, type]) -> api.Experiment:
    """The columns of HPARAMS: keys of the configuration and final metrics."""
    types = {bool: api.DATA_TYPE_BOOL, int: api.DATA_TYPE_FLOAT64, float: api.DATA_TYPE_FLOAT64}
    hparams = [
        api.HParamInfo(
            name=key, type=types.get(kind, api.DATA_TYPE_STRING), differs=key in _FIRST_KEYS
        )
        for key, kind in keys.items()
    ]
    metrics = [
        api.MetricInfo(
            name=api.MetricName(tag=tag(split, name)),
            display_name=_heading(split, name),
            description=METRICS[name].meaning,
        )
        for split, name in dict.fromkeys([*_FIRST_COLUMNS, *_columns()])
    ]
    return api.Experiment(hparam_infos=hparams, metric_infos=metrics)


def _columns() -> Iterator[tuple[str, str]]:
    """Split and metric of every column."""
    for split in ("test/selected", "test/last"):
        yield from ((split, name) for name, m in METRICS.items() if m.label and m.group == "score")
    for name, metric in METRICS.items():
        if metric.label and metric.group != "score":
            yield "final" if name in _FINAL else "epoch", name


def _heading(split: str, name: str) -> str:
    metric = METRICS[name]
    unit = f" ({metric.unit})" if metric.unit == "nats" else ""
    prefix = "test " if split.startswith("test") else ""
    return f"{prefix}{metric.label}{unit}" + (", last model" if split == "test/last" else "")


def _hparams(name: str, **content: object) -> Summary:
    data = HParamsPluginData(**content)
    value = Summary.Value(
        tag=name,
        metadata=hparams_metadata.create_summary_metadata(data),
        tensor=hparams_metadata.NULL_TENSOR,
    )
    return Summary(value=[value])
