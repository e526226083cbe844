"""Pictures of densities in the plane: figures 4 and 5 of the paper.

All densities of a picture have one scale of colours, from 0 to the maximum of the target; higher
values have the colour of that maximum.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from node_repro.figures import gif, png
from node_repro.figures.style import DENSITY, PROGRESS, in_style, square

SECONDS = 3.0
INCH = 1.0  # side of a small panel


@in_style
def densities(shown: Mapping[str, np.ndarray], side: float) -> bytes:
    """Densities (n, n) on [-side, side]^2 side by side, the target first."""
    figure = Figure(figsize=(2.5 * len(shown) + 0.6, 2.8), layout="constrained")
    axes = figure.subplots(1, len(shown), squeeze=False)[0]
    top = float(next(iter(shown.values())).max())
    for ax, (title, values) in zip(axes, shown.items(), strict=True):
        image = draw_density(ax, values, top, side)
        ax.set_title(title)
    _bar(axes[-1], image, "density")
    return png(figure)


@in_style
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

    Velocities are drawn as streamlines, whose colour is the speed.

    Args:
        target: Density of the data (n, n).
        points: Points of the data (N, 2).
        density: Densities (T, n, n) of the flow at each fraction.
        samples: Samples (T, N, 2) of the flow at each fraction.
        fractions: Fractions of the flow's time.
        side: The pictures show [-side, side]^2.
        velocity: Velocities (T, m^2, 2) at each fraction; None for a flow without velocities.
        places: Points (m^2, 2) of the velocities, row by row from below.
    """
    rows = 2 if velocity is None else 3
    columns = len(fractions) + 1
    figure = Figure(figsize=(INCH * columns + 0.8, INCH * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    top = float(target.max())
    for k, fraction in enumerate(fractions):
        draw_density(axes[0, k], density[k], top, side)
        draw_points(axes[1, k], samples[k], side)
        axes[0, k].set_title(f"{100 * fraction:.0f} %")
    image = draw_density(axes[0, -1], target, top, side)
    _bar(axes[0, -1], image, "density")
    draw_points(axes[1, -1], points, side)
    axes[0, -1].set_title("target")
    if velocity is not None and places is not None:
        _fields(axes[2], velocity, places, side)
    for ax, name in zip(axes[:, 0], ("density", "samples", "field"), strict=False):
        ax.set_ylabel(name)
    return png(figure)


class Inverse(NamedTuple):
    """A flow at one tolerance: its density (n, n), samples (N, 2), and |x − x′| (M,) of points."""

    density: np.ndarray
    samples: np.ndarray
    distances: np.ndarray


@in_style
def inverses(
    target: np.ndarray, points: np.ndarray, flows: Mapping[str, Inverse], side: float
) -> bytes:
    """The data, then a flow at several tolerances, in columns: densities, samples and errors.

    The errors are the distances |x − x′| of points x of the data, with logarithmic colours.

    Args:
        target: Density of the data (n, n).
        points: Points x of the data (M, 2).
        flows: The flow at each tolerance, by title.
        side: The pictures show [-side, side]^2.
    """
    figure = Figure(figsize=(2.2 * (1 + len(flows)) + 0.8, 7.0), layout="constrained")
    axes = figure.subplots(3, 1 + len(flows), squeeze=False)
    top = float(target.max())
    distances = np.concatenate([one.distances for one in flows.values()])
    norm = LogNorm(max(float(distances.min()), 1e-16), max(float(distances.max()), 1e-15))
    image = draw_density(axes[0, 0], target, top, side)
    draw_points(axes[1, 0], points, side)
    axes[0, 0].set_title("data")
    axes[2, 0].set_axis_off()
    for k, (title, one) in enumerate(flows.items(), 1):
        draw_density(axes[0, k], one.density, top, side)
        draw_points(axes[1, k], one.samples, side)
        colours: Any = {"c": one.distances, "norm": norm, "cmap": PROGRESS}
        axes[2, k].scatter(*points.T, **colours, s=2.0, linewidths=0)
        square(axes[2, k], side)
        axes[0, k].set_title(title)
    _bar(axes[0, -1], image, "density")
    bar = axes[2, -1].inset_axes((1.06, 0.05, 0.07, 0.9))
    figure.colorbar(ScalarMappable(norm, PROGRESS), cax=bar, label="$|x - x'|$")
    axes[0, 0].set_ylabel("density")
    axes[1, 0].set_ylabel("samples")
    return png(figure)


@in_style
def animation(
    density: np.ndarray, samples: np.ndarray, fractions: Sequence[float], side: float, top: float
) -> bytes:
    """An animation of the density (T, n, n) and of samples (T, N, 2) over time.

    The colours of the density go from 0 to `top`.
    """
    frames = []
    for k, fraction in enumerate(fractions):
        figure = Figure(figsize=(6.4, 3.5), dpi=60, layout="constrained")
        left, right = figure.subplots(1, 2)
        draw_density(left, density[k], top, side)
        draw_points(right, samples[k], side)
        left.set_title(f"density, {100 * fraction:.0f} %", fontsize=13)
        right.set_title("samples", fontsize=13)
        frames.append(figure)
    return gif(frames, SECONDS)


def draw_density(ax: Axes, values: np.ndarray, top: float, side: float = 1.0) -> AxesImage:
    """Draw a density (n, n) on [-side, side]^2, with colours from 0 to `top`."""
    extent = (-side, side, -side, side)
    image = ax.imshow(values, vmin=0, vmax=top, origin="lower", extent=extent, cmap=DENSITY)
    image.set_interpolation("bilinear")
    square(ax, side)
    return image


def draw_points(ax: Axes, points: np.ndarray, side: float) -> None:
    """Draw points (N, 2) in [-side, side]^2, as pixels also in a vector file."""
    ax.scatter(*points.T, s=0.6, linewidths=0, color="black", rasterized=True)
    square(ax, side)


def streamlines(ax: Axes, velocity: np.ndarray, places: np.ndarray, norm: Normalize) -> None:
    """Draw velocities (m^2, 2) at places (m^2, 2) as streamlines, whose colour is the speed."""
    cells = round(len(places) ** 0.5)
    x, y = places[:cells, 0], places[::cells, 1]
    u, v = velocity.reshape(cells, cells, 2).transpose(2, 0, 1)
    speed = np.hypot(u, v)
    if speed.any():  # a field at rest has no streamlines
        coloured: Any = {"color": speed, "norm": norm, "cmap": PROGRESS}
        ax.streamplot(x, y, u, v, **coloured, density=0.6, linewidth=0.8, arrowsize=0.5)


def _fields(axes: Sequence[Axes], velocity: np.ndarray, places: np.ndarray, side: float) -> None:
    """Streamlines at each fraction, with one scale of speeds; the bar is in the last panel."""
    norm = Normalize(0, float(np.linalg.norm(velocity, axis=-1).max()))
    for ax, one in zip(axes[:-1], velocity, strict=True):
        streamlines(ax, one, places, norm)
        square(ax, side)
    last = axes[-1]
    last.set_axis_off()
    bar = last.inset_axes((0.1, 0.05, 0.08, 0.9))
    last.figure.colorbar(ScalarMappable(norm, PROGRESS), cax=bar, label="speed")


def _bar(ax: Axes, image: AxesImage, label: str) -> None:
    """Draw a colour bar at the right of a panel, whose size it does not change."""
    ax.figure.colorbar(image, cax=ax.inset_axes((1.06, 0.05, 0.07, 0.9)), label=label)
