"""The declared metrics: every number a run may log, with its unit and its meaning.

A name carries its unit where it has one (`step_seconds`, `peak_bytes`, `loss_nats`); errors are
fractions. JSON has no NaN: a value that is not finite is written as "nan", "inf" or "-inf", and
`restore` turns these three strings back into floats, so that a diverged loss stays visible.
"""

import difflib
import json
import math
from collections.abc import Iterable
from numbers import Integral, Real
from pathlib import Path
from typing import NamedTuple

from node_repro.runs import OutputError


class Metric(NamedTuple):
    """What one logged number is. label: what people are shown it under; empty, they are not."""

    unit: str
    meaning: str
    label: str = ""


SCORES: dict[str, Metric] = {
    "loss_nats": Metric("nats", "mean negative log likelihood over the batch or set", "loss"),
    "error": Metric(
        "fraction", "share of the examples classified wrongly, 0.0042 for 0.42 %", "error"
    ),
    "nll_nats": Metric("nats", "negative log likelihood of a point, or of a series as seen", "NLL"),
    "kl_nats": Metric("nats", "divergence, of a posterior or of the model", "KL"),
    "rmse_noisy": Metric("1", "RMSE a coordinate of the 100 points ahead, noisy", "RMSE ahead"),
    "rmse_clean": Metric("1", "the same against the curves without noise"),
    "rmse_sample": Metric("1", "rmse_noisy of one posterior sample, not of their mean"),
    "rmse_window": Metric("1", "RMSE a coordinate of all points of the window, without noise"),
    "rmse_hidden": Metric("1", "RMSE of hidden values, standardised", "RMSE hidden"),
    "rmse_carried": Metric("1", "the same of the last value shown before", "carried forward"),
    "log_likelihood_nats": Metric(
        "nats",
        "predictive log likelihood; a point, a value or a sequence, as the task says",
        "log p",
    ),
    "log_likelihood_true_nats": Metric("nats", "of a sequence under its true rate", "true rate"),
    "log_likelihood_constant_nats": Metric(
        "nats", "of a sequence under the constant rate of the training events", "constant rate"
    ),
    "integral_error": Metric(
        "fraction",
        "relative error of the rate's integral, sequence by sequence",
        "integral's error",
    ),
    "rate_error": Metric(
        "fraction", "integral of the rate's absolute error over that of the rate", "rate's error"
    ),
    "squared_error": Metric("1", "mean squared error of predicted values", "MSE"),
    "rmse_values": Metric("1", "RMSE of predicted values, against noisy ones", "RMSE"),
    "rmse_function": Metric("1", "the same against the function without noise", "without noise"),
    "absolute_error": Metric("1", "mean absolute difference of the solution", "mean |error|"),
    "field_error": Metric("fraction", "relative RMS error of the field on the trajectory", "field"),
    "outside": Metric("fraction", "share of the drawn points outside of the box", "outside"),
    "best_error": Metric("fraction", "smallest validation error so far"),
    "learning_rate": Metric("1", "learning rate that the optimiser used"),
    "gradient_norm": Metric("1", "2-norm of the gradient with respect to all parameters"),
    "epoch": Metric("epochs", "passes over the training set so far, with a fraction"),
}
"""How well a model does, and how it is trained."""

SOLVER: dict[str, Metric] = {
    "nfe_forward": Metric("evaluations", "evaluations of f in one forward pass"),
    "nfe_backward": Metric("evaluations", "evaluations of f in one backward pass"),
    "nvjp_backward": Metric("evaluations", "vector-Jacobian products with f in one backward pass"),
    "accepted": Metric("steps", "accepted steps of the forward solve"),
    "rejected": Metric("steps", "rejected steps of the forward solve"),
    "accepted_backward": Metric("steps", "accepted steps of the backward solve"),
    "rejected_backward": Metric("steps", "rejected steps of the backward solve"),
    "reconstruction_error": Metric(
        "1", "relative root mean square by which the backward solve misses the state at t0"
    ),
    "h_min": Metric("time", "smallest accepted step size of the forward solve, as a magnitude"),
    "h_max": Metric("time", "largest accepted step size of the forward solve, as a magnitude"),
    "h_mean": Metric("time", "mean accepted step size of the forward solve, as a magnitude"),
}
"""What the solver did."""

