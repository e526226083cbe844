"""Training curves of several networks: a panel a metric, a line a run."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from node_repro.figures.journal import colour, files, journal, legend_below

Points = Sequence[tuple[float, float]]
"""Places along the training and values of a metric."""


class Panel(NamedTuple):
    """One metric: its axis, whether it is logarithmic, and for each network its runs' points."""

    label: str
    logarithmic: bool
    lines: Mapping[str, Sequence[Points]]


def curves(panels: Sequence[Panel], along: str) -> dict[str, bytes]:
    """Two panels a row. The first seed is drawn in full colour, the others pale."""
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    with journal(2, -(-len(panels) // 2), width=4.2, height=2.6) as (figure, axes):
        for ax, panel in zip(axes, panels, strict=False):
            for name, runs in panel.lines.items():
                for seed, points in enumerate(runs):
                    ax.plot(
                        *zip(*points, strict=True),
                        color=colour(names.index(name)),
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
        legend_below(figure, axes[0], 4)
        return files(figure)
