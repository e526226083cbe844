"""Training curves of the networks of table 1: loss, error, evaluations, time."""

from collections.abc import Sequence

from node_repro.report import Artifact, Drawing
from node_repro.report.absent import missing
from node_repro.report.runs import Run, Runs
from node_repro.report.spread import found
from node_repro.report.table1 import MAIN

POINTS = 120  # a line at most
PANELS = (
    ("loss_nats", "train", "training loss, nats", True),
    ("error", "validation", "validation error", True),
    ("nfe_forward", "train", "evaluations of f, forward", False),
    ("nfe_backward", "train", "evaluations of f, backward", False),
    ("step_seconds", "train", "seconds an iteration", False),
    ("seconds", "train", "seconds since the start", False),
)


def artifact(runs: Runs) -> Artifact:
    """All of them in one figure."""
    cells = {row.name: runs.of(row.experiment) for row in MAIN}
    used = {name: done for name, done in cells.items() if done}
    return Artifact(
        name="curves",
        title="Training curves on MNIST",
        source="no figure of the paper, but the cost of what table 1 shows",
        about="Training of the rows of table 1, one line a seed, the lowest seed in full colour.",
        drawings=_drawing(used),
        runs=tuple(run for done in used.values() for run in done),
        missing=missing(runs, (row.experiment for row in MAIN)),
    )


def _drawing(cells: dict[str, tuple[Run, ...]]) -> tuple[Drawing, ...]:
    from node_repro.figures.report_curves import Panel, curves

    panels = []
    for metric, split, label, logarithmic in PANELS:
        lines = {
            name: [points for run in done if (points := series(run, metric, split))]
            for name, done in cells.items()
        }
        lines = {name: several for name, several in lines.items() if several}
        if lines:
            panels.append(Panel(label, logarithmic, lines))
    if not panels:
        return ()
    caption = "Loss, error, evaluations and time over the iterations; training values are means "
    caption += f"of stretches, at most {POINTS} points a line."
    alt = "Six panels of curves over the iterations, a colour for each network of table 1."
    return (Drawing("curves", caption, alt, curves(panels, "iteration")),)


def series(run: Run, metric: str, split: str) -> Sequence[tuple[float, float]]:
    """Iterations and values of one metric, thinned out to means of neighbours; none if unlogged."""
    points = [
        (float(line["step"]), value)
        for line in run.metrics
        if line["split"] == split and (value := found(line, metric)) is not None
    ]
    stride = -(-len(points) // POINTS) if points else 1
    groups = [points[i : i + stride] for i in range(0, len(points), stride)]
    return [(sum(p[0] for p in g) / len(g), sum(p[1] for p in g) / len(g)) for g in groups]
