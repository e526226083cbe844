"""Metrics: unit, meaning and display of every number that a run may log.

A name ends with its unit if it has one (`step_seconds`, `peak_bytes`, `loss_nats`); errors are
fractions. A task may declare additional metrics, see `declare`.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Group = Literal["score", "solver", "cost"]


@dataclass(frozen=True)
class Metric:
    """Description of one logged number.

    Attributes:
        unit: "nats", "fraction", "seconds", "bytes", ...; "1" for none.
        meaning: One line, shown in TensorBoard.
        label: Name in the summary of a run, in charts and in tables; "" for a metric that is only
            logged.
        group: Score of the model, statistic of the solver, or cost.
        reduction: How the values of processes that share a batch are combined.
        chart: Title of its TensorBoard chart. Metrics with the same title share a chart; a score
            with a label has its own.
    """

    unit: str
    meaning: str
    label: str = ""
    group: Group = "score"
    reduction: Literal["mean", "max", "min"] = "mean"
    chart: str = ""

    def format(self, value: float, spread: float | None = None) -> str:
        """Format a value with its unit, as in "0.58 ± 0.08 %" or "0.0221 nats"."""
        scale, digits, unit = _FORMATS.get(self.unit, (1.0, 4, ""))
        plus_minus = "" if spread is None else f" ± {scale * spread:.{digits}f}"
        return f"{scale * value:.{digits}f}{plus_minus} {unit}".rstrip()


_FORMATS = {
    "fraction": (100.0, 2, "%"),
    "nats": (1.0, 4, "nats"),
    "bytes": (1e-6, 2, "MB"),
    "seconds": (1.0, 3, "s"),
    "evaluations": (1.0, 1, ""),
    "steps": (1.0, 1, ""),
}
"""Unit of a metric -> scale, digits after the decimal point, unit that is shown."""

_SCORES = {
    "loss_nats": Metric("nats", "mean negative log likelihood over the batch or set", "loss"),
    "error": Metric("fraction", "misclassified examples, 0.0042 for 0.42 %", "error"),
    "nll_nats": Metric("nats", "negative log likelihood of a point or of a series", "NLL"),
    "kl_nats": Metric("nats", "KL divergence of a posterior or of the model", "KL"),
    "rmse_noisy": Metric(
        "1", "RMSE per coordinate of the 100 points ahead, against noisy ones", "RMSE ahead"
    ),
    "rmse_clean": Metric("1", "RMSE per coordinate of the 100 points ahead, without noise"),
    "rmse_sample": Metric("1", "rmse_noisy of one posterior sample instead of their mean"),
    "rmse_window": Metric("1", "RMSE per coordinate of all points of the window, without noise"),
    "rmse_hidden": Metric("1", "RMSE of hidden values, standardised", "RMSE hidden"),
    "rmse_carried": Metric("1", "RMSE of the last shown value, standardised", "carried forward"),
    "log_likelihood_nats": Metric(
        "nats", "predictive log likelihood per point, value or sequence, as the task says", "log p"
    ),
    "log_likelihood_events_nats": Metric("nats", "log likelihood of a sequence without its marks"),
    "log_likelihood_events_true_nats": Metric("nats", "the same under its true rate"),
    "log_likelihood_events_constant_nats": Metric(
        "nats", "the same under the constant rate of the training events"
    ),
    "log_likelihood_true_nats": Metric(
        "nats", "log likelihood of a sequence under its true rate", "true rate"
    ),
    "log_likelihood_constant_nats": Metric(
        "nats",
        "log likelihood of a sequence under the constant rate of the training events",
        "constant rate",
    ),
    "integral_error": Metric(
        "fraction", "mean relative error of the rate's integral over a sequence", "integral's error"
    ),
    "rate_error": Metric(
        "fraction", "integral of the rate's absolute error over that of the rate", "rate's error"
    ),
    "squared_error": Metric("1", "mean squared error of predicted values", "MSE"),
    "rmse_values": Metric("1", "RMSE of predicted values against noisy ones", "RMSE"),
    "rmse_function": Metric("1", "RMSE against the function without noise", "without noise"),
    "absolute_error": Metric("1", "mean absolute difference of the solution", "mean |error|"),
    "field_error": Metric("fraction", "relative RMS error of the field on the trajectory", "field"),
    "outside": Metric("fraction", "sampled points outside the box", "outside"),
    "learning_rate": Metric(
        "1", "learning rate of the optimizer", reduction="max", chart="learning rate"
    ),
}


def _solver(
    unit: str,
    meaning: str,
    label: str = "",
    chart: str = "",
    reduction: Literal["mean", "max", "min"] = "mean",
) -> Metric:
    return Metric(unit, meaning, label, "solver", reduction, chart)


def _cost(
    unit: str,
    meaning: str,
    label: str,
    chart: str = "",
    reduction: Literal["mean", "max", "min"] = "mean",
) -> Metric:
    return Metric(unit, meaning, label, "cost", reduction, chart)


_NFE = "NFE of a training iteration"
STEP_SIZE = "step size h: mean, min, max"
_SOLVER = {
    "nfe_forward": _solver("evaluations", "evaluations of f, forward pass", "NFE forward", _NFE),
    "nfe_backward": _solver("evaluations", "evaluations of f, backward pass", "NFE backward", _NFE),
    "nvjp_backward": _solver("evaluations", "vector-Jacobian products with f, backward pass"),
    "accepted": _solver("steps", "accepted steps, forward solve", chart="forward steps"),
    "rejected": _solver("steps", "rejected steps, forward solve", chart="forward steps"),
    "accepted_backward": _solver("steps", "accepted steps, backward solve", chart="backward steps"),
    "rejected_backward": _solver("steps", "rejected steps, backward solve", chart="backward steps"),
    "reconstruction_error": _solver(
        "1",
        "relative RMS error of the state at t0 as reconstructed by the backward solve",
        chart="error of the reconstructed state",
        reduction="max",
    ),
    "h_min": _solver("time", "smallest accepted |h|, forward solve", "", STEP_SIZE, "min"),
    "h_max": _solver("time", "largest accepted |h|, forward solve", "", STEP_SIZE, "max"),
    "h_mean": _solver("time", "mean accepted |h|, forward solve", "", STEP_SIZE),
}
_BYTES = "bytes held for backward, and peak"
_COST = {
    "step_seconds": _cost(
        "seconds",
        "wall time of one training iteration",
        "seconds of an iteration",
        "seconds of a training iteration",
        "max",
    ),
    "evaluation_seconds": _cost(
        "seconds",
        "wall time of one evaluation over a whole set",
        "",
        "seconds of an evaluation",
        "max",
    ),
    "training_seconds": _cost(
        "seconds", "wall time of the training with its evaluations", "seconds of training"
    ),
    "saved_bytes": _cost(
        "bytes",
        "largest number of bytes held for backward at once, without parameters",
        "bytes held for backward",
        _BYTES,
        "max",
    ),
    "peak_bytes": _cost(
        "bytes", "peak of allocated CUDA memory; on a CPU saved_bytes", "", _BYTES, "max"
    ),
    "parameters": _cost("1", "number of trained parameters", "parameters"),
}

METRICS: dict[str, Metric] = _SCORES | _SOLVER | _COST


def declare(labels: Mapping[str, str]) -> None:
    """Add the metrics that a task declares (name -> label). The unit is the ending of the name."""
    for name, label in labels.items():
        METRICS.setdefault(name, _undeclared(name, label))


def get_metric(name: str) -> Metric:
    """The metric of this name; an undeclared one is labelled by its name.

    Results of tasks that are not loaded in this process contain undeclared metrics.
    """
    return METRICS.get(name) or _undeclared(name, name.replace("_", " "))


def shown_scores(values: Mapping[str, float]) -> dict[str, float]:
    """The values that a run prints: scores with a label, in the order of METRICS."""
    order = {name: place for place, name in enumerate(METRICS)}
    names = sorted(values, key=lambda name: order.get(name, len(order)))
    metrics = {name: get_metric(name) for name in names}
    return {
        name: values[name]
        for name, metric in metrics.items()
        if metric.label and metric.group == "score"
    }


def refuse_undeclared(names: Iterable[str]) -> None:
    """Raise ValueError for the first undeclared name; the message suggests the nearest one."""
    for name in names:
        if name not in METRICS:
            near = difflib.get_close_matches(name, METRICS, n=1, cutoff=0.4)
            hint = (
                f"did you mean '{near[0]}'?" if near else f"declared metrics: {', '.join(METRICS)}."
            )
            raise ValueError(
                f"'{name}' is not a declared metric: {hint} A task declares new ones in its "
                "class attribute `metrics`."
            )


def _undeclared(name: str, label: str) -> Metric:
    unit = name.rpartition("_")[2]
    return Metric(unit if unit in ("nats", "seconds", "bytes") else "1", label, label)
