"""Figure 4 of all its runs: densities side by side, divergences over size and in training."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from node_repro.figures.flows import draw_density
from node_repro.figures.journal import files, journal, legend_below
from node_repro.figures.style import DENSITY, in_style, series_colour, series_marker

SIZES = (2, 8, 32)
KINDS = {"K": "planar flow", "M": "continuous flow"}
GAP = 0.15  # between the kinds of flow, as a fraction of a panel
INCH = 1.05  # side of a panel

Fits = Mapping[str, Mapping[int, tuple[np.ndarray, float | None]]]
"""Densities (n, n) and divergences in nats of flows, by kind ("K" or "M") and size."""


class Curve(NamedTuple):
    """Losses of one kind of flow: the values of all seeds by size (K or M).

    An `extra` curve is drawn thin: it does not belong to the figure's comparison.
    """

    label: str
    losses: Mapping[int, Sequence[float]]
    extra: bool = False


Points = Sequence[tuple[float, float]]
"""Points (iterations or seconds, divergence in nats) of one training."""

Trainings = Mapping[str, Sequence[Points]]
"""Trainings of flows, by their kind; one for every seed."""


def training(
    rows: Mapping[str, Sequence[Trainings]], titles: Sequence[str], limit: float
) -> dict[str, bytes]:
    """Divergence in training, with logarithmic axes; a dotted line is at the limit.

    The first seed is drawn in full colour, the others are pale.

    Args:
        rows: Label of the horizontal axis -> the trainings of each column.
        titles: Titles of the columns.
        limit: Divergence in nats.
    """
    labels = list(dict.fromkeys(name for row in rows.values() for one in row for name in one))
    with journal(len(titles), len(rows), width=2.6, height=2.2) as (figure, axes):
        for i, (along, row) in enumerate(rows.items()):
            panels = axes[i * len(titles) : (i + 1) * len(titles)]
            for ax, one in zip(panels, row, strict=True):
                ax.sharey(axes[0])
                ax.tick_params(labelleft=ax is panels[0])
                for name, seeds in one.items():
                    _trainings(ax, seeds, name, labels.index(name))
                ax.axhline(limit, color="0.4", linestyle=":", linewidth=0.8)
                ax.set(xlabel=along, xscale="log", yscale="log")
            panels[0].set_ylabel("KL, nats")
        for ax, title in zip(axes, titles, strict=False):
            ax.set_title(title)
        legend_below(figure, 3)
        return files(figure)


def _trainings(ax: Axes, seeds: Sequence[Points], name: str, i: int) -> None:
    for seed, points in enumerate(seeds):
        first = seed == 0
        style: Any = {"linewidth": 1.2 if first else 0.7, "alpha": 0.9 if first else 0.4}
        label = name if first else None
        ax.plot(*zip(*points, strict=True), **style, color=series_colour(i), label=label)


def losses(targets: Mapping[str, tuple[float, Sequence[Curve]]]) -> dict[str, bytes]:
    """KL = loss + log Z over K or M, with logarithmic axes: means as lines, seeds as dots.

    There is one panel per target, given its floor -log Z and its curves.
    """
    labels = list(dict.fromkeys(curve.label for _, curves in targets.values() for curve in curves))
    with journal(len(targets), width=1.95, height=2.9) as (figure, axes):
        for ax in axes[1:]:
            ax.sharey(axes[0])
            ax.tick_params(labelleft=False)
        for ax, (name, (floor, curves)) in zip(axes, targets.items(), strict=True):
            for curve in curves:
                _curve(ax, curve, floor, labels.index(curve.label))
            ax.set_xscale("log", base=2)
            ax.set_yscale("log", nonpositive="clip")
            sizes = sorted({size for curve in curves for size in curve.losses})
            ax.set_xticks(sizes, [str(size) for size in sizes])
            ax.set(title=name, xlabel="K or M")
        axes[0].set_ylabel("KL, nats")
        legend_below(figure, 2)
        return files(figure)


def _curve(ax: Axes, curve: Curve, floor: float, i: int) -> None:
    sizes = sorted(curve.losses)
    means = [float(np.mean(curve.losses[size])) - floor for size in sizes]
    width, size_of_marker = (0.7, 2.5) if curve.extra else (1.5, 4.5)
    style = {"color": series_colour(i), "markersize": size_of_marker, "zorder": 3 - curve.extra}
    label, marker = curve.label, series_marker(i)
    ax.plot(sizes, means, **style, marker=marker, linewidth=width, label=label)
    for size in sizes:
        dots = np.asarray(curve.losses[size]) - floor
        ax.plot([size] * len(dots), dots, ".", **style, alpha=0.45)


@in_style
def density_grid(
    targets: Mapping[str, tuple[np.ndarray, Fits]], sizes: Sequence[int] = SIZES
) -> dict[str, bytes]:
    """Figure 4: one row per target, with its density and those of planar and continuous flows.

    The colours of a row go from 0 to the maximum of its target; higher values have the colour of
    that maximum. Numbers are divergences in nats. The panel of a missing flow is empty.

    Args:
        targets: The density (n, n) and the fits of each target, by name.
        sizes: Sizes K and M of the columns.
    """
    width = INCH * (1 + len(KINDS) * (len(sizes) + GAP)) + 0.5
    figure = Figure(figsize=(width, INCH * len(targets) + 0.9))
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    ratios = [1.0, *([GAP, *(1.0 for _ in sizes)] * len(KINDS))]
    axes = figure.subplots(len(targets), len(ratios), squeeze=False, width_ratios=ratios)
    for ax in axes.flat:
        ax.set_axis_off()
        ax.set_aspect("equal")
    for row, (name, (target, fits)) in zip(axes, targets.items(), strict=True):
        top = float(target.max())
        draw_density(row[0], target / top, 1.0)
        row[0].text(-0.12, 0.5, name, transform=row[0].transAxes, ha="right", va="center")
        places = iter(row[1:])
        for kind in KINDS:
            next(places)
            for size in sizes:
                _fit(next(places), fits.get(kind, {}).get(size), top)
    _titles(axes[0], sizes)
    bar = figure.colorbar(
        ScalarMappable(cmap=DENSITY), ax=axes, location="bottom", shrink=0.3, aspect=30, pad=0.02
    )
    bar.set_ticks([0, 1], labels=["0", "maximum of the target's density"])
    return files(figure, vector=False)


def _titles(axes: Sequence[Axes], sizes: Sequence[int]) -> None:
    axes[0].set_title("target")
    places = iter(axes[1:])
    for kind, name in KINDS.items():
        next(places)
        for k, size in enumerate(sizes):
            above = f"{name}\n" if k == len(sizes) // 2 else ""
            next(places).set_title(f"{above}{kind} = {size}")


def _fit(ax: Axes, fit: tuple[np.ndarray, float | None] | None, top: float) -> None:
    if fit is None:
        return
    density, kl = fit
    draw_density(ax, density / top, 1.0)
    if kl is not None:
        ax.text(0.05, 0.04, f"KL {kl:.3f}", transform=ax.transAxes, color="white", fontsize=8)
