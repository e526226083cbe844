"""The figures of docs/performance.md, from the records."""

from pathlib import Path
from statistics import median
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.rows import Records, per_step

COLOURS = {  # Okabe and Ito's, which the colour-blind can tell apart
    "ours": "#0072B2", "ours compiled": "#D55E00", "torchdiffeq": "#009E73",
    "torchode": "#E69F00", "diffrax": "#CC79A7",
}  # fmt: skip
LINES = {"direct": "-", "checkpointed": "--", "adjoint": ":", "reversible": "-.", "backprop": "-"}
MARKS = {"direct": "o", "checkpointed": "s", "adjoint": "^", "reversible": "D", "backprop": "o"}


def drawn(records: Records, folder: Path) -> list[Path]:
    """Draw what there are records for, as SVG and PNG."""
    plt.rcParams["svg.hashsalt"] = "performance"  # the same picture gives the same file
    files = []
    for name, draw in (("solver", _solver), ("times", _times), ("memory", _memory)):
        if name not in records:
            continue
        figure = draw(records[name])
        files += [folder / f"{name}.{kind}" for kind in ("svg", "png")]
        figure.savefig(files[-2], metadata={"Date": None})
        figure.savefig(files[-1], dpi=110)
        plt.close(figure)
    return files


def _solver(record: dict[str, Any]) -> Figure:
    figure, axes = plt.subplots(figsize=(7.5, 4.8), layout="constrained")
    cases = [case for case in record["cases"] if case["end"] == 40]
    for name, colour in COLOURS.items():
        points = [
            (case["size"], per_step(row))
            for case in cases
            for row in case["rows"]
            if row["name"] == name and "not_run" not in row
        ]
        if not points:
            continue
        sizes, times = zip(*points, strict=True)
        middle = [median(one) for one in times]
        axes.fill_between(
            sizes, [min(one) for one in times], [max(one) for one in times], color=colour, alpha=0.2
        )
        axes.plot(sizes, middle, "o-", color=colour, label=name, markersize=4)
    _finish(axes, "numbers in the state", "µs an attempted step")
    axes.set_title("dopri5 at 1e-6 on f = cos(t) y, float32, one thread")
    return figure


def _style(contender: str) -> dict[str, Any]:
    owner, gradient = contender.split(", ")
    return {
        "color": COLOURS[owner], "linestyle": LINES[gradient], "marker": MARKS[gradient],
        "markersize": 4, "label": contender,
    }  # fmt: skip


def _times(record: dict[str, Any]) -> Figure:
    figure, axes = plt.subplots(figsize=(7.5, 4.8), layout="constrained")
    for case in record["cases"]:
        rows = [row for row in case["rows"] if "not_run" not in row]
        if rows:
            counts = [int(row["name"]) for row in rows]
            seconds = [1e3 * median(row["seconds"]) for row in rows]
            axes.plot(counts, seconds, **_style(case["contender"]))
    _finish(axes, "observation times", "ms of the backward pass")
    return figure


def _memory(record: dict[str, Any]) -> Figure:
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.8), layout="constrained", sharey=True)
    for axes, key in zip(panels, ("saved", "allocated"), strict=True):
        for case in record["cases"]:
            if "not_run" not in case:
                rows = sorted(case["rows"], key=lambda row: row["nfe"])
                megabytes = [row[key] / 1e6 for row in rows]
                axes.plot([row["nfe"] for row in rows], megabytes, **_style(case["contender"]))
        _finish(axes, "evaluations of f, forward", "MB" if key == "saved" else "")
        axes.set_title(
            {"saved": "held by autograd", "allocated": "given out by torch's allocator"}[key]
        )
    panels[0].get_legend().remove()
    return figure


def _finish(axes: Axes, x: str, y: str) -> None:
    axes.set(xscale="log", yscale="log", xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, ncols=2)
