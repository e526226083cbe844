"""Pictures of densities in the plane: figures 4 and 5 of the paper."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from node_repro.figures import gif, png

SECONDS = 3.0
INCH = 1.6


def densities(shown: Mapping[str, np.ndarray], side: float) -> bytes:
    """Densities (n, n) on [-side, side]^2 side by side."""
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
    """Figure 5: one column per fraction of the time, and the target on the right.

    Args:
        target: Density of the data (n, n).
        points: Points of the data (N, 2).
        density: Densities (T, n, n) of the flow at each fraction.
        samples: Samples (T, N, 2) of the flow at each fraction.
        fractions: Fractions of the flow's time.
        side: The pictures show [-side, side]^2.
        velocity: Velocities (T, m, 2) at each fraction; None for a flow without velocities.
        places: Points (m, 2) of the velocities.
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
    """One column per name, with a density (n, n) above and points (N, 2) below."""
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
    """An animation of the density (T, n, n) and of samples (T, N, 2) over time."""
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
