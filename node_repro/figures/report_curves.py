"""Training curves of several networks: one panel per metric, one line per run."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from node_repro.figures.journal import files, journal, legend_below
from node_repro.figures.style import series_colour

Points = Sequence[tuple[float, float]]
"""Points (progress of the training, value of a metric)."""


class Panel(NamedTuple):
    """One metric: the label of its axis, its scale, and the points of each network's runs."""

    label: str
    logarithmic: bool
    lines: Mapping[str, Sequence[Points]]


def curves(panels: Sequence[Panel], along: str) -> dict[str, bytes]:
    """Panels in two columns. The first seed is drawn in full colour, the others are pale."""
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    with journal(2, -(-len(panels) // 2), width=4.2, height=2.6) as (figure, axes):
        for ax, panel in zip(axes, panels, strict=False):
            for name, runs in panel.lines.items():
                for seed, points in enumerate(runs):
                    ax.plot(
                        *zip(*points, strict=True),
                        color=series_colour(names.index(name)),
                        alpha=0.9 if seed == 0 else 0.35,
                        linewidth=1.2 if seed == 0 else 0.8,
                        label=name if seed == 0 else None,
                    )
            ax.set(xlabel=along, ylabel=panel.label)
            if panel.logarithmic:
                ax.set_yscale("log")
            else:
                ax.set_ylim(bottom=0)
        for ax in axes[len(panels) :]:
            ax.set_axis_off()
        legend_below(figure, 4)
        return files(figure)
