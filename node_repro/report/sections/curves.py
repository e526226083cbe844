"""Training curves of the networks of table 1."""

from typing import NamedTuple

from node_repro.report.artifact import Drawing
from node_repro.report.section import Parts, section
from node_repro.report.sections.table1 import NETWORKS
from node_repro.report.selection import Selection, get_number
from node_repro.runs.stored_run import StoredRun

MAX_POINTS = 120  # of a line


class _Axis(NamedTuple):
    metric: str
    split: str
    label: str
    log: bool = False


AXES = (
    _Axis("loss_nats", "train", "training loss, nats", log=True),
    _Axis("error", "validation", "validation error", log=True),
    _Axis("nfe_forward", "train", "evaluations of f, forward"),
    _Axis("nfe_backward", "train", "evaluations of f, backward"),
    _Axis("step_seconds", "train", "seconds per iteration"),
    _Axis("seconds", "train", "seconds since the start"),
)


@section(
    order=20,
    name="curves",
    title="Training curves on MNIST",
    source="not in the paper; the cost of training the networks of table 1",
    experiments=[f"table1_{key}" for key in NETWORKS],
)
def training_curves(selection: Selection) -> Parts:
    """One line per seed of the networks of table 1; the lowest seed is drawn in full colour."""
    from node_repro.figures.report_curves import Panel, curves

    networks = {name: selection.seeds(f"table1_{key}") for key, name in NETWORKS.items()}
    panels = []
    for axis in AXES:
        lines = {
            name: [points for run in seeds if (points := thinned(run, axis.metric, axis.split))]
            for name, seeds in networks.items()
        }
        if lines := {name: several for name, several in lines.items() if several}:
            panels.append(Panel(axis.label, axis.log, lines))
    if panels:
        caption = (
            "Loss, error, evaluations and time over the iterations. A line has at most "
            f"{MAX_POINTS} points, which are means over neighbouring iterations."
        )
        alt = "Six panels of curves over the iterations, a colour for each network of table 1."
        yield Drawing("curves", caption, alt, curves(panels, "iteration"))


def thinned(run: StoredRun, metric: str, split: str) -> list[tuple[float, float]]:
    """Iterations and values of a metric, averaged over neighbours; empty if it is not logged."""
    points = [
        (float(line["step"]), value)
        for line in run.metrics
        if line["split"] == split and (value := get_number(line, metric)) is not None
    ]
    stride = -(-len(points) // MAX_POINTS) or 1
    groups = [points[i : i + stride] for i in range(0, len(points), stride)]
    return [(sum(p[0] for p in g) / len(g), sum(p[1] for p in g) / len(g)) for g in groups]
