"""Results of probes as panels of lines or dots."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.patches import Rectangle

from node_repro.figures.journal import PAPER, files, journal, legend_below
from node_repro.figures.style import series_colour, series_marker

SIZE, SMALL = 4.0, 2.5  # of markers of lines, and of single points


class Plot(NamedTuple):
    """One panel.

    Attributes:
        x, y: Labels of the axes.
        series: Points by name.
        joined: Whether the points of a series are joined by a line.
        falling: Whether x decreases to the right.
        levels: Values of dotted horizontal lines.
        diagonal: Whether to draw the line y = x.
        boxes: The paper's ranges, as (x low, x high, y low, y high).
        floor: Values of y below it are shaded, as within the uncertainty of a reference.
        curve: The paper's curve.
        dots: Further points, unjoined, in the colour of the series of the same name.
        x_range: The ends of the x axis; None for those of the points.
    """

    x: str
    y: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    title: str = ""
    log_x: bool = False
    log_y: bool = False
    joined: bool = True
    falling: bool = False
    levels: Sequence[float] = ()
    diagonal: bool = False
    boxes: Sequence[tuple[float, float, float, float]] = ()
    floor: float | None = None
    curve: Sequence[tuple[float, float]] = ()
    dots: Mapping[str, Sequence[tuple[float, float]]] = {}
    x_range: tuple[float, float] | None = None


def panels(plots: Sequence[Plot], columns: int) -> dict[str, bytes]:
    """Panels in `columns` columns with one legend; a name has the same colour in all of them."""
    names = list(dict.fromkeys(name for plot in plots for name in plot.series))
    rows = -(-len(plots) // columns)
    across = 2 if columns == 1 else 3 if columns == 2 else 4
    legend = 0.18 * -(-len(names) // across) / rows
    width = 5.2 if columns == 1 else 3.5
    with journal(columns, rows, width=width, height=2.6 + legend) as (figure, axes):
        for ax, plot in zip(axes, plots, strict=False):
            _scales(ax, plot)
            for name, pairs in plot.series.items():
                i = names.index(name)
                color, marker = series_colour(i), series_marker(i)
                x, y = zip(*pairs, strict=True) if pairs else ((), ())
                ax.plot(
                    x,
                    y,
                    linestyle="-" if plot.joined else "none",
                    color=color,
                    marker=marker,
                    markersize=SIZE if plot.joined else SMALL,
                    alpha=1.0 if plot.joined else 0.5,
                    label=name,
                    zorder=3,
                )
                x, y = zip(*dots, strict=True) if (dots := plot.dots.get(name)) else ((), ())
                ax.scatter(x, y, s=SMALL**2, color=color, marker=marker, alpha=0.4)
            _references(ax, plot)
        for ax in axes[len(plots) :]:
            ax.set_axis_off()
        legend_below(figure, across)
        return files(figure)


def _scales(ax: Axes, plot: Plot) -> None:
    ax.set(xlabel=plot.x, ylabel=plot.y, title=plot.title)
    if plot.log_x:
        ax.set_xscale("log")
    if plot.log_y:
        ax.set_yscale("log")
    if plot.falling:
        ax.invert_xaxis()


def _references(ax: Axes, plot: Plot) -> None:
    for level in plot.levels:
        ax.axhline(level, color=PAPER, linestyle=":", linewidth=0.7, zorder=1)
    for x0, x1, y0, y1 in plot.boxes:
        ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, color=PAPER, alpha=0.3, linewidth=0))
    if plot.boxes:
        ax.autoscale_view()
    if plot.floor is not None:
        low, high = ax.get_ylim()
        low = min(low, plot.floor / 3)
        ax.axhspan(low, plot.floor, color=PAPER, alpha=0.25, linewidth=0, zorder=1)
        ax.set_ylim(low, high)
    if plot.curve:
        x, y = zip(*plot.curve, strict=True)
        ax.plot(x, y, color=PAPER, linewidth=3, alpha=0.6, zorder=1, label="the paper")
    if plot.x_range is not None:
        ax.set_xlim(plot.x_range)
    if plot.diagonal:
        low, high = ax.get_xlim()
        ax.plot((0, high), (0, high), color=PAPER, linestyle="--", linewidth=0.8, zorder=1)
        ax.set_xlim(low, high)
    if not plot.log_y:
        low, high = ax.get_ylim()
        ax.set_ylim(min(0.0, low), high + 0.05 * (high - min(0.0, low)))


def coloured(rows: Sequence[Sequence[Plot]], label: str) -> dict[str, bytes]:
    """Rows of panels of dots, coloured by the logarithm of the series' names, which are numbers.

    This is the style of figure 3. The dots of a joined series are joined by lines, which end at a
    pair of NaN.
    """
    numbers = sorted({float(name) for row in rows for plot in row for name in plot.series})
    scale = LogNorm(numbers[0], max(numbers[-1], numbers[0] * 1.01))
    tones = matplotlib.colormaps["viridis"]
    with journal(len(rows[0]), len(rows), width=3.4, height=2.6) as (figure, axes):
        dots = None
        for ax, plot in zip(axes, [plot for row in rows for plot in row], strict=True):
            _scales(ax, plot)
            for name, pairs in plot.series.items():
                x, y = zip(*pairs, strict=True) if pairs else ((), ())
                tone = [float(name)] * len(x)
                dots = ax.scatter(x, y, c=tone, norm=scale, cmap=tones, s=14, zorder=3)
                if plot.joined:
                    ax.plot(x, y, color=tones(scale(float(name))), linewidth=0.9, zorder=2)
            _references(ax, plot)
        if dots is not None:
            figure.colorbar(dots, ax=axes, label=label, shrink=0.6, aspect=30)
        return files(figure)
