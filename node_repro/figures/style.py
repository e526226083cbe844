"""Colours and markers that all pictures share: the colour-blind safe palette of Okabe and Ito."""

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


def series_colour(index: int) -> str:
    """The colour of series number `index`."""
    return SERIES[index % len(SERIES)]


def series_marker(index: int) -> str:
    """The marker of series number `index`; a repeated colour has a different one."""
    return MARKERS[(index + index // len(SERIES)) % len(MARKERS)]
