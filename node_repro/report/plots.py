"""Line plots of what probes measured, as drawings."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from node_repro.report import Drawing


class Lines(NamedTuple):
    """A panel: its axes and points by name. falling: large x at the left."""

    x: str
    y: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    log_x: bool = False
    log_y: bool = False
    falling: bool = False


def drawn(name: str, caption: str, alt: str, shown: Sequence[Lines]) -> tuple[Drawing, ...]:
    """The panels beside each other; nothing where no panel has points."""
    if not any(points for panel in shown for points in panel.series.values()):
        return ()
    from node_repro.figures.report_probes import Plot, panels

    plots = [
        Plot(
            panel.x,
            panel.y,
            {label: points for label, points in panel.series.items() if points},
            log_x=panel.log_x,
            log_y=panel.log_y,
            falling=panel.falling,
        )
        for panel in shown
    ]
    return (Drawing(name, caption, alt, panels(plots, len(plots))),)
