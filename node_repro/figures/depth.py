"""Figure 1: states on their way through the depth; and what else maps with a depth have to show."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.axes3d import Axes3D

from node_repro.figures import png

PATH, ARROW, DATA, TRUE, SECOND = "#0072B2", "0.6", "0.55", "black", "#D55E00"
CLASSES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "0.4")
MARGIN = 0.06  # beyond the drawn states, a fraction of their reach


def figure1(panels: Sequence[Mapping[str, np.ndarray]]) -> Figure:
    """A panel a network, the depth upwards and the state to the right, as in the paper.

    discrete: whether the depth is in layers. ts: (T,), z: (T, B), the ways of B inputs.
    evaluated_t, evaluated_z: (B, n), where layers or field were evaluated, filled up with NaN.
    arrow_t: (R,), arrow_z: (C,), arrow_rate: (R, C), the field, or what the layers add.
    """
    figure = Figure(figsize=(4.2 * len(panels), 4.6), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for ax, panel in zip(axes, panels, strict=True):
        _through_depth(ax, panel)
    axes[0].set_ylabel("Depth")
    return figure


def _through_depth(ax: Axes, panel: Mapping[str, np.ndarray]) -> None:
    ts, z, discrete = panel["ts"], panel["z"], bool(panel["discrete"])
    from_z, from_t = np.meshgrid(panel["arrow_z"], panel["arrow_t"])
    rate, rise = panel["arrow_rate"], np.ones(from_z.shape)
    if discrete:  # from a state to where the layer takes it
        arrows = ax.quiver(from_z, from_t, rate, rise, angles="xy", scale_units="xy", scale=1)
        arrows.set(linewidth=0.1, facecolor=ARROW, edgecolor=ARROW)
        arrows.width = 0.0022
    else:
        arrows = ax.quiver(from_z, from_t, rate, rise, angles="xy", pivot="mid", scale=38)
        arrows.set(facecolor=ARROW)
        arrows.width = 0.0026
    ax.plot(z, ts, color=PATH, linewidth=1.3)
    places = (panel["evaluated_z"].T, panel["evaluated_t"].T)
    ax.plot(*places, "o", color=TRUE, markersize=2.8, zorder=3)
    reach = (1 + MARGIN) * float(np.abs(z).max())
    ax.set_xlim(-reach, reach)
    ax.set_ylim(-0.02 * ts[-1], 1.02 * ts[-1])
    ax.set_xlabel("Input / Hidden / Output")
    ax.set_title("Residual Network" if discrete else "ODE Network")


def fit(x: np.ndarray, true: np.ndarray, found: np.ndarray, data: np.ndarray) -> bytes:
    """A function and what was learned of it at x: (N,), with the training points, (M, 2)."""
    figure = Figure(figsize=(5.6, 4), layout="constrained")
    ax = figure.subplots()
    ax.plot(*data.T, ".", color=DATA, markersize=4, label="training points")
    ax.plot(x, true, color=TRUE, linestyle="--", linewidth=1, label="the function")
    ax.plot(x, found, color=PATH, linewidth=1.8, label="learned")
    return _labelled(figure, ax, "x", "y")


def lines(x: np.ndarray, shown: Mapping[str, np.ndarray], data: np.ndarray, start: float) -> bytes:
    """Lines over x: (N,) by name, the first one dashed, the points (M, 2) and the known start."""
    figure = Figure(figsize=(5.6, 4), layout="constrained")
    ax = figure.subplots()
    ax.plot(*data.T, ".", color=DATA, markersize=4, label="training points")
    styles = ((TRUE, "--"), (PATH, "-"), (SECOND, "-"))
    for (name, line), (colour, style) in zip(shown.items(), styles, strict=True):
        ax.plot(x, line, style, color=colour, linewidth=1.5, label=name)
    ax.plot(0, start, "o", color=TRUE, markersize=5, label="known start")
    return _labelled(figure, ax, "x", "y")


def coloured_paths(z: np.ndarray, value: np.ndarray, name: str) -> bytes:
    """The ways z: (T, B, L) of B states, the first two dimensions; coloured by a value, (B,). Dots
    are their ends.
    """
    figure = Figure(figsize=(5.6, 4.4), layout="constrained")
    ax = figure.subplots()
    ways = LineCollection(list(z[:, :, :2].swapaxes(0, 1)), array=value, linewidths=1.0, alpha=0.8)
    ax.add_collection(ways)
    for end, marker, label in ((0, "s", "z(0)"), (-1, "o", "z at the end")):
        ax.scatter(*z[end, :, :2].T, c=value, s=14, marker=marker, label=label, zorder=3)
    figure.colorbar(ways, ax=ax, label=name)
    return _labelled(figure, ax, "$z_1$", "$z_2$")


def regions(chance: np.ndarray, side: float, x: np.ndarray, label: np.ndarray) -> bytes:
    """The chance of each class, (n, n, C), rows from below, on [-side, side]^2, as mixed colours;
    points x: (N, 2) in the colours of their labels, (N,).
    """
    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    ax = figure.subplots()
    palette = ListedColormap(CLASSES[: chance.shape[2]])
    colours = palette(np.arange(chance.shape[2]))[:, :3]
    pale = 1 - 0.45 * (1 - chance @ colours)
    ax.imshow(pale, origin="lower", extent=(-side, side, -side, side), interpolation="bilinear")
    ax.scatter(*x.T, c=colours[label], s=9, linewidths=0.3, edgecolors="white")
    ax.set(xlim=(-side, side), ylim=(-side, side), xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    return png(figure)


def class_paths(z: np.ndarray, label: np.ndarray) -> bytes:
    """The ways z: (T, B, L) of B states in the colours of their labels, (B,), dots at the end; the
    first three dimensions, or two.
    """
    figure = Figure(figsize=(5, 4.8), layout="constrained")
    solid = z.shape[2] > 2
    ax = figure.add_subplot(projection="3d" if solid else "rectilinear")
    if isinstance(ax, Axes3D):
        ax.set_zlabel("$z_3$")
    for k in np.unique(label):
        ways = z[:, label == k, : 3 if solid else 2].swapaxes(0, 1)
        for way in ways:
            ax.plot(*way.T, color=CLASSES[k], linewidth=0.5, alpha=0.5)
        name = f"class {k + 1}, at the end"
        ax.plot(*ways[:, -1].T, "o", color=CLASSES[k], markersize=3, label=name)
    return _labelled(figure, ax, "$z_1$", "$z_2$")


def _labelled(figure: Figure, ax: Axes, x: str, y: str) -> bytes:
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.legend(fontsize="small")
    return png(figure)
