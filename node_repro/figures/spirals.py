"""Figures 8a, 8b and 10: predictions of spirals."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from node_repro.figures import png
from node_repro.figures.journal import legend_below
from node_repro.figures.style import BLUE, TRUE, VERMILION, in_style, square

TRUTH = "0.8"
COLUMNS = 4


@in_style
def predictions(
    seen: np.ndarray, clean: np.ndarray, predicted: np.ndarray, sample: np.ndarray
) -> bytes:
    """Figures 8a and 8b. The second half of the times is after the observed window.

    The RMSE in a panel is that of the prediction after the window from the true trajectory.

    Args:
        seen: Observed points (B, n, 2).
        clean: True trajectories (B, T, 2).
        predicted: Mean predictions over posterior samples, (B, T, 2), NaN where there is none.
        sample: The prediction of one posterior sample, (B, T, 2).
    """
    columns = min(COLUMNS, len(clean))
    rows = math.ceil(len(clean) / columns)
    figure = Figure(figsize=(1.9 * columns, 1.9 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for i, ax in enumerate(axes[: len(clean)]):
        _prediction(ax, seen[i], clean[i], predicted[i], sample[i])
    for ax in axes[len(clean) :]:
        ax.axis("off")
    legend_below(figure, 5)
    return png(figure)


@in_style
def by_observations(
    counts: Sequence[int],
    models: Sequence[str],
    runs: dict[tuple[str, int], dict[str, np.ndarray]],
    trajectory: int,
) -> Figure:
    """Figure 10: one test trajectory, one column per number of observations, one row per model.

    `runs` has the arrays of `predictions` by model and number of observations.
    """
    figure = Figure(figsize=(2.3 * len(counts), 2.45 * len(models) + 0.4), layout="constrained")
    axes = figure.subplots(len(models), len(counts), squeeze=False)
    for i, model in enumerate(models):
        for j, count in enumerate(counts):
            arrays = runs.get((model, count))
            if arrays is None:
                axes[i, j].axis("off")
                continue
            names = ("seen", "clean", "predicted", "sample")
            _prediction(axes[i, j], *(arrays[name][trajectory] for name in names))
            axes[i, j].set_title(f"{model}, {count} of 100")
    legend_below(figure, 5)
    return figure


def _prediction(
    ax: Axes, seen: np.ndarray, clean: np.ndarray, predicted: np.ndarray, sample: np.ndarray
) -> None:
    half = len(clean) // 2
    ax.plot(*clean.T, color=TRUTH, linewidth=3.5, label="truth")
    if not np.array_equal(sample, predicted, equal_nan=True):
        ax.plot(*sample.T, color="0.4", linewidth=0.6, linestyle=":", label="one sample")
    ax.plot(*predicted[:half].T, color=BLUE, linewidth=1.2, label="in the window")
    ax.plot(*predicted[half - 1 :].T, color=VERMILION, linewidth=1.2, label="extrapolated")
    ax.plot(*seen.T, ".", color=TRUE, markersize=3, label="observed")
    rmse = math.sqrt(np.square(predicted[half:] - clean[half:]).mean())
    ax.text(0.04, 0.04, f"RMSE {rmse:.2f}", transform=ax.transAxes, fontsize=8)
    centre = clean.mean(0)
    square(ax, 1.35 * np.abs(clean - centre).max(), tuple(centre))
