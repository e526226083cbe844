"""Table 2 as a figure: the errors of all models, one dot for each seed."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from node_repro.figures.journal import PAPER, files, journal
from node_repro.figures.style import series_colour

SPREAD = 0.5  # rows over which the dots of one model are spread
WIDE = 10  # ratio of the axis' ends above which it has fewer ticks


class Errors(NamedTuple):
    """Errors of one model: its seeds' for each number of observations, and the paper's values."""

    name: str
    seeds: Sequence[Sequence[float]]
    paper: Sequence[float] | None


def seed_dots(counts: Sequence[int], errors: Sequence[Errors], noise: float) -> dict[str, bytes]:
    """One panel for each number of observations, one row for each model, with a logarithmic axis.

    `noise` is the error that no model can be below.
    """
    rows = range(len(errors))
    with journal(len(counts), width=2.3, height=0.34 * len(errors) + 0.8) as (figure, axes):
        for ax in axes[1:]:
            ax.sharex(axes[0])
        for i, (ax, count) in enumerate(zip(axes, counts, strict=True)):
            for row, one in zip(rows, errors, strict=True):
                seeds = one.seeds[i]
                if seeds:
                    places = row + np.linspace(-SPREAD / 2, SPREAD / 2, len(seeds) + 2)[1:-1]
                    colour = series_colour(row)
                    ax.plot(seeds, places, ".", color=colour, markersize=5, clip_on=False)
                    ax.plot([np.mean(seeds)] * 2, [row - 0.3, row + 0.3], color=colour)
                if one.paper is not None:
                    ax.plot(one.paper[i], row, "x", color=PAPER, markersize=6)
            ax.axvline(noise, color="0.3", linewidth=0.8, linestyle="--")
            ax.set_xscale("log")
            ax.set(title=f"{count} of 100 observed", xlabel="RMSE ahead")
            ax.set_ylim(len(errors) - 0.5, -0.5)
            names = [one.name for one in errors] if i == 0 else []
            ax.set_yticks(list(rows) if i == 0 else [], names)
        low, high = axes[0].get_xlim()
        between = () if high > WIDE * low else (0.15, 0.3)
        ticks = [x for x in (0.1, 0.2, 0.5, 1, 2, 5, 10, *between) if low <= x <= high]
        axes[0].set_xticks(ticks, [f"{x:g}" for x in ticks])
        axes[0].set_xticks([], minor=True)
        return files(figure)
