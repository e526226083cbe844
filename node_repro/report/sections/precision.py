"""Errors by the tolerance of the solver and by the precision of its floats."""

from collections.abc import Sequence
from itertools import pairwise

from node_repro.report import margins
from node_repro.report.artifact import Claim, Drawing
from node_repro.report.drawings import line_plots
from node_repro.report.format import format_number, format_tolerance
from node_repro.report.probe_rows import Line, ProbeRows, median_column
from node_repro.report.rules import Condition, Rule
from node_repro.report.section import Parts, section
from node_repro.report.selection import Selection, get_number
from node_repro.report.statistics import Pairs
from node_repro.report.tables import Column, Table

NETWORK, PROBE, KEY = "table1_odenet", "precision", "state_relative_rms"
PRECISIONS = ("bfloat16", "float16", "float32")
"""From the least precise."""

FINER: Rule[Sequence[int]] = Rule(
    Condition(
        "between the errors of every two neighbouring precisions, tolerances give at least "
        f"{margins.PRECISION_LEVELS} solve with another number of evaluations",
        lambda counts: min(counts) >= margins.PRECISION_LEVELS,
    )
)


@section(
    order=95,
    name="precision",
    title="Accuracy by tolerance and by floating-point precision",
    source="the authors' talk: “more fine-grained control than low-precision floats”",
    experiments=[NETWORK],
    probe=PROBE,
)
def precision(selection: Selection) -> Parts:
    """The error of ODE-Net's end state and prediction, for tolerances of the solver in float32 and
    for precisions of the floats in which the ODE is solved.
    """
    rows = ProbeRows.read(selection, NETWORK, PROBE)
    tolerances, precisions = (rows.where(control=c) for c in ("tolerance", "precision"))
    yield _finer(tolerances, precisions)
    yield _table(tolerances, precisions)
    yield from _curves(tolerances, precisions)
    yield from _notes(rows)


def _finer(tolerances: ProbeRows, precisions: ProbeRows) -> Claim:
    text = "A tolerance is a finer control of the error than the precision of floats"
    levels = [precisions.where(precision=name).median(KEY) for name in PRECISIONS]
    known = [level for level in levels if level is not None]
    solves = _levels(tolerances)
    counts = [
        len({nfe for nfe, error in solves if low < error < high}) for high, low in pairwise(known)
    ]
    measured = len(known) == len(PRECISIONS) and bool(solves)

    def describe(counts: Sequence[int]) -> str:
        between = ", ".join(
            f"{count} between {high} and {low}"
            for count, (high, low) in zip(counts, pairwise(PRECISIONS), strict=True)
        )
        total = len({nfe for nfe, _ in solves})
        return f"{between}; {total} different solves at {len(solves)} tolerances"

    return FINER.claim(text, counts if measured else None, describe, of_paper=False)


def _levels(tolerances: ProbeRows) -> Pairs:
    """Evaluations and error of each tolerance, medians over seeds."""
    return [
        (nfe, error)
        for _, rows in tolerances.by_tolerance()
        if (nfe := rows.median("nfe")) is not None and (error := rows.median(KEY)) is not None
    ]


def _table(tolerances: ProbeRows, precisions: ProbeRows) -> Table:
    lines = [
        Line(f"float32, tolerance {format_tolerance(tolerance)}", tolerance, rows)
        for tolerance, rows in tolerances.by_tolerance()
    ]
    lines += [
        Line(f"{name}, fixed steps", 0.0, found)
        for name in PRECISIONS
        if (found := precisions.where(precision=name))
    ]
    columns: list[Column[Line]] = [
        Column("solve", lambda line: line.name),
        median_column("NFE", "nfe", 0),
        median_column("relative error of the end state", KEY),
        median_column("largest error of a probability", "probability_error_max"),
        Column("changed predictions, %", lambda line: _percent(line.rows.median("changed")), 2),
    ]
    caption = (
        f"{NETWORK}: errors on {tolerances.facts.get('examples', '?')} test digits, medians over "
        "seeds. With a tolerance: against a reference in float64. In a precision: against float64 "
        "with the same steps, so that only rounding differs."
    )
    return Table("precision", caption, columns, lines)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _curves(tolerances: ProbeRows, precisions: ProbeRows) -> list[Drawing]:
    from node_repro.figures.report_probes import Plot

    plots = []
    for y, key in (
        ("relative error of the end state", KEY),
        ("largest error of a probability", "probability_error_max"),
    ):
        series = {"float32, by tolerance": tolerances.medians("nfe", key)}
        series |= {
            f"{name}, fixed steps": precisions.where(precision=name).medians("nfe", key)
            for name in PRECISIONS
        }
        levels = [error for name in PRECISIONS for _, error in series[f"{name}, fixed steps"]]
        plots.append(Plot("NFE", y, series, log_y=True, levels=levels))
    caption = (
        f"Errors of {NETWORK} against the evaluations of f, for tolerances from the largest on the "
        "left; dotted: rounding errors of the precisions."
    )
    alt = "Errors on a logarithmic axis over evaluations: a line of tolerances and three levels."
    return line_plots("precision", caption, alt, plots)


def _notes(rows: ProbeRows) -> Parts:
    steps = get_number(rows.facts, "error_of_the_steps", KEY)
    if steps is not None:
        yield (
            f"The fixed steps ({rows.facts.get('steps', '?')}) have an error of "
            f"{format_number(steps, None)} themselves. Weights and states of the ODE are stored in "
            "the precision, sums within a convolution are accumulated as torch's kernels do it, "
            "and the rest of the network is computed in float64."
        )
        examples = get_number(rows.facts, "examples")
        if examples:
            yield (
                f"Where no prediction of {examples:g} digits changed, at most "
                f"{300 / examples:.2g} % of all predictions change, with 95 % confidence."
            )
