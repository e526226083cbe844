"""Figures 8 to 10: predictions of spirals, and the latent space."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from node_repro.figures import png
from node_repro.figures.style import BLUE, TRUE, VERMILION

TRUTH = "0.75"
DIRECTIONS = ((-1, BLUE, "clockwise"), (1, VERMILION, "counter-clockwise"))
TIME = LinearSegmentedColormap.from_list("time", ("purple", "red"))


def predictions(
    seen: np.ndarray, clean: np.ndarray, predicted: np.ndarray, sample: np.ndarray
) -> bytes:
    """Figures 8a and 8b. The second half of the times is after the observed window.

    Args:
        seen: Observed points (B, n, 2).
        clean: True trajectories (B, T, 2).
        predicted: Mean predictions over posterior samples, (B, T, 2).
        sample: The prediction of one posterior sample, (B, T, 2).
    """
    columns = min(4, len(clean))
    rows = math.ceil(len(clean) / columns)
    figure = Figure(figsize=(2.6 * columns, 2.6 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for i, ax in enumerate(axes[: len(clean)]):
        _prediction(ax, seen[i], clean[i], predicted[i], sample[i])
    for ax in axes[len(clean) :]:
        ax.axis("off")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return png(figure)


def _prediction(
    ax: Axes, seen: np.ndarray, clean: np.ndarray, predicted: np.ndarray, sample: np.ndarray
) -> None:
    half = len(clean) // 2
    ax.plot(*clean.T, color=TRUTH, linewidth=4, label="truth")
    if not np.array_equal(sample, predicted):
        ax.plot(*sample.T, color="0.4", linewidth=0.6, linestyle=":", label="one sample")
    ax.plot(*predicted[:half].T, color=BLUE, linewidth=1.4, label="in the window")
    ax.plot(*predicted[half - 1 :].T, color=VERMILION, linewidth=1.4, label="extrapolated")
    ax.plot(*seen.T, ".", color=TRUE, markersize=3, label="observed")
    _square(ax, np.abs(clean - clean.mean(0)).max() * 1.35, clean.mean(0))


def latent_paths(z: np.ndarray, direction: np.ndarray) -> bytes:
    """Figure 8c: latent states z (B, T, L) over time, in the first two dimensions.

    direction (B,) is 1 for counter-clockwise and -1 for clockwise.
    """
    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    ax = figure.subplots()
    for sign, colour, label in DIRECTIONS:
        chosen = z[direction == sign]
        ax.add_collection(
            LineCollection(list(chosen[..., :2]), colors=colour, linewidths=0.6, alpha=0.5)
        )
        ax.plot(*chosen[:, 0, :2].T, "o", color=colour, markersize=3, label=f"{label}, z(0)")
    ax.autoscale()
    ax.set_xlabel("latent dimension 1")
    ax.set_ylabel("latent dimension 2")
    ax.legend(fontsize="small")
    return png(figure)


def moved_dimension(x: np.ndarray, steps: np.ndarray) -> bytes:
    """Figure 9: trajectories x (S, L, T, 2), decoded from z(0) with one of its L dimensions moved.

    Dimensions are moved by steps (S,), in standard deviations. Time runs from purple to red.
    """
    count, latent = x.shape[:2]
    figure = Figure(figsize=(1.6 * count, 1.7 * latent + 0.3), layout="constrained")
    axes = figure.subplots(latent, count, squeeze=False)
    reach = np.abs(x - x.mean((0, 1, 2))).max()
    for i in range(latent):
        for j in range(count):
            ax = axes[i, j]
            _timed(ax, x[j, i], 1.4)
            _square(ax, reach, x.mean((0, 1, 2)))
            if i == 0:
                ax.set_title(f"{round(float(steps[j]), 1) + 0.0:+.1f} sd", fontsize="small")
            if j == 0:
                ax.set_ylabel(f"dimension {i + 1}", fontsize="small")
    return png(figure)


def latent_plane(x: np.ndarray, steps: np.ndarray, z0: np.ndarray, direction: np.ndarray) -> bytes:
    """Trajectories x (S, S, T, 2), decoded at points of a plane of the latent space.

    The plane is that of the first two principal directions of the posterior means, which have the
    coordinates z0 (B, 2). The points are steps (S,) times steps.
    """
    figure = Figure(figsize=(7, 7), layout="constrained")
    ax = figure.subplots()
    for sign, colour, label in DIRECTIONS:
        ax.plot(*z0[direction == sign].T, ".", color=colour, alpha=0.35, label=f"{label}, test")
    spacing = steps[1] - steps[0]
    reach = np.abs(x - x.mean(2, keepdims=True)).max()
    for i, a in enumerate(steps):
        for j, b in enumerate(steps):
            path = x[i, j] - x[i, j].mean(0)
            _timed(ax, np.array([a, b]) + path * (0.45 * spacing / reach), 1.2)
    ax.set_xlim(steps[0] - spacing, steps[-1] + spacing)
    ax.set_ylim(steps[0] - spacing, steps[-1] + spacing)
    ax.set_aspect("equal")
    ax.set_xlabel("first principal direction of the posterior means (sd)")
    ax.set_ylabel("second principal direction (sd)")
    ax.legend(loc="upper right", fontsize="small")
    return png(figure)


def by_observations(
    counts: Sequence[int],
    models: Sequence[str],
    runs: dict[tuple[str, int], dict[str, np.ndarray]],
    trajectory: int,
) -> Figure:
    """Figure 10: one test trajectory, one column per number of observations, one row per model.

    `runs` has the arrays of `predictions` by model and number of observations.
    """
    figure = Figure(figsize=(2.8 * len(counts), 2.8 * len(models) + 0.5), layout="constrained")
    axes = figure.subplots(len(models), len(counts), squeeze=False)
    for i, model in enumerate(models):
        for j, count in enumerate(counts):
            arrays = runs.get((model, count))
            if arrays is None:
                axes[i, j].axis("off")
                continue
            names = ("seen", "clean", "predicted", "sample")
            _prediction(axes[i, j], *(arrays[name][trajectory] for name in names))
            axes[i, j].set_title(f"{model}, {count} of 100", fontsize="small")
    handles, labels = axes[-1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5)
    return figure


def _timed(ax: Axes, path: np.ndarray, width: float) -> None:
    """Draw a path with a colour that follows time."""
    lines = np.stack((path[:-1], path[1:]), axis=1)
    ax.add_collection(
        LineCollection(
            list(lines), array=np.linspace(0, 1, len(lines)), cmap=TIME, linewidths=width
        )
    )


def _square(ax: Axes, reach: float, centre: np.ndarray) -> None:
    ax.set_xlim(centre[0] - reach, centre[0] + reach)
    ax.set_ylim(centre[1] - reach, centre[1] + reach)
    ax.set_aspect("equal")
    ax.set_xticks([])
    ax.set_yticks([])
