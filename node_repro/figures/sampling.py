"""Pictures of Hamiltonian Monte Carlo: samples, and errors of the energy along paths."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from node_repro.figures import png
from node_repro.figures.flows import draw_density
from node_repro.figures.journal import files, journal, legend_below
from node_repro.figures.style import FRAME, in_style, series_colour, series_marker, square

GAP = 0.2  # between the methods of one target, in units of the distance of two targets


@in_style
def samples(density: np.ndarray, points: np.ndarray, side: float) -> bytes:
    """The density (n, n) on [-side, side]^2, and samples (N, 2) of it beside."""
    figure = Figure(figsize=(5.2, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_density(left, density, float(density.max()), side)
    right.scatter(*points.T, s=1.5, linewidths=0, color="black", alpha=0.5)
    square(right, side)
    left.set_title("density")
    right.set_title(f"{len(points):,} samples")
    return png(figure)


@in_style
def energy_errors(paths: Sequence[tuple[np.ndarray, np.ndarray]]) -> bytes:
    """The error of the energy (T,) over time (T,), one line and its steps for each path."""
    figure = Figure(figsize=(4.2, 2.8), layout="constrained")
    ax = figure.subplots()
    ax.axhline(0, color=FRAME, linewidth=0.8)
    for i, (ts, errors) in enumerate(paths):
        ax.plot(ts, errors, "o-", color=series_colour(i), markersize=2.5, linewidth=0.9)
    ax.set_xlabel("time of the path")
    ax.set_ylabel("error of the energy")
    return png(figure)


def effective_samples(
    methods: Mapping[str, Mapping[str, Sequence[float]]], targets: Sequence[str]
) -> dict[str, bytes]:
    """Effective samples an evaluation, by method and target: seeds as dots, means as symbols."""
    with journal(1, width=6.2, height=2.9) as (figure, (ax,)):
        for i, (method, values) in enumerate(methods.items()):
            shift = GAP * (i - (len(methods) - 1) / 2)
            places = {name: targets.index(name) + shift for name in values}
            means = [float(np.mean(values[name])) for name in values]
            marker, colour = series_marker(i), series_colour(i)
            ax.plot([*places.values()], means, marker, color=colour, markersize=6, label=method)
            for name, seeds in values.items():
                ax.plot([places[name]] * len(seeds), seeds, ".", color=colour, alpha=0.45)
        ax.set_yscale("log")
        ax.set_xticks(range(len(targets)), targets)
        ax.set_ylabel("effective samples\nper 1,000 evaluations")
        legend_below(figure, len(methods))
        return files(figure)
