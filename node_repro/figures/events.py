"""Figure 7: the events of a Poisson process, and the true and learned rates."""

import numpy as np
from matplotlib.figure import Figure

from node_repro.figures import png
from node_repro.figures.style import BLUE, TRUE


def intensity(
    ts: np.ndarray, rates: np.ndarray, true: np.ndarray, times: np.ndarray, count: np.ndarray
) -> bytes:
    """One panel per sequence.

    Args:
        ts: Times (T,).
        rates: Learned rates (S, B, T) of S posterior samples.
        true: True rates (B, T).
        times: Event times (B, n), padded.
        count: Number of events of each sequence, (B,).
    """
    figure = Figure(figsize=(8, 1.9 * len(true) + 0.5), layout="constrained")
    axes = figure.subplots(len(true), 1, sharex=True, squeeze=False)[:, 0]
    for i, ax in enumerate(axes):
        for sample in rates[:, i]:
            ax.plot(ts, sample, color=BLUE, alpha=0.2, linewidth=0.8)
        ax.plot(ts, rates[:, i].mean(0), color=BLUE, linewidth=2, label="learned, mean")
        ax.plot(ts, true[i], color=TRUE, linestyle="--", label="true")
        shown = times[i, : count[i]]
        ax.plot(shown, np.zeros(len(shown)), "|", color=TRUE, markersize=9, label="events")
        ax.set_ylim(bottom=-0.25)
        ax.set_ylabel("rate $\\lambda(t)$")
    axes[-1].set_xlabel("time")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return png(figure)
