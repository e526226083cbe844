"""Measure and draw work-precision diagrams, and write the tables of docs/numerics.md.

python scripts/work_precision.py [--out docs/results/numerics] [--page docs/numerics.md]
Everything measured goes to numerics.json; --redraw draws and writes from that file again.
"""

import argparse
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy
import scipy
import torch
import torchdiffeq
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pages import fill, table

ROOT = Path(__file__).resolve().parents[1]

COLOURS = {  # Okabe and Ito's, which the colour-blind can tell apart
    "dopri5": "#D55E00", "tsit5": "#009E73", "dopri8": "#0072B2", "bosh3": "#E69F00",
    "heun": "#CC79A7", "fehlberg2": "#56B4E9", "RK45": "#D55E00", "DOP853": "#0072B2",
    "lsoda": "#000000", "LSODA": "#000000", "vode_adams": "#777777",
}  # fmt: skip
MARKERS = {
    "dopri5": "o", "tsit5": "^", "dopri8": "s", "bosh3": "D", "heun": "v", "fehlberg2": "P",
    "RK45": "o", "DOP853": "s", "lsoda": "X", "LSODA": "X", "vode_adams": "*",
}  # fmt: skip
GENERAL = ("dopri5", "tsit5", "dopri8", "bosh3")


def measured() -> dict[str, Any]:
    """All measurements as plain containers."""
    import numerics_measure as measure

    curves, comparisons = measure.detest()
    versions = {lib.__name__: lib.__version__ for lib in (torch, scipy, numpy)}
    found = {
        "versions": versions | {"torchdiffeq": torchdiffeq.__version__},
        "machine": platform.machine(),
        "controller": measure.controller(),
        "work_precision": measure.work_precision(),
        "detest": {"curves": curves, "ratios": {k: c._asdict() for k, c in comparisons.items()}},
        "orders": {name: row._asdict() for name, row in measure.measured_orders().items()},
        "gradients": {
            "tol": measure.GRADIENT_TOL,
            "step": measure.GRADIENT_STEP,
            "errors": measure.gradient_errors(),
        },
    }
    return json.loads(json.dumps(found))


def style(name: str) -> dict[str, Any]:
    """Colour, marker and line style of a solver: solid for this project, dashed for torchdiffeq and
    for reversible methods, dotted for scipy.
    """
    key = name.split()[-1].removeprefix("reversible_").removeprefix("adaptive_")
    line = "--" if "torchdiffeq" in name or "reversible" in name else "-"
    line = ":" if name.startswith("scipy") else line
    hollow = {"markerfacecolor": "white"} if line != "-" else {}
    return {
        "color": COLOURS.get(key, "#999999"), "marker": MARKERS.get(key, "h"), "linestyle": line,
        "linewidth": 1.3, "markersize": 4, **hollow,
    }  # fmt: skip


def draw_problem(axes: Axes, title: str, curves: dict[str, Any], names: Sequence[str]) -> None:
    """Draw work against error for some solvers on one problem."""
    for name in names:
        points = [(end, nfe) for _, nfe, end, _ in curves.get(name, ()) if 1e-13 < end < 1]
        if points:
            axes.plot(*zip(*points, strict=True), label=name, **style(name))
    axes.set(xscale="log", yscale="log", title=title)
    axes.set_xlim(2, 3e-12)
    axes.grid(alpha=0.3)


def draw_work(results: dict[str, Any], names: Sequence[str], title: str) -> Figure:
    """A panel for each problem and one legend."""
    figure, panels = plt.subplots(2, 3, figsize=(12, 7.4), sharex=True, layout="constrained")
    for axes, (problem, curves) in zip(panels.flat, results.items(), strict=True):
        draw_problem(axes, problem, curves, names)
    for axes in panels[-1]:
        axes.set_xlabel("error at the end (rms, in units of 1 + |y|)")
    for axes in panels[:, 0]:
        axes.set_ylabel("evaluations of f")
    lines = {line.get_label(): line for axes in panels.flat for line in axes.lines}
    shown = [name for name in names if name in lines]
    figure.legend([lines[n] for n in shown], shown, loc="outside lower center", ncols=5)
    figure.suptitle(f"{title}   (lower and further right is better)")
    return figure


