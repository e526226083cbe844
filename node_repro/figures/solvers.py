"""One learned field with several solvers: points of evaluation, and errors."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from node_repro.figures import png
from node_repro.figures.style import BLUE, GREEN, ORANGE, TRUE, VERMILION, in_style

REFERENCE = "0.75"
COLOURS = {"euler": VERMILION, "midpoint": ORANGE, "rk4": GREEN, "dopri5": BLUE}
COLUMNS = 5


@in_style
def paths(ways: Sequence[Mapping[str, Any]]) -> bytes:
    """One panel per solve, with the depth upwards; the first solve is the reference behind them.

    Each has a title, the path z (T, B) at ts (T,), and evaluated_t and evaluated_z (B, n), where f
    was evaluated, padded with NaN.
    """
    reference, *shown = ways
    rows = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(1.65 * min(len(shown), COLUMNS), 2.8 * rows), layout="constrained")
    axes = figure.subplots(rows, min(len(shown), COLUMNS), squeeze=False, sharex=True, sharey=True)
    for ax, way in zip(axes.flat, shown, strict=False):
        ax.plot(reference["z"], reference["ts"], color=REFERENCE, linewidth=3)
        ax.plot(way["z"], way["ts"], color=BLUE, linewidth=1.1)
        places = (way["evaluated_z"].T, way["evaluated_t"].T)
        ax.plot(*places, "o", color=TRUE, markersize=2.4, zorder=3)
        counts = np.isfinite(way["evaluated_t"]).sum(axis=1)
        nfe = " – ".join(map(str, sorted({counts.min(), counts.max()})))
        ax.set_title(f"{way['title']}\n{nfe} evaluations")
        ax.set_xlabel("state")
    axes[0, 0].set_ylabel("depth")
    return png(figure)


@in_style
def errors(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """RMS errors over evaluations of f, one line per solver, with logarithmic axes.

    Each row has solver, nfe, tolerance and error_rms.
    """
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    ax = figure.subplots()
    for name, colour in COLOURS.items():
        mine = sorted((row["nfe"], row["error_rms"]) for row in rows if row["solver"] == name)
        adaptive = any(row["tolerance"] for row in rows if row["solver"] == name)
        label = f"{name}, adaptive" if adaptive else f"{name}, steps of one size"
        ax.loglog(*zip(*mine, strict=True), "o-", color=colour, markersize=3.5, label=label)
    ax.set_xlabel("evaluations of the learned field")
    ax.set_ylabel("RMS error of the final state")
    ax.legend()
    return png(figure)