COST: dict[str, Metric] = {
    "step_seconds": Metric("seconds", "wall time of one training iteration"),
    "forward_seconds": Metric("seconds", "wall time of one forward pass with the loss"),
    "backward_seconds": Metric("seconds", "wall time of one backward pass"),
    "epoch_seconds": Metric("seconds", "wall time of one epoch of training"),
    "evaluation_seconds": Metric("seconds", "wall time of one evaluation over a whole set"),
    "training_seconds": Metric("seconds", "wall time of the training with its evaluations"),
    "checkpoint_seconds": Metric("seconds", "wall time of saving one checkpoint"),
    "images_per_second": Metric("1/second", "training images per second of wall time"),
    "saved_bytes": Metric("bytes", "most bytes held at once for backward, parameters left out"),
    "peak_bytes": Metric("bytes", "peak of allocated CUDA memory; on a CPU equal to saved_bytes"),
    "parameters": Metric("1", "number of trainable parameters"),
}
"""What it takes in time and memory."""

METRICS: dict[str, Metric] = SCORES | SOLVER | COST


def check(names: Iterable[str]) -> None:
    """Raises ValueError for the first name that is not declared, with the nearest declared one."""
    for name in names:
        if name not in METRICS:
            near = difflib.get_close_matches(name, METRICS, n=1, cutoff=0.4)
            hint = f"did you mean '{near[0]}'" if near else f"declared are {', '.join(METRICS)}"
            raise ValueError(
                f"'{name}' is not a declared metric: {hint}? Declare new ones, with their unit, "
                "in node_repro/runs/metrics.py."
            )


def told(name: str, value: float, standard_error: float | None = None) -> str:
    """A metric in words, as in "error 0.58 ± 0.08 %" or "loss 0.0221"."""
    metric = METRICS[name]
    scale, digits, unit = (100, 2, " %") if metric.unit == "fraction" else (1, 4, "")
    spread = "" if standard_error is None else f" ± {scale * standard_error:.{digits}f}"
    return f"{metric.label} {scale * value:.{digits}f}{spread}{unit}"


def encode(value: object) -> object:
    """`value` in what JSON knows: plain numbers, "nan"/"inf"/"-inf", strings, lists, dicts, null.

    Raises TypeError for anything else, tensors included.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        return number if math.isfinite(number) else str(number)
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    raise TypeError(
        f"a {type(value).__name__} cannot be recorded: allowed are numbers, strings, None, lists "
        "and dicts of them; use .item() on a tensor"
    )


def restore(value: object) -> object:
    """The inverse of `encode`: "nan", "inf" and "-inf" are floats again, at any depth."""
    if isinstance(value, str):
        return float(value) if value in ("nan", "inf", "-inf") else value
    if isinstance(value, dict):
        return {key: restore(item) for key, item in value.items()}
    if isinstance(value, list):
        return [restore(item) for item in value]
    return value


def whole_lines(data: bytes) -> list[bytes]:
    """The lines of a metrics file, each with its newline; a torn last line is left out."""
    lines = data.splitlines(keepends=True)
    if lines and not (lines[-1].endswith(b"\n") and _parses(lines[-1])):
        lines.pop()
    return lines


def _parses(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def read_metrics(path: Path) -> list[dict]:
    """Every line of a metrics.jsonl: {"step", "split", "seconds", <metric>...}, metrics as numbers.

    The last line may be torn (a kill while writing); it is left out. Raises OutputError if the
    file is missing, or damaged anywhere else.
    """
    try:
        lines = whole_lines(Path(path).read_bytes())
    except OSError as error:
        raise OutputError(f"Cannot read {path}: {error.strerror}.") from error
    records = []
    for number, line in enumerate(lines, start=1):
        if not _parses(line):
            raise OutputError(f"{path} is damaged in line {number}: it is not a JSON object.")
        record = json.loads(line)
        records.append({k: restore(v) if k in METRICS else v for k, v in record.items()})
    return records
