"""Figures 8c and 9: the latent space of spirals, and trajectories decoded over it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from node_repro.figures import png
from node_repro.figures.style import DIRECTIONS, PROGRESS, in_style, square

SHOWN = 20  # trajectories of each direction in figure 8c
COLOURS = {sign: colour for sign, colour, _ in DIRECTIONS}
SHORT = {-1: "cw", 0: "", 1: "ccw"}


def rotation(path: np.ndarray) -> int:
    """1 for a path (T, 2) that turns counter-clockwise about its mean, -1 for clockwise.

    This is the sign of the sum of z ∧ dz, twice the area that z sweeps; 0 if there is none.
    """
    z = path - path.mean(0)
    dz = np.diff(path, axis=0)
    return int(np.sign((z[:-1, 0] * dz[:, 1] - z[:-1, 1] * dz[:, 0]).sum()))


@in_style
def latent_paths(z: np.ndarray, direction: np.ndarray) -> bytes:
    """Figure 8c: latent states z (B, T, L) over time, in the first two dimensions.

    direction (B,) is 1 for counter-clockwise and -1 for clockwise. Dots are the starts.
    """
    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    ax = figure.subplots()
    for sign, colour, label in DIRECTIONS:
        chosen = z[direction == sign][:SHOWN, :, :2]
        ax.add_collection(LineCollection(list(chosen), colors=colour, linewidths=0.6, alpha=0.7))
        ax.plot(*chosen[:, 0].T, "o", color=colour, markersize=3.5, label=f"{label}, $z(t_0)$")
    ax.autoscale()
    ax.set_aspect("equal", adjustable="datalim")
    ax.set(xlabel="latent dimension 1", ylabel="latent dimension 2")
    figure.legend(loc="outside lower center", ncols=2)
    return png(figure)


@in_style
def moved(x: np.ndarray, steps: np.ndarray, names: Sequence[str]) -> bytes:
    """Figure 9: trajectories x (S, R, T, 2), decoded from z(t0) moved in R directions.

    The moves are steps (S,), in standard deviations; `names` are those of the directions. Each row
    has its own scale, and each panel says how its trajectory turns.
    """
    count, rows = x.shape[:2]
    figure = Figure(figsize=(count + 0.8, rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, count, squeeze=False)
    for i, name in enumerate(names):
        centre = x[:, i].mean((0, 1))
        reach = 1.1 * np.abs(x[:, i] - centre).max()
        for j, ax in enumerate(axes[i]):
            _timed(ax, x[j, i])
            _turn(ax, x[j, i])
            square(ax, reach, tuple(centre))
        axes[i, 0].set_ylabel(name)
    for ax, step in zip(axes[0], steps, strict=True):
        ax.set_title(f"{step:+.1f} sd".replace("-", "−") if abs(step) > 0.05 else "0")
    time = ScalarMappable(Normalize(0, 1), PROGRESS)
    bar = figure.colorbar(time, ax=axes, label="time", shrink=0.5, aspect=30)
    bar.set_ticks([0, 1], labels=["$t_0$", "end"])
    return png(figure)


@in_style
def latent_plane(x: np.ndarray, steps: np.ndarray, z0: np.ndarray, direction: np.ndarray) -> bytes:
    """Trajectories x (S, S, T, 2), decoded at points of a plane of the latent space.

    The plane is that of the first two principal directions of the posterior means, which have the
    coordinates z0 (B, 2). The points are steps (S,) times steps. Colours are the directions of
    rotation, and a dot is the start of a trajectory. Large trajectories are shrunk to their cell.
    """
    figure = Figure(figsize=(6, 6.3), layout="constrained")
    ax = figure.subplots()
    for sign, colour, label in DIRECTIONS:
        chosen = z0[direction == sign]
        ax.plot(*chosen.T, ".", color=colour, alpha=0.3, label=f"test spirals, {label}")
    spacing = float(steps[1] - steps[0])
    paths = x - x.mean(2, keepdims=True)
    reach = np.abs(paths).max((2, 3))
    scale = 0.47 * spacing / np.maximum(reach, max(float(np.median(reach)), 1e-12))
    for i, a in enumerate(steps):
        for j, b in enumerate(steps):
            path = np.array([a, b]) + paths[i, j] * scale[i, j]
            colour = COLOURS.get(rotation(path), "0.5")
            ax.plot(*path.T, color=colour, linewidth=0.9)
            ax.plot(*path[0], "o", color=colour, markersize=2.2)
    limits = (float(steps[0]) - 0.6 * spacing, float(steps[-1]) + 0.6 * spacing)
    ax.set(xlim=limits, ylim=limits, aspect="equal")
    ax.set_xlabel("first principal direction of the posterior means (sd)")
    ax.set_ylabel("second principal direction (sd)")
    figure.legend(loc="outside lower center", ncols=2)
    return png(figure)


def _timed(ax: Axes, path: np.ndarray) -> None:
    """Draw a path with a colour that follows time."""
    lines = np.stack((path[:-1], path[1:]), axis=1)
    time = np.linspace(0, 1, len(lines))
    ax.add_collection(LineCollection(list(lines), array=time, cmap=PROGRESS, linewidths=1.2))


def _turn(ax: Axes, path: np.ndarray) -> None:
    """Write in a corner how the path turns."""
    sign = rotation(path)
    colour = COLOURS.get(sign)
    ax.text(0.04, 0.04, SHORT[sign], color=colour, fontsize=8, transform=ax.transAxes)
