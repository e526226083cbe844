"""Irregular series: what was shown, what was hidden, what a model says of all times."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from node_repro.figures import png

CHANNELS = 4  # at most so many are drawn

Points = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Times (B, n), values (B, n, D) and whether each was seen (B, n, D)."""


def predictions(
    ts: np.ndarray, x: np.ndarray, shown: Points, hidden: Points, channels: Sequence[str]
) -> bytes:
    """A column a series, a row a channel. ts: (T,); x: (S, B, T, D), S posterior samples."""
    series, drawn = x.shape[1], channels[:CHANNELS]
    figure = Figure(figsize=(3 * series, 1.9 * len(drawn) + 0.5), layout="constrained")
    axes = figure.subplots(len(drawn), series, squeeze=False, sharex=True)
    for j, name in enumerate(drawn):
        for i in range(series):
            ax = axes[j, i]
            for sample in x[:, i, :, j]:
                ax.plot(ts, sample, color="#0072B2", alpha=0.15, linewidth=0.8)
            ax.plot(ts, x[:, i, :, j].mean(0), color="#0072B2", label="predicted")
            for (times, values, seen), style, colour, label in (
                (shown, ".", "black", "shown"),
                (hidden, "x", "#D55E00", "hidden"),
            ):
                there = seen[i, :, j]
                points = (times[i][there], values[i, there, j])
                ax.plot(*points, style, color=colour, markersize=5, label=label)
            if i == 0:
                ax.set_ylabel(name)
            if j == len(drawn) - 1:
                ax.set_xlabel("time")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return png(figure)
