"""Figure 6: the computation graph of a latent ODE."""

from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch

from node_repro.figures.style import BLUE, GREEN, ORANGE, VERMILION, in_style

INK, AXIS = "0.25", "0.6"
RADIUS = 0.36
OBSERVED = (("0", 0.0), ("1", 1.4), ("N", 3.2))
"""Index and place of each observation time."""
PREDICTED = (("0", 7.4), ("1", 8.8), ("N", 10.6), ("N+1", 12.0), ("M", 13.8))
"""Index and place of each time at which the ODE is solved."""
POSTERIOR = 5.3  # the place of the posterior
HALF_WIDTH, HALF_HEIGHT = 0.76, 0.42  # of its box
ABOVE, BELOW, TIME = 1.7, 0.0, -1.0  # heights of states, of data, and of the axes of time


@in_style
def latent_ode_graph() -> Figure:
    """The recognition network, the posterior of the latent state, the ODE, and the predictions."""
    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    ax = figure.subplots()
    for index, x in OBSERVED:
        _node(ax, x, ABOVE, f"h_{{t_{{{index}}}}}", GREEN)
        _node(ax, x, BELOW, f"x_{{t_{{{index}}}}}", ORANGE)
        _arrow(ax, (x, BELOW), (x, ABOVE))
    for index, x in PREDICTED:
        _node(ax, x, ABOVE, f"z_{{t_{{{index}}}}}", BLUE)
        _node(ax, x, BELOW, f"\\hat{{x}}_{{t_{{{index}}}}}", VERMILION)
        _arrow(ax, (x, ABOVE), (x, BELOW))
    for places, backwards in ((OBSERVED, True), (PREDICTED, False)):
        _chain(ax, [x for _, x in places], backwards=backwards)
        _time_axis(ax, places)
    _posterior(ax)
    for x, words in (
        (1.6, "recognition network, backwards in time"),
        (10.6, "ODE solved from $t_0$ to all times"),
    ):
        ax.text(x, ABOVE + 1.3, words, ha="center")
    for x, words in ((1.6, "observed"), (9.0, "observed interval"), (12.9, "extrapolation")):
        ax.text(x, TIME - 0.75, words, ha="center", fontsize=8.5, color=INK)
    ax.set(xlim=(-0.6, 14.4), ylim=(-1.95, 3.4), aspect="equal")
    ax.set_axis_off()
    return figure


def _posterior(ax: Axes) -> None:
    """The posterior, reached from the last recognition state by a line above that network."""
    ax.text(
        POSTERIOR,
        ABOVE,
        "$q(z_{t_0} \\mid x_{t_0}, …, x_{t_N})$\n$= \\mathcal{N}(\\mu, \\sigma^2)$",
        ha="center",
        va="center",
        bbox={"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": INK},
        fontsize=8.5,
    )
    arrow = {"arrowstyle": "-|>", "mutation_scale": 9, "color": INK, "linewidth": 0.9}
    start, end = (OBSERVED[0][1], ABOVE + RADIUS), (POSTERIOR, ABOVE + HALF_HEIGHT)
    ax.add_patch(FancyArrowPatch(start, end, connectionstyle="arc3,rad=-0.22", **arrow))
    _arrow(ax, (POSTERIOR + HALF_WIDTH - RADIUS, ABOVE), (PREDICTED[0][1], ABOVE))
    ax.text(
        (POSTERIOR + PREDICTED[0][1] + HALF_WIDTH - RADIUS) / 2,
        ABOVE + 0.15,
        "sample",
        ha="center",
        fontsize=8.5,
        color=INK,
    )


def _chain(ax: Axes, places: Sequence[float], *, backwards: bool) -> None:
    """Arrows from state to state."""
    ordered = places[::-1] if backwards else places
    for start, end in pairwise(ordered):
        _arrow(ax, (start, ABOVE), (end, ABOVE))
        if abs(end - start) > 1.5:  # further ones between these two
            ax.text((start + end) / 2, ABOVE + 0.12, "…", ha="center")


def _time_axis(ax: Axes, places: Sequence[tuple[str, float]]) -> None:
    first, last = places[0][1] - 0.3, places[-1][1] + 0.5
    ax.annotate("", (last, TIME), (first, TIME), arrowprops={"arrowstyle": "->", "color": AXIS})
    for index, x in places:
        ax.plot((x, x), (TIME - 0.06, TIME + 0.06), color=AXIS, linewidth=0.8)
        ax.text(x, TIME - 0.15, f"$t_{{{index}}}$", ha="center", va="top", fontsize=8.5)


def _node(ax: Axes, x: float, y: float, name: str, colour: str) -> None:
    ax.add_patch(Circle((x, y), RADIUS, facecolor="white", edgecolor=colour, linewidth=1.4))
    ax.text(x, y, f"${name}$", ha="center", va="center", fontsize=9)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """From circle to circle."""
    (x0, y0), (x1, y1) = start, end
    length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
    dx, dy = RADIUS * (x1 - x0) / length, RADIUS * (y1 - y0) / length
    style = {"arrowstyle": "-|>", "mutation_scale": 9, "color": INK, "linewidth": 0.9}
    ends = ((x0 + dx, y0 + dy), (x1 - dx, y1 - dy))
    ax.add_patch(FancyArrowPatch(*ends, shrinkA=0, shrinkB=0, **style))
