"""Figure 7: events of a Poisson process as dots, and the rate behind them."""

import numpy as np
from matplotlib.figure import Figure

from node_repro.figures import png

LEARNED, TRUE = "#0072B2", "black"


def intensity(
    ts: np.ndarray, rates: np.ndarray, true: np.ndarray, times: np.ndarray, count: np.ndarray
) -> bytes:
    """A panel a sequence. ts: (T,); rates: (S, B, T) of S posterior samples; true: (B, T); times:
    (B, n), of which the first count: (B,) are events.
    """
    figure = Figure(figsize=(8, 1.9 * len(true) + 0.5), layout="constrained")
    axes = figure.subplots(len(true), 1, sharex=True, squeeze=False)[:, 0]
    for i, ax in enumerate(axes):
        for sample in rates[:, i]:
            ax.plot(ts, sample, color=LEARNED, alpha=0.2, linewidth=0.8)
        ax.plot(ts, rates[:, i].mean(0), color=LEARNED, linewidth=2, label="learned, mean")
        ax.plot(ts, true[i], color=TRUE, linestyle="--", label="true")
        happened = times[i, : count[i]]
        ax.plot(happened, np.zeros(len(happened)), "|", color=TRUE, markersize=9, label="events")
        ax.set_ylim(bottom=-0.25)
        ax.set_ylabel("rate $\\lambda(t)$")
    axes[-1].set_xlabel("time")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return png(figure)
