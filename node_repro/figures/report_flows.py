"""Figure 4 of all its runs: densities side by side, and losses over the size of the flow."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from node_repro.figures.journal import files, journal, legend_below
from node_repro.figures.style import series_colour, series_marker


class Curve(NamedTuple):
    """Losses of one kind of flow: the values of all seeds by size (K or M)."""

    label: str
    losses: Mapping[int, Sequence[float]]


def losses(targets: Mapping[str, tuple[float, Sequence[Curve]]]) -> dict[str, bytes]:
    """One panel per target, with its floor -log Z and its curves: means as lines, seeds as dots."""
    columns = min(2, len(targets))
    rows = -(-len(targets) // columns)
    with journal(columns, rows) as (figure, axes):
        for ax, (name, (floor, curves)) in zip(axes, targets.items(), strict=False):
            for i, curve in enumerate(curves):
                _curve(ax, curve, i)
            ax.axhline(floor, color="black", linestyle=":", linewidth=1, label="floor, −log Z")
            ax.set_xscale("log", base=2)
            sizes = sorted({size for curve in curves for size in curve.losses})
            ax.set_xticks(sizes, [str(size) for size in sizes])
            ax.set(title=name, xlabel="K or M", ylabel="test loss, nats")
        for ax in axes[len(targets) :]:
            ax.set_axis_off()
        legend_below(figure, axes[0], 2)
        return files(figure)


def _curve(ax: Axes, curve: Curve, i: int) -> None:
    sizes = sorted(curve.losses)
    means = [float(np.mean(curve.losses[size])) for size in sizes]
    ax.plot(
        sizes, means, color=series_colour(i), marker=series_marker(i), label=curve.label, zorder=3
    )
    for size in sizes:
        dots = curve.losses[size]
        ax.plot([size] * len(dots), dots, ".", color=series_colour(i), alpha=0.45, markersize=5)


def densities(
    target: np.ndarray, rows: Mapping[str, Mapping[int, np.ndarray]], sizes: Sequence[int]
) -> dict[str, bytes]:
    """The panels of figure 4: the target on the left, one column per size, one row per flow."""
    with journal(len(sizes) + 1, len(rows), width=1.5, height=1.6) as (figure, axes):
        grid = np.array(axes, dtype=object).reshape(len(rows), -1)
        for i, (label, models) in enumerate(rows.items()):
            _density(grid[i, 0], target if i == 0 else None)
            if i == 0:
                grid[0, 0].set_title("target")
            for ax, size in zip(grid[i, 1:], sizes, strict=True):
                _density(ax, models.get(size))
                ax.set_title(f"{label} = {size}")
        return files(figure, vector=False)


def _density(ax: Axes, values: np.ndarray | None) -> None:
    ax.set_axis_off()
    if values is not None:
        ax.imshow(values, origin="lower", cmap="viridis", interpolation="bilinear")
