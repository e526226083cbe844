"""One learned field, solved in several ways: where each evaluates it, and what error it leaves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from node_repro.figures import png

EXACT, PATH, PLACE = "0.75", "#0072B2", "black"
COLOURS = {"euler": "#D55E00", "midpoint": "#E69F00", "rk4": "#009E73", "dopri5": "#0072B2"}
COLUMNS = 5


def paths(ways: Sequence[Mapping[str, Any]]) -> bytes:
    """A panel for every way to solve but the first, which is the reference behind all of them.

    Of each: title; ts (T,), z (T, B); evaluated_t, evaluated_z (B, n), where f was evaluated,
    filled up with NaN. The depth is upwards.
    """
    exact, *shown = ways
    rows = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(2.7 * min(len(shown), COLUMNS), 3.6 * rows), layout="constrained")
    axes = figure.subplots(rows, min(len(shown), COLUMNS), squeeze=False, sharex=True, sharey=True)
    for ax, way in zip(axes.flat, shown, strict=False):
        ax.plot(exact["z"], exact["ts"], color=EXACT, linewidth=3)
        ax.plot(way["z"], way["ts"], color=PATH, linewidth=1.1)
        places = (way["evaluated_z"].T, way["evaluated_t"].T)
        ax.plot(*places, "o", color=PLACE, markersize=2.4, zorder=3)
        counts = np.isfinite(way["evaluated_t"]).sum(axis=1)
        nfe = (
            f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()}-{counts.max()}"
        )
        ax.set_title(f"{way['title']}\n{nfe} evaluations", fontsize="small")
        ax.set_xlabel("state", fontsize="small")
    axes[0, 0].set_ylabel("depth")
    return png(figure)


def errors(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """RMS error over evaluations, a line a solver, both logarithmic. Of each row: solver, nfe,
    error_rms.
    """
    figure = Figure(figsize=(5.4, 4.2), layout="constrained")
    ax = figure.subplots()
    for name, colour in COLOURS.items():
        mine = sorted((row["nfe"], row["error_rms"]) for row in rows if row["solver"] == name)
        adaptive = any(row["tolerance"] for row in rows if row["solver"] == name)
        label = f"{name}, adaptive" if adaptive else f"{name}, steps of one size"
        ax.loglog(*zip(*mine, strict=True), "o-", color=colour, markersize=3.5, label=label)
    ax.set_xlabel("evaluations of the learned field")
    ax.set_ylabel("RMS error of the final state")
    ax.grid(alpha=0.3, which="both", linewidth=0.4)
    ax.legend(fontsize="small")
    return png(figure)
