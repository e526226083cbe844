"""Evaluations for a minibatch against those for its examples."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from node_repro.report.artifact import Claim
from node_repro.report.format import format_tolerance
from node_repro.report.probe_rows import ProbeRows
from node_repro.report.rules import Rule, at_most, every, some
from node_repro.report.section import Parts, section
from node_repro.report.selection import Selection
from node_repro.report.tables import Column, Table

NETWORK = "table1_odenet"
NEAR_MEAN = at_most("evaluations over the examples' mean", 1.25)
NOT_SUBSTANTIAL = Rule(every(NEAR_MEAN, "in every row"), some(NEAR_MEAN, "in some rows"))


class _Line(NamedTuple):
    solver: str
    tolerance: float
    rows: ProbeRows


COLUMNS: list[Column[_Line]] = [
    Column("solver", lambda line: line.solver),
    Column("tolerance", lambda line: line.tolerance, power=True),
    Column("NFE of the batch", lambda line: line.rows.median("nfe_batch"), 1),
    Column("mean of its digits", lambda line: line.rows.median("nfe_mean"), 1),
    Column("most of its digits", lambda line: line.rows.median("nfe_max"), 1),
    Column("batch / mean", lambda line: line.rows.median("batch_over_mean"), 2),
    Column("batch / most", lambda line: line.rows.median("batch_over_max"), 2),
]


@section(
    order=120,
    name="minibatch_cost",
    title="Evaluations for a minibatch",
    source="section 6, minibatching",
    about="A minibatch is solved as one system, with one step size for all of its examples.",
    experiments=[NETWORK],
    probe="minibatch_cost",
)
def minibatch_cost(selection: Selection) -> Parts:
    """One solve of a minibatch beside solves of single examples."""
    rows = ProbeRows.read(selection, NETWORK, "minibatch_cost")
    lines = [
        _Line(solver, tolerance, here)
        for solver, group in rows.groups("solver").items()
        for tolerance, here in group.by_tolerance()
    ]
    yield _claim(lines)
    size = rows.facts.get("examples_a_batch", "?")
    yield Table("minibatch_cost", f"Medians over minibatches of {size} digits.", COLUMNS, lines)


def _claim(lines: Iterable[_Line]) -> Claim:
    text = "Solving a minibatch as one system does not increase the evaluations substantially"
    ratios = {
        f"{line.solver} at {format_tolerance(line.tolerance)}": (
            line.rows.median("batch_over_mean") or 0.0
        )
        for line in lines
    }

    def describe(_: Sequence[float]) -> str:
        worst = max(ratios, key=lambda way: ratios[way])
        low, high = min(ratios.values()), ratios[worst]
        return f"{low:.2f} to {high:.2f} times the mean, most for {worst}"

    return NOT_SUBSTANTIAL.claim(text, list(ratios.values()) or None, describe)
