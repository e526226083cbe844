"""The look of all pictures: matplotlib parameters, colours and markers, panels without axes."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

STYLE: Any = {
    "font.family": "serif",
    "font.serif": ["STIXGeneral", "DejaVu Serif"],
    "mathtext.fontset": "stix",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.4,
    "grid.color": "0.85",
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "node-repro",
}

in_style = matplotlib.rc_context(STYLE)
"""Decorator of functions that draw: inside them STYLE holds."""

# The colour-blind safe palette of Okabe and Ito.
BLUE = "#0072B2"
VERMILION = "#D55E00"
GREEN = "#009E73"
PURPLE = "#CC79A7"
ORANGE = "#E69F00"
SKY_BLUE = "#56B4E9"
YELLOW = "#F0E442"
TRUE = "black"
"""True functions, events and observed points."""

PALETTE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY_BLUE)
SERIES = (*PALETTE, "#666666", "#8C6D31")
CLASSES = (*PALETTE, YELLOW, "0.4")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DIRECTIONS = ((-1, BLUE, "clockwise"), (1, VERMILION, "counter-clockwise"))
"""Signs of rotations, their colours and names."""

FRAME = "0.75"

DENSITY = "viridis"
"""Colour map of densities."""

PROGRESS = ListedColormap(matplotlib.colormaps["plasma"](np.linspace(0, 0.9, 256)), "progress")
"""Colour map of lines by time or speed, without the pale end of plasma."""


def series_colour(index: int) -> str:
    """The colour of series number `index`."""
    return SERIES[index % len(SERIES)]


def series_marker(index: int) -> str:
    """The marker of series number `index`; a repeated colour has a different one."""
    return MARKERS[(index + index // len(SERIES)) % len(MARKERS)]


def square(ax: Axes, reach: float, centre: tuple[float, float] = (0.0, 0.0)) -> None:
    """Show the square within `reach` of the centre, without ticks, with a thin frame around it."""
    x, y = centre
    ax.set(xlim=(x - reach, x + reach), ylim=(y - reach, y + reach))
    ax.set(xticks=[], yticks=[], aspect="equal")
    for spine in ax.spines.values():
        spine.set(visible=True, color=FRAME, linewidth=0.5)
