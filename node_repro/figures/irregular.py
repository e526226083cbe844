"""Irregular series: shown and hidden values, and predictions at all times."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from node_repro.figures import png
from node_repro.figures.style import BLUE, TRUE, VERMILION, in_style

CHANNELS = 4  # maximal number of channels in the picture

Points = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Times (B, n), values (B, n, D), and whether each value was observed (B, n, D)."""


@in_style
def predictions(
    ts: np.ndarray, x: np.ndarray, shown: Points, hidden: Points, channels: Sequence[str]
) -> bytes:
    """Predictions x (S, B, T, D) of S posterior samples at ts (T,): one column per series."""
    series, names = x.shape[1], channels[:CHANNELS]
    figure = Figure(figsize=(2 * series, 1.4 * len(names) + 0.4), layout="constrained")
    axes = figure.subplots(len(names), series, squeeze=False, sharex=True)
    for j, name in enumerate(names):
        for i in range(series):
            ax = axes[j, i]
            for sample in x[:, i, :, j]:
                ax.plot(ts, sample, color=BLUE, alpha=0.15, linewidth=0.8)
            ax.plot(ts, x[:, i, :, j].mean(0), color=BLUE, label="predicted")
            for (times, values, seen), style, colour, label in (
                (shown, ".", TRUE, "shown"),
                (hidden, "x", VERMILION, "hidden"),
            ):
                there = seen[i, :, j]
                points = (times[i][there], values[i, there, j])
                ax.plot(*points, style, color=colour, markersize=5, label=label)
            if i == 0:
                ax.set_ylabel(name)
            if j == len(names) - 1:
                ax.set_xlabel("time")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return png(figure)
