"""Figure 7: the events of a Poisson process, the true and learned rates, and the marks."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from node_repro.figures import png
from node_repro.figures.style import BLUE, TRUE, VERMILION, in_style


@in_style
def intensity(
    *,
    ts: np.ndarray,
    rates: np.ndarray,
    true: np.ndarray,
    times: np.ndarray,
    count: np.ndarray,
    marks: np.ndarray | None = None,
    marks_learned: np.ndarray | None = None,
    marks_true: np.ndarray | None = None,
) -> bytes:
    """One row per sequence: the rates, and the marks beside them if there are any.

    Args:
        ts: Times (T,).
        rates: Learned rates (S, B, T) of S posterior samples.
        true: True rates (B, T).
        times: Event times (B, n), padded.
        count: Number of events of each sequence, (B,).
        marks: Marks of the events, (B, n, 2), padded.
        marks_learned: Mean marks of the events under the model, (B, n, 2), padded.
        marks_true: Noiseless marks (B, T, 2) over time.
    """
    marked = marks is not None
    figure = Figure(figsize=(7.6, 1.35 * len(true) + 0.7), layout="constrained")
    axes = figure.subplots(len(true), 1 + marked, sharex=True, sharey="col", squeeze=False)
    for i, row in enumerate(axes):
        shown = times[i, : count[i]]
        _rates(row[0], ts, rates[:, i], true[i], shown)
        if marks is not None and marks_learned is not None and marks_true is not None:
            of_events = (part[i, : count[i]] for part in (marks, marks_learned))
            _marks(row[1], (ts, marks_true[i]), shown, *of_events)
    axes[0, 0].set_ylim(bottom=-0.25)
    for top, bottom in zip(axes[0], axes[-1], strict=True):
        bottom.set_xlabel("time")
        handles, labels = top.get_legend_handles_labels()
        place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0)}
        top.legend(handles, labels, **place, ncols=3 if marked else 4)
    return png(figure)


def _rates(
    ax: Axes, ts: np.ndarray, rates: np.ndarray, true: np.ndarray, times: np.ndarray
) -> None:
    ax.plot(ts, rates.mean(0), color=BLUE, linewidth=1.6, label="learned")
    for k, sample in enumerate(rates):
        label = None if k else "posterior samples"
        ax.plot(ts, sample, color=BLUE, alpha=0.3, linewidth=0.6, label=label)
    ax.plot(ts, true, color=TRUE, linestyle="--", linewidth=1, label="true")
    ax.plot(times, np.zeros(len(times)), "|", color=TRUE, markersize=7, label="events")
    ax.set_ylabel("rate $\\lambda(t)$")


def _marks(
    ax: Axes,
    true: tuple[np.ndarray, np.ndarray],
    times: np.ndarray,
    observed: np.ndarray,
    learned: np.ndarray,
) -> None:
    """The marks (n, 2) of events at times (n,), and the true ones (T, 2) with their times (T,)."""
    for k, colour in enumerate((BLUE, VERMILION)):
        name = f"$x_{k + 1}$"
        ax.plot(true[0], true[1][:, k], "--", color=colour, linewidth=0.8, label=f"{name}, true")
        ax.plot(times, learned[:, k], color=colour, label=f"{name}, learned")
        ax.plot(times, observed[:, k], ".", color=colour, label=f"{name}, observed")
    ax.set_ylabel("marks")
