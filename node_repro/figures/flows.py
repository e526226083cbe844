"""Pictures of densities in the plane: figures 4 and 5 of the paper."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from node_repro.figures import gif, png

SECONDS = 3.0
INCH = 1.6


def densities(shown: Mapping[str, np.ndarray], side: float) -> bytes:
    """Densities (n, n) on [-side, side]^2 beside each other, as a PNG."""
    figure = Figure(figsize=(2 * INCH * len(shown), 2.2 * INCH), layout="constrained")
    axes = figure.subplots(1, len(shown), squeeze=False)[0]
    for ax, (title, values) in zip(axes, shown.items(), strict=True):
        _density(ax, values, side)
        ax.set_title(title)
    return png(figure)


def panels(
    *,
    target: np.ndarray,
    points: np.ndarray,
    density: np.ndarray,
    samples: np.ndarray,
    fractions: Sequence[float],
    side: float,
    velocity: np.ndarray | None = None,
    places: np.ndarray | None = None,
) -> bytes:
    """Figure 5: a column for each fraction of the time, the target at the right, as a PNG.

    target: (n, n). points: (N, 2) of the data. density: (T, n, n), samples: (T, N, 2), velocity:
    (T, m, 2) at places (m, 2); None for a flow without one.
    """
    rows = 2 if velocity is None else 3
    columns = len(fractions) + 1
    figure = Figure(figsize=(INCH * columns, INCH * (rows + 0.25)), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for k, fraction in enumerate(fractions):
        _density(axes[0, k], density[k], side)
        _points(axes[1, k], samples[k], side)
        axes[0, k].set_title(f"{100 * fraction:.0f} %", fontsize="small")
        if velocity is not None and places is not None:
            axes[2, k].quiver(*places.T, *velocity[k].T, angles="xy", width=0.006)
            _bare(axes[2, k], side)
    _density(axes[0, -1], target, side)
    _points(axes[1, -1], points, side)
    axes[0, -1].set_title("Target", fontsize="small")
    for ax in axes[2:, -1]:
        ax.set_axis_off()
    for ax, name in zip(axes[:, 0], ("Density", "Samples", "Vector field"), strict=False):
        ax.set_ylabel(name, fontsize="small")
    return png(figure)


def columns(shown: Mapping[str, tuple[np.ndarray, np.ndarray]], side: float) -> bytes:
    """A column for each name: a density (n, n) above, points (N, 2) below, as a PNG."""
    figure = Figure(figsize=(1.5 * INCH * len(shown), 3.2 * INCH), layout="constrained")
    axes = figure.subplots(2, len(shown), squeeze=False)
    for (title, (density, points)), (above, below) in zip(shown.items(), axes.T, strict=True):
        _density(above, density, side)
        _points(below, points, side)
        above.set_title(title)
    axes[0, 0].set_ylabel("Density")
    axes[1, 0].set_ylabel("Samples")
    return png(figure)


def animation(
    density: np.ndarray, samples: np.ndarray, fractions: Sequence[float], side: float
) -> bytes:
    """Density (T, n, n) and samples (T, N, 2) over the time, as a GIF."""
    frames = []
    for k, fraction in enumerate(fractions):
        figure = Figure(figsize=(4 * INCH, 2.2 * INCH), dpi=60, layout="constrained")
        left, right = figure.subplots(1, 2)
        _density(left, density[k], side)
        _points(right, samples[k], side)
        left.set_title(f"Density, {100 * fraction:.0f} %", fontsize="small")
        right.set_title("Samples", fontsize="small")
        frames.append(figure)
    return gif(frames, SECONDS)


def _density(ax: Axes, values: np.ndarray, side: float) -> None:
    extent = (-side, side, -side, side)
    ax.imshow(values, origin="lower", extent=extent, cmap="viridis", interpolation="bilinear")
    _bare(ax, side)


def _points(ax: Axes, points: np.ndarray, side: float) -> None:
    ax.scatter(*points.T, s=0.6, linewidths=0, color="black")
    _bare(ax, side)


def _bare(ax: Axes, side: float) -> None:
    ax.set(xlim=(-side, side), ylim=(-side, side), xticks=[], yticks=[], aspect="equal")
