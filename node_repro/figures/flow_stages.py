"""Figure 5 of the paper: stages of continuous and planar flows from the base to the data."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from node_repro.figures.flows import draw_density, draw_points, streamlines
from node_repro.figures.journal import files
from node_repro.figures.style import DENSITY, PROGRESS, in_style, square

INCH = 1.0  # side of a panel
GAP = 0.25  # above the title of a block, as a fraction of a panel


class Stages(NamedTuple):
    """Stages of flows fitted to one data set: densities (T, n, n), samples and points (T, N, 2).

    Attributes:
        target: Density of the data (n, n).
        points: Points of the data (N, 2).
        fractions: Fractions of the flow's time or depth.
        side: The pictures show [-side, side]^2.
        density: Densities of the continuous flow; None without one.
        samples: Samples of the continuous flow.
        planar: Densities of the planar flow; None without one.
        labels: Words on the continuous and on the planar flow; "" without one.
    """

    target: np.ndarray
    points: np.ndarray
    fractions: Sequence[float]
    side: float
    density: np.ndarray | None
    samples: np.ndarray | None
    planar: np.ndarray | None
    labels: tuple[str, str]


class Fields(NamedTuple):
    """Velocities (T, m^2, 2) of a continuous flow at places (m^2, 2), row by row from below."""

    fractions: Sequence[float]
    side: float
    velocity: np.ndarray
    places: np.ndarray


@in_style
def stages(data: Mapping[str, Stages]) -> dict[str, bytes]:
    """One block of three rows per data set: CNF densities, CNF samples, NF densities.

    The colours of a block go from 0 to the maximum of its target; higher values have the colour of
    that maximum. Panels of a missing flow are empty.
    """
    columns = 1 + max(len(one.fractions) for one in data.values())
    gaps = [GAP, 1.0, 1.0, 1.0] * len(data)
    figure = Figure(figsize=(INCH * columns + 0.5, INCH * sum(gaps) + 0.7))
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    axes = figure.subplots(len(gaps), columns, squeeze=False, height_ratios=gaps)
    for ax in axes.flat:
        ax.set_axis_off()
    for block, (name, one) in zip(axes.reshape(len(data), 4, columns), data.items(), strict=True):
        words = f"{name}: {'; '.join(label for label in one.labels if label)}"
        text = block[0, 0].text(0, 0.2, words, transform=block[0, 0].transAxes)
        text.set_in_layout(False)
        _block(block[1:], one)
    bar = figure.colorbar(
        ScalarMappable(cmap=DENSITY), ax=axes, location="bottom", shrink=0.3, aspect=30, pad=0.02
    )
    bar.set_ticks([0, 1], labels=["0", "maximum of the data's density"])
    return files(figure)


def _block(axes: np.ndarray, one: Stages) -> None:
    top = float(one.target.max())
    for k, fraction in enumerate(one.fractions):
        axes[0, k].set_title(f"{100 * fraction:.0f} %")
        if one.density is not None and one.samples is not None:
            _density(axes[0, k], one.density[k], top, one.side)
            _points(axes[1, k], one.samples[k], one.side)
        if one.planar is not None:
            _density(axes[2, k], one.planar[k], top, one.side)
    axes[0, -1].set_title("data")
    _density(axes[0, -1], one.target, top, one.side)
    _points(axes[1, -1], one.points, one.side)
    for ax, name in zip(axes[:, 0], ("CNF", "samples", "NF"), strict=True):
        ax.text(-0.08, 0.5, name, transform=ax.transAxes, ha="right", va="center", rotation=90)


def _density(ax: Axes, values: np.ndarray, top: float, side: float) -> None:
    ax.set_axis_on()
    draw_density(ax, values / top, 1.0, side)


def _points(ax: Axes, points: np.ndarray, side: float) -> None:
    ax.set_axis_on()
    draw_points(ax, points, side)


@in_style
def fields(data: Mapping[str, Fields]) -> dict[str, bytes]:
    """Two rows per data set: velocities, and their difference from the mean over the stages.

    Both are drawn as streamlines, whose colour is the speed, on one scale per data set.
    """
    columns = max(len(one.fractions) for one in data.values())
    figure = Figure(figsize=(INCH * columns + 1.2, 2 * INCH * len(data) + 0.4))
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    axes = figure.subplots(2 * len(data), columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for rows, (name, one) in zip(axes.reshape(len(data), 2, columns), data.items(), strict=True):
        norm = Normalize(0, float(np.linalg.norm(one.velocity, axis=-1).max()))
        change = one.velocity - one.velocity.mean(axis=0)
        for row, velocity, label in zip(
            rows, (one.velocity, change), ("$f$", "$f$ − mean"), strict=True
        ):
            for ax, field in zip(row, velocity, strict=False):
                ax.set_axis_on()
                streamlines(ax, field, one.places, norm)
                square(ax, one.side)
            row[0].set_ylabel(f"{name}\n{label}")
        figure.colorbar(
            ScalarMappable(norm, PROGRESS), ax=list(rows.flat), label="speed", aspect=30
        )
    fractions = max((one.fractions for one in data.values()), key=len)
    for ax, fraction in zip(axes[0], fractions, strict=True):
        ax.set_title(f"{100 * fraction:.0f} %")
    return files(figure, vector=False)
