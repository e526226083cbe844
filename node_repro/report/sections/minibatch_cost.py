"""Evaluations for a minibatch against those for its examples."""

from collections.abc import Iterable, Sequence

from node_repro.report import margins
from node_repro.report.artifact import Claim
from node_repro.report.format import format_list, format_tolerance
from node_repro.report.probe_rows import TOLERANCE, Line, ProbeRows, median_column
from node_repro.report.rules import Rule, at_most, every
from node_repro.report.section import Parts, section
from node_repro.report.selection import Selection
from node_repro.report.tables import Column, Table

NETWORK = "table1_odenet"
NEAR_MEAN = at_most("evaluations over the examples' mean", margins.MINIBATCH_FACTOR)
NOT_SUBSTANTIAL = Rule(every(NEAR_MEAN, "in every row"))


COLUMNS: list[Column[Line]] = [
    Column("solver", lambda line: line.name),
    TOLERANCE,
    median_column("NFE of the batch", "nfe_batch", 1),
    median_column("mean of its digits", "nfe_mean", 1),
    median_column("most of its digits", "nfe_max", 1),
    median_column("batch / mean", "batch_over_mean", 2),
    median_column("batch / most", "batch_over_max", 2),
]


@section(
    order=120,
    name="minibatch_cost",
    title="Evaluations for a minibatch",
    source="section 6, minibatching",
    experiments=[NETWORK],
    probe="minibatch_cost",
)
def minibatch_cost(selection: Selection) -> Parts:
    """A minibatch is solved as one system, with one step size for all of its examples."""
    rows = ProbeRows.read(selection, NETWORK, "minibatch_cost")
    lines = rows.lines("solver")
    yield _claim(lines)
    size = rows.facts.get("examples_a_batch", "?")
    yield Table("minibatch_cost", f"Medians over minibatches of {size} digits.", COLUMNS, lines)


def _claim(lines: Iterable[Line]) -> Claim:
    text = "Solving a minibatch as one system does not increase the evaluations substantially"
    ratios = {
        f"{line.name} at {format_tolerance(line.tolerance)}": (
            line.rows.median("batch_over_mean") or 0.0
        )
        for line in lines
    }

    def describe(_: Sequence[float]) -> str:
        worst = max(ratios, key=lambda way: ratios[way])
        low, high = min(ratios.values()), ratios[worst]
        words = f"{low:.2f} to {high:.2f} times the mean, most for {worst}"
        above = [way for way, ratio in ratios.items() if not NEAR_MEAN.test(ratio)]
        return f"{words}; above the limit for {format_list(above)}" if above else words

    return NOT_SUBSTANTIAL.claim(text, list(ratios.values()) or None, describe)