def draw_detest(ratios: dict[str, Any]) -> Figure:
    """The ratios of all problems, as a row of dots for each pair of solvers."""
    figure, axes = plt.subplots(figsize=(12, 4.6), layout="constrained")
    marks = ["o", "s", "D", "^", "v"]
    colours = ["#D55E00", "#0072B2", "#E69F00", "#009E73", "#56B4E9"]
    keys = sorted({key for row in ratios.values() for key in row["end"]})
    shift = 0.15
    for k, (pair, row) in enumerate(ratios.items()):
        at = [keys.index(key) + (k - 2) * shift for key in row["end"]]
        label = f"{pair}: {row['end_mean']:.2f}"
        axes.plot(at, list(row["end"].values()), marks[k], color=colours[k], label=label, ms=5)
        axes.axhline(row["end_mean"], color=colours[k], linewidth=0.8, linestyle="--")
    axes.axhline(1, color="black", linewidth=1)
    axes.set_yscale("log")
    axes.set_yticks([0.3, 0.5, 0.7, 0.85, 1, 1.2], ["0.3", "0.5", "0.7", "0.85", "1", "1.2"])
    axes.minorticks_off()
    axes.set_xticks(range(len(keys)), keys)
    axes.set_ylabel("NFE ours / torchdiffeq's")
    axes.set_title("DETEST: evaluations of f at equal error at t = 20 (dashed: geometric mean)")
    axes.legend(ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.08), frameon=False)
    axes.grid(alpha=0.3, axis="x")
    return figure


def number(value: float | str | None, form: str = ".2f") -> str:
    return "-" if value is None else value if isinstance(value, str) else f"{value:{form}}"


def tables(results: dict[str, Any]) -> dict[str, str]:
    """The measured parts of the page, by the names of their markers."""
    orders = table(
        ("solver", "order", "y", "∂/∂y0", "∂/∂θ", "embedded", "measured", "dense", "measured"),
        [
            (
                name, str(row["stated"]), *(number(row[k]) for k in (
                    "solution", "gradient_y0", "gradient_theta")),
                number(row["embedded_stated"], "d"), number(row["embedded"]),
                number(row["dense_stated"], "d"), number(row["dense"]),
            )
            for name, row in results["orders"].items()
        ],
    )  # fmt: skip
    errors = results["gradients"]["errors"]
    methods = list(next(iter(errors.values())))
    gradients = table(
        ("solver", *methods),
        [(name, *(number(row[m], ".1e") for m in methods)) for name, row in errors.items()],
    )
    ratios = results["detest"]["ratios"]
    detest = table(
        ("ours / torchdiffeq's", "error at t = 20", "error at t = 1, 2, …, 20", "problems"),
        [
            (pair, number(row["end_mean"]), number(row["outputs_mean"]), str(len(row["end"])))
            for pair, row in ratios.items()
        ],
    )
    each = table(
        ("problem", *ratios),
        [
            (key, *(number(row["end"].get(key)) for row in ratios.values()))
            for key in sorted({key for row in ratios.values() for key in row["end"]})
        ],
    )
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    control = results["controller"]
    settings = (
        f"Measured with {versions} on {results['machine']}, step control {control['name']} with "
        f"safety {control['safety']:g}."
    )
    return {
        "orders": orders, "gradients": gradients, "detest": detest, "detest each": each,
        "settings": settings,
    }  # fmt: skip


def main() -> None:
    """Measure or read the numbers, draw the figures and write the page."""
    parser = argparse.ArgumentParser(description="what the solvers do on problems of known answer")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "numerics")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "numerics.md")
    parser.add_argument("--redraw", action="store_true", help="use the numbers of the last run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "numerics.json"
    if not options.redraw:
        file.write_text(json.dumps(measured(), indent=1) + "\n")
    results = json.loads(file.read_text())
    work = results["work_precision"]
    names = list(next(iter(work.values())))
    ours = [name for name in names if " " not in name]
    others = [name for name in names if " " in name]
    pictures = {
        "work_precision": draw_work(work, ours, "All solvers with step control"),
        "work_precision_peers": draw_work(
            work, [n for n in ours if n in GENERAL] + others, "Beside torchdiffeq's and scipy's"
        ),
        "detest": draw_detest(results["detest"]["ratios"]),
    }
    plt.rcParams["svg.hashsalt"] = "numerics"  # the same picture gives the same file
    for name, figure in pictures.items():
        figure.savefig(options.out / f"{name}.png", dpi=110)
        figure.savefig(options.out / f"{name}.svg", metadata={"Date": None})
    options.page.write_text(fill(options.page.read_text(), tables(results)))


if __name__ == "__main__":
    main()
