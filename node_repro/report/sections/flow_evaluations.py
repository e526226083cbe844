"""Evaluations of continuous flows over their training."""

from node_repro.report.artifact import Claim, Drawing
from node_repro.report.comparisons import above_zero, describe_difference
from node_repro.report.section import Parts, section
from node_repro.report.sections.curves import thinned
from node_repro.report.selection import Seeds, Selection, get_number
from node_repro.report.statistics import Difference, Spread, paired_difference, spread
from node_repro.report.tables import Column, Table
from node_repro.runs.stored_run import StoredRun

FLOWS = {
    "fig4_u1_cnf_32": "U1, M = 32",
    "fig4_u2_cnf_32": "U2, M = 32",
    "fig4_u3_cnf_32": "U3, M = 32",
    "fig5_circles_cnf": "two circles",
    "fig5_moons_cnf": "two moons",
}
GROWS = above_zero("evaluations at the last evaluation − at the first")


@section(
    order=175,
    name="flow_evaluations",
    title="Evaluations of continuous flows over training",
    source="not in the paper; figure 3 d for the flows of figures 4 and 5",
    experiments=FLOWS,
)
def flow_evaluations(selection: Selection) -> Parts:
    """Evaluations of f for the validation points, which are the same at every evaluation.

    The first evaluation is after a part of the training, so that a change of the initial weights
    counts as little as in figure 3 d.
    """
    flows = {name: selection.seeds(experiment) for experiment, name in FLOWS.items()}
    for name, seeds in flows.items():
        yield _grows(name, seeds, selection.decides)
    columns: list[Column[tuple[str, Seeds]]] = [
        Column("flow", lambda flow: flow[0]),
        Column("seeds", lambda flow: flow[1].count),
        Column("iterations at the first", lambda flow: _first_iteration(flow[1])),
        Column("NFE at the first", lambda flow: _mean(flow[1], 0), 1),
        Column("NFE at the last", lambda flow: _mean(flow[1], -1), 1),
        Column("NFE of a training batch", lambda flow: flow[1].training("nfe_forward"), 1),
        Column("its backward NFE", lambda flow: flow[1].training("nfe_backward"), 1),
    ]
    caption = (
        "Evaluations for the fixed validation points, at the first and the last evaluation during "
        "training; and for the batches of the end of the training, forward and backward."
    )
    trained = [(name, seeds) for name, seeds in flows.items() if seeds]
    yield Table("flow_evaluations", caption, columns, trained)
    yield from _drawings(flows)


def validated(run: StoredRun) -> list[tuple[float, float]]:
    """Iterations, and evaluations of f for the validation points."""
    return [
        (float(line["step"]), nfe)
        for line in run.metrics
        if line["split"] == "validation" and (nfe := get_number(line, "nfe_forward")) is not None
    ]


def _several(seeds: Seeds) -> list[list[tuple[float, float]]]:
    """The validations of the seeds that have more than one."""
    return [points for run in seeds if len(points := validated(run)) > 1]


def _mean(seeds: Seeds, index: int) -> Spread | None:
    return spread(points[index][1] for points in _several(seeds))


def _first_iteration(seeds: Seeds) -> int | None:
    several = _several(seeds)
    return int(several[0][0][0]) if several else None


def _grows(name: str, seeds: Seeds, decides: bool) -> Claim:
    pairs = [(points[-1][1], points[0][1]) for points in _several(seeds)]
    difference = paired_difference(pairs) if pairs else None

    def describe(difference: Difference) -> str:
        last, first = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
        return (
            f"{first:.0f} at the first, {last:.0f} at the last evaluation (n = {len(pairs)} "
            f"seeds): {describe_difference(difference, 0)}"
        )

    return GROWS.claim(
        f"The number of evaluations of a continuous flow grows with training: {name}",
        difference,
        describe,
        decides=decides,
        of_paper=False,
    )


def _drawings(flows: dict[str, Seeds]) -> Parts:
    from node_repro.figures.report_curves import Panel, curves

    panels = []
    for label, metric, split in (
        ("NFE, validation points", "nfe_forward", "validation"),
        ("NFE, training batches", "nfe_forward", "train"),
        ("backward NFE, training batches", "nfe_backward", "train"),
    ):
        lines = {
            name: [points for run in seeds if (points := thinned(run, metric, split))]
            for name, seeds in flows.items()
        }
        if lines := {name: several for name, several in lines.items() if several}:
            panels.append(Panel(label, False, lines))
    if panels:
        yield Drawing(
            "flow_evaluations",
            "Evaluations of continuous flows over the training; the lowest seed in full colour.",
            "Three panels over the iterations: evaluations for the validation points, and for "
            "training batches forward and backward.",
            curves(panels, "iteration"),
        )
