"""The row of a run in TensorBoard's HPARAMS tab.

`add_hparams` of torch makes a second, timestamped run; the summaries it is made of go into the
run's own event file here. TensorBoard takes the columns of the whole tab from any one run, so every
run describes the same columns: all keys that there are, and all final numbers that people are
shown.
"""

# The modules that protobuf generates do not declare their names:
# pyright: reportAttributeAccessIssue=false

import time
from collections.abc import Mapping

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import (
    DATA_TYPE_BOOL,
    DATA_TYPE_FLOAT64,
    DATA_TYPE_STRING,
    STATUS_SUCCESS,
    Experiment,
    HParamInfo,
    MetricInfo,
    MetricName,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)

from node_repro.runs.layout import tag
from node_repro.runs.metrics import METRICS

SHOWN_FIRST = ("experiment", "model.choice", "solver.choice", "gradient.choice", "seed")
_TYPES = {bool: DATA_TYPE_BOOL, int: DATA_TYPE_FLOAT64, float: DATA_TYPE_FLOAT64}
_NUMBERS = {
    ("test/selected", "error"): "test error",
    ("test/selected", "loss_nats"): "test loss (nats)",
    ("test/selected", "nll_nats"): "test NLL (nats)",
    ("test/selected", "rmse_noisy"): "test RMSE ahead",
    ("epoch", "nfe_forward"): "NFE forward",
    ("epoch", "nfe_backward"): "NFE backward",
    ("final", "parameters"): "parameters",
    ("final", "training_seconds"): "seconds of training",
    ("epoch", "step_seconds"): "seconds of an iteration",
    ("epoch", "saved_bytes"): "bytes held for backward",
}
"""(split, metric) -> heading; the first five columns are shown unasked."""


def experiment(keys: Mapping[str, type]) -> Summary.Value:
    """The columns. keys: every key that a run may have, with the type of its values.

    TensorBoard shows five keys unasked, those said to differ first.
    """
    headings = dict(_NUMBERS)
    for model in ("selected", "last"):
        for name, metric in METRICS.items():
            heading = f"test {metric.label}" + ("" if model == "selected" else ", last model")
            if metric.label:
                headings.setdefault((f"test/{model}", name), heading)
    infos = [
        HParamInfo(name=key, type=_TYPES.get(kind, DATA_TYPE_STRING), differs=key in SHOWN_FIRST)
        for key, kind in keys.items()
    ]
    metrics = [
        MetricInfo(
            name=MetricName(tag=tag(split, name)),
            display_name=heading,
            description=METRICS[name].meaning,
        )
        for (split, name), heading in headings.items()
    ]
    return _value(
        metadata.EXPERIMENT_TAG, experiment=Experiment(hparam_infos=infos, metric_infos=metrics)
    )


def session_start(values: Mapping[str, object]) -> Summary.Value:
    """The run's values by key; a key whose value is None is left out."""
    info = SessionStartInfo(start_time_secs=time.time())
    for key, value in values.items():
        if isinstance(value, bool):
            info.hparams[key].bool_value = value
        elif isinstance(value, int | float):
            info.hparams[key].number_value = value
        elif value is not None:
            info.hparams[key].string_value = str(value)
    return _value(metadata.SESSION_START_INFO_TAG, session_start_info=info)


def session_end() -> Summary.Value:
    """The run is complete."""
    info = SessionEndInfo(status=STATUS_SUCCESS, end_time_secs=time.time())
    return _value(metadata.SESSION_END_INFO_TAG, session_end_info=info)


def _value(name: str, **content: object) -> Summary.Value:
    data = HParamsPluginData(**content)
    return Summary.Value(
        tag=name, metadata=metadata.create_summary_metadata(data), tensor=metadata.NULL_TENSOR
    )
