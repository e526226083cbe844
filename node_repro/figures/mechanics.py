"""Learned motions: paths, fields, errors and energies over time; throws of a bouncing ball."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from node_repro.figures import png
from node_repro.figures.style import BLUE, FRAME, SERIES, VERMILION, in_style

TRUTH = "0.75"


@in_style
def motions(
    horizon: float,
    ts: np.ndarray,
    true: np.ndarray,
    learned: np.ndarray,
    error: np.ndarray,
    drift: np.ndarray,
    points: np.ndarray,
    field: np.ndarray,
    true_field: np.ndarray,
) -> bytes:
    """Motions, the learned field, and error and drift of the energy over time.

    Args:
        horizon: The last time of the training.
        ts: Times (T,).
        true, learned: States (B, T, 2 n); their first two components are drawn.
        error: RMSE of states at the times (T,).
        drift: Relative drift of the energy at the times (T,).
        points: Points of the plane (N, 2) at which the fields are drawn.
        field, true_field: Vectors (N, 2) there.
    """
    figure = Figure(figsize=(8.4, 6.4), layout="constrained")
    (paths, arrows), (errors, drifts) = figure.subplots(2, 2)
    for i, (a, b) in enumerate(zip(true, learned, strict=True)):
        paths.plot(a[:, 0], a[:, 1], color=TRUTH, linewidth=3, label="" if i else "true")
        paths.plot(
            b[:, 0], b[:, 1], color=SERIES[i], linewidth=0.8, label=f"learned, motion {i + 1}"
        )
    reach = 1.5 * np.abs(true[..., :2]).max()
    paths.set(xlim=(-reach, reach), ylim=(-reach, reach))
    planar = true.shape[2] == 2
    labels = (
        {"xlabel": "$q$", "ylabel": "$v$"} if planar else {"xlabel": "$q_1$", "ylabel": "$q_2$"}
    )
    paths.set(title=f"motions up to t = {ts[-1]:g}", **labels)
    _arrows(arrows, points, true_field, TRUTH, 0.01, "true")
    _arrows(arrows, points, field, BLUE, 0.004, "learned")
    title = "directions of the field" if planar else "directions of dv/dt on circular orbits"
    arrows.set(title=title, **labels)
    for ax in (paths, arrows):
        ax.set_box_aspect(1)
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    errors.plot(ts[1:], error[1:], color=VERMILION)
    errors.set(title="RMSE of the state", xlabel="time", yscale="log")
    drifts.plot(ts[1:], drift[1:], color=VERMILION)
    drifts.set(title="|E(t) − E(0)| / |E(0)|, geometric mean", xlabel="time", yscale="log")
    for ax in (errors, drifts):
        _mark_horizon(ax, horizon)
    return png(figure)


@in_style
def throws(
    horizon: float,
    ts: np.ndarray,
    true: np.ndarray,
    fine_ts: np.ndarray,
    learned: np.ndarray,
    bounces: np.ndarray,
) -> bytes:
    """Heights of balls over time, one panel for each.

    Args:
        horizon: The last time of the training.
        ts: Times (T,) of the true heights.
        true: Heights (B, T).
        fine_ts: Times (M,) of the learned heights.
        learned: Heights (B, M).
        bounces: True times (B, K) of the first bounces.
    """
    figure = Figure(figsize=(8.4, 2.6 * len(true)), layout="constrained")
    for ax, a, b, times in zip(
        figure.subplots(len(true), 1, squeeze=False).flat, true, learned, bounces, strict=True
    ):
        ax.plot(fine_ts, b, color=BLUE, label="learned")
        ax.plot(ts, a, "o", color="black", markersize=2.5, label="true")
        low = ax.get_ylim()[0]
        ax.plot(
            times, np.full_like(times, low), "|", color=VERMILION, markersize=10, label="bounces"
        )
        _mark_horizon(ax, horizon)
        ax.set(xlabel="time, s", ylabel="height, m")
        ax.legend(loc="upper right", ncols=4)
    return png(figure)


def _arrows(
    ax: Axes, points: np.ndarray, vectors: np.ndarray, colour: str, width: float, label: str
) -> None:
    """Arrows of one length in the directions of the vectors."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-12)
    style = {"color": colour, "width": width, "scale": 24}
    ax.quiver(*points.T, *(vectors / length).T, **style, label=label)


def _mark_horizon(ax: Axes, horizon: float) -> None:
    ax.axvspan(0, horizon, color=FRAME, alpha=0.4, linewidth=0, label="training horizon")
