"""The charts of TensorBoard's custom scalars tab, and the names of scalars.

A score is `<split>/<metric>`; what the solver did and what it took are `solver/<split>/<metric>`
and `cost/<split>/<metric>`, so that TensorBoard's sections are train, validation, test, solver and
cost.
"""

# The modules that protobuf generates do not declare their names:
# pyright: reportAttributeAccessIssue=false

import re
from collections.abc import Collection, Iterator

from tensorboard.plugins.custom_scalar.layout_pb2 import (
    Category,
    Chart,
    Layout,
    MarginChartContent,
    MultilineChartContent,
)

from node_repro.runs.metrics import COST, SCORES, SOLVER

CATEGORIES = ("Learning", "Solver", "Cost")
"""Every layout has all of them: TensorBoard loses charts when it merges runs that have not."""

_LINES = {
    "Solver": {
        "NFE of a training iteration": r"solver/train/nfe_(forward|backward)",
        "forward steps": r"solver/train/(accepted|rejected)",
        "backward steps": r"solver/train/(accepted|rejected)_backward",
        "error of the state solved back": r"solver/train/reconstruction_error",
    },
    "Cost": {
        "seconds of a training iteration": r"cost/train/(step|forward|backward)_seconds",
        "bytes held for backward, and peak": r"cost/train/(saved|peak)_bytes",
        "seconds of an evaluation": r"cost/validation/evaluation_seconds",
    },
}
_STEP_SIZE = {
    "value": "solver/train/h_mean",
    "lower": "solver/train/h_min",
    "upper": "solver/train/h_max",
}


def tag(split: str, metric: str) -> str:
    """The name of a scalar."""
    group = "solver/" if metric in SOLVER else "cost/" if metric in COST else ""
    return f"{group}{split}/{metric}"


def layout(tags: Collection[str]) -> Layout:
    """The charts that have at least one of the scalars `tags` to show."""
    charts = {"Learning": list(_learning(tags))} | {
        category: [_lines(title, regex) for title, regex in lines.items() if _any(regex, tags)]
        for category, lines in _LINES.items()
    }
    if set(_STEP_SIZE.values()) <= set(tags):
        series = MarginChartContent.Series(**_STEP_SIZE)
        margin = MarginChartContent(series=[series])
        charts["Solver"].append(Chart(title="step size h: mean, min, max", margin=margin))
    return Layout(category=[Category(title=name, chart=charts[name]) for name in CATEGORIES])


def _learning(tags: Collection[str]) -> Iterator[Chart]:
    for name, metric in SCORES.items():
        regex = rf"(train|validation)/{name}"
        title = metric.label if metric.unit == "1" else f"{metric.label} ({metric.unit})"
        if metric.label and _any(regex, tags):
            yield _lines(title, regex)
    if "train/learning_rate" in tags:
        yield _lines("learning rate", "train/learning_rate")


def _lines(title: str, regex: str) -> Chart:
    """TensorBoard matches the beginning of a name alone, hence the end sign."""
    return Chart(title=title, multiline=MultilineChartContent(tag=[f"{regex}$"]))


def _any(regex: str, tags: Collection[str]) -> bool:
    return any(re.fullmatch(regex, name) for name in tags)
