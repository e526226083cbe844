"""Pictures of deep maps: paths of states along the depth (figure 1), fits, decision regions."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.axes3d import Axes3D

from node_repro.figures import png
from node_repro.figures.style import BLUE, CLASSES, PROGRESS, TRUE, VERMILION, in_style

ARROW, DATA = "0.6", "0.55"
ZOOM = 0.9  # of 3-D axes, so that their labels are inside the figure
MARGIN = 0.06  # of the axis of states, as a fraction of their largest value


@in_style
def figure1(panels: Sequence[Mapping[str, np.ndarray]]) -> Figure:
    """Figure 1: one panel per network, with the depth upwards and the state to the right.

    Each panel has these arrays: discrete, whether the depth consists of layers; ts (T,) and z
    (T, B), the paths of B inputs; evaluated_t and evaluated_z (B, n), where the layers or the field
    were evaluated, padded with NaN; arrow_t (R,), arrow_z (C,) and arrow_rate (R, C), the field, or
    the residuals of the layers.
    """
    figure = Figure(figsize=(3.8 * len(panels), 4.2), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for ax, panel in zip(axes, panels, strict=True):
        _through_depth(ax, panel)
    axes[0].set_ylabel("Depth")
    return figure


def _through_depth(ax: Axes, panel: Mapping[str, np.ndarray]) -> None:
    ts, z, discrete = panel["ts"], panel["z"], bool(panel["discrete"])
    from_z, from_t = np.meshgrid(panel["arrow_z"], panel["arrow_t"])
    rate, rise = panel["arrow_rate"], np.ones(from_z.shape)
    if discrete:  # an arrow leads from a state to where the layer moves it
        arrows = ax.quiver(from_z, from_t, rate, rise, angles="xy", scale_units="xy", scale=1)
        arrows.set(linewidth=0.1, facecolor=ARROW, edgecolor=ARROW)
        arrows.width = 0.0022
    else:
        arrows = ax.quiver(from_z, from_t, rate, rise, angles="xy", pivot="mid", scale=38)
        arrows.set(facecolor=ARROW)
        arrows.width = 0.0026
    ax.plot(z, ts, color=BLUE, linewidth=1.3)
    places = (panel["evaluated_z"].T, panel["evaluated_t"].T)
    ax.plot(*places, "o", color=TRUE, markersize=2.2, zorder=3)
    reach = (1 + MARGIN) * float(np.abs(z).max())
    ax.set_xlim(-reach, reach)
    margin = 0.02 * (ts[-1] - ts[0])
    ax.set_ylim(ts[0] - margin, ts[-1] + margin)
    ax.set_xlabel("Input / Hidden / Output")
    ax.set_title("Residual Network" if discrete else "ODE Network")


@in_style
def fit(x: np.ndarray, true: np.ndarray, learned: np.ndarray, data: np.ndarray) -> bytes:
    """The true and the learned function at x (N,), and the training points (M, 2)."""
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    ax = figure.subplots()
    ax.plot(*data.T, ".", color=DATA, markersize=4, label="training points")
    ax.plot(x, true, color=TRUE, linestyle="--", linewidth=1, label="true function")
    ax.plot(x, learned, color=BLUE, linewidth=1.8, label="learned")
    return _labelled(figure, ax, "x", "y")


@in_style
def lines(x: np.ndarray, shown: Mapping[str, np.ndarray], data: np.ndarray, start: float) -> bytes:
    """Lines over x (N,) by name, the first one dashed, the points (M, 2) and the known start."""
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    ax = figure.subplots()
    ax.plot(*data.T, ".", color=DATA, markersize=4, label="training points")
    styles = ((TRUE, "--"), (BLUE, "-"), (VERMILION, "-"))
    for (name, line), (colour, style) in zip(shown.items(), styles, strict=True):
        ax.plot(x, line, style, color=colour, linewidth=1.5, label=name)
    ax.plot(0, start, "o", color=TRUE, markersize=5, label="known start")
    return _labelled(figure, ax, "x", "y", columns=2)


@in_style
def coloured_paths(z: np.ndarray, value: np.ndarray, name: str) -> bytes:
    """The paths z (T, B, L) of B states in their first two dimensions, coloured by a value (B,).

    Squares are their starts, dots their ends.
    """
    figure = Figure(figsize=(5.2, 4), layout="constrained")
    ax = figure.subplots()
    states = list(z[:, :, :2].swapaxes(0, 1))
    paths = LineCollection(states, array=value, cmap=PROGRESS, linewidths=1.0, alpha=0.8)
    ax.add_collection(paths)
    for end, marker, label in ((0, "s", "$z(0)$"), (-1, "o", "$z$ at the end")):
        colours = {"c": value, "cmap": PROGRESS}
        ax.scatter(*z[end, :, :2].T, **colours, s=14, marker=marker, label=label, zorder=3)
    figure.colorbar(paths, ax=ax, label=name)
    return _labelled(figure, ax, "$z_1$", "$z_2$")


@in_style
def decision_regions(
    probability: np.ndarray, side: float, x: np.ndarray, label: np.ndarray
) -> bytes:
    """Class probabilities (n, n, C) on [-side, side]^2, rows from below, as mixed colours.

    Points x (N, 2) have the colours of their labels (N,).
    """
    figure = Figure(figsize=(4.2, 4.2), layout="constrained")
    ax = figure.subplots()
    palette = ListedColormap(CLASSES[: probability.shape[2]])
    colours = palette(np.arange(probability.shape[2]))[:, :3]
    pale = 1 - 0.45 * (1 - probability @ colours)
    ax.imshow(pale, origin="lower", extent=(-side, side, -side, side), interpolation="bilinear")
    ax.scatter(*x.T, c=colours[label], s=9, linewidths=0.3, edgecolors="white")
    ax.set(xlim=(-side, side), ylim=(-side, side), xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    return png(figure)


@in_style
def class_paths(z: np.ndarray, label: np.ndarray) -> bytes:
    """The paths z (T, B, L) of B states in the colours of their labels (B,), with dots at the end.

    Shows the first three dimensions, or two if there are no more.
    """
    figure = Figure(figsize=(4.8, 4.2), layout="constrained")
    three = z.shape[2] > 2
    ax = figure.add_subplot(projection="3d" if three else "rectilinear")
    if isinstance(ax, Axes3D):
        ax.set_zlabel("$z_3$")
        ax.set_box_aspect(None, zoom=ZOOM)  # pyright: ignore[reportArgumentType]
        ax.locator_params(nbins=5)
    for k in np.unique(label):
        paths = z[:, label == k, : 3 if three else 2].swapaxes(0, 1)
        for path in paths:
            ax.plot(*path.T, color=CLASSES[k], linewidth=0.5, alpha=0.5)
        name = f"class {k + 1}, at the end"
        ax.plot(*paths[:, -1].T, "o", color=CLASSES[k], markersize=3, label=name)
    return _labelled(figure, ax, "$z_1$", "$z_2$")


def _labelled(figure: Figure, ax: Axes, x: str, y: str, columns: int = 3) -> bytes:
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    figure.legend(loc="outside lower center", ncols=columns)
    return png(figure)
