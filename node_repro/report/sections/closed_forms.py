"""Gradients of algorithm 2 and solutions of f' = -f^2 against their closed forms."""

import math
from collections.abc import Mapping
from itertools import pairwise

from node_repro.report import margins
from node_repro.report.artifact import Claim
from node_repro.report.drawings import line_plots, run_picture
from node_repro.report.format import (
    describe_fall,
    describe_met,
    format_at,
    format_number,
    format_tolerance,
)
from node_repro.report.probe_rows import (
    Line,
    ProbeRows,
    Row,
    log_plot,
    median_column,
    plot_by_tolerance,
    table_by_tolerance,
)
from node_repro.report.rules import Condition, Rule, every
from node_repro.report.section import Parts, section
from node_repro.report.sections.solvers import ORDERS
from node_repro.report.selection import Selection, get_number
from node_repro.report.statistics import Pairs, is_increasing
from node_repro.report.tables import Column, Table

EXPERIMENT = "demo_field_fit"
GRADIENTS = {"z0": "dL/dz(t0)", "theta": "dL/dθ", "t0": "dL/dt0", "t1": "dL/dt1", "ti": "dL/dti"}

WITHIN: Condition[tuple[float, float]] = Condition(
    f"the largest relative error of the five is ≤ {margins.TOLERANCES:g} × tolerance",
    lambda pair: pair[1] <= margins.TOLERANCES * pair[0],
)
CONTROLLED = Rule(every(WITHIN, "at every tolerance and for both problems"))
FALL: Rule[Mapping[str, Pairs]] = Rule(
    Condition(
        "for every gradient method, the largest relative error of the five falls at every step of "
        "the tolerance",
        lambda methods: all(is_increasing(pairs) for pairs in methods.values()),
    )
)
AS_ORDERS: Rule[Mapping[str, float]] = Rule(
    Condition(
        f"observed orders of Euler, midpoint and RK4 within {margins.ORDER} of 1, 2 and 4",
        lambda orders: all(abs(orders[name] - n) <= margins.ORDER for name, n in ORDERS.items()),
    )
)

GRADIENT_COLUMNS: list[Column[Line]] = [
    Column("problem, gradient method", lambda line: line.name),
    *(median_column(name, key) for key, name in GRADIENTS.items()),
    median_column("NFE forward", "nfe_forward", 0),
    median_column("NFE backward", "nfe_backward", 0),
]
SOLUTION_COLUMNS: list[Column[Row]] = [
    Column("solver", lambda row: row["solver"]),
    Column("tolerance", lambda row: row["tolerance"], power=True),
    Column("steps", lambda row: row["steps"]),
    Column("NFE", lambda row: row["nfe"]),
    Column("error at the end", lambda row: row["error"]),
]


@section(
    order=95,
    name="closed_forms",
    title="All gradients of algorithm 2, and f′ = −f², against closed forms",
    source="appendices B and C, algorithm 2; f′ = −f² with f(0) = 5 is in talks about the paper",
    experiments=[EXPERIMENT],
    probe="closed_forms",
)
def closed_forms(selection: Selection) -> Parts:
    """Relative errors, in float64, of the gradients of a sum over all observations with respect to
    the initial state, the parameter, the start, the end, and the observation times between (dL/dti,
    as a vector), for z′ = θ z and z′ = −θ z². And solutions of f′ = −f² against 5 / (5 x + 1).
    """
    rows = ProbeRows.read(selection, EXPERIMENT, "closed_forms")
    gradients = rows.where(measured="gradient").with_value("largest", _largest)
    solutions = rows.where(measured="solution")
    yield _controlled(gradients.where(gradient="adjoint"))
    yield _fall(gradients)
    yield _orders(solutions)
    smallest = [
        Line(name, *group.by_tolerance()[-1])
        for name, group in gradients.groups("problem", "gradient").items()
    ]
    tolerance = format_tolerance(smallest[0].tolerance) if smallest else "?"
    caption = f"Relative errors of the five gradients at the smallest tolerance, {tolerance}."
    yield Table("closed_forms", caption, GRADIENT_COLUMNS, smallest)
    caption = "The largest relative error of the five gradients."
    groups = gradients.groups("problem", "gradient")
    yield table_by_tolerance(
        "closed_forms_by_tolerance", caption, "problem, gradient method", groups, "largest"
    )
    worst = gradients.groups("gradient")
    caption = "The largest relative error of the five gradients, median over the two problems."
    yield from plot_by_tolerance(
        "closed_forms_gradients", caption, "relative error", worst, "largest"
    )
    end = get_number(rows.facts, "end") or math.nan
    caption = f"f′ = −f² with f(0) = 5 from x = 0 to {end:g}."
    yield Table("closed_forms_solutions", caption, SOLUTION_COLUMNS, solutions)
    yield from run_picture(
        "closed_forms_steps",
        selection.probed(EXPERIMENT, "closed_forms"),
        "closed_forms.png",
        "Steps of four solves of f′ = −f² on the closed form 5 / (5 x + 1), and their errors.",
        "Four columns; the steps lie beside the curve for Euler's method and on it for the others.",
    )
    solvers = solutions.groups("solver")
    plot = log_plot("evaluations of f", "error at the end", solvers, "nfe", "error")
    caption = "Error at the end against the evaluations of f, f′ = −f²."
    yield from line_plots("closed_forms_errors", caption, "A falling line per solver.", [plot])
    yield (
        "Direct, checkpointed and reversible gradients are those of the discrete solution. Their "
        "gradient with respect to an observation time within a step is that of the dense output, "
        "whose order is lower than that of the steps."
    )


def _largest(row: Row) -> float | None:
    errors = [value for key in GRADIENTS if (value := get_number(row, key)) is not None]
    return max(errors) if errors else None


def _pairs(rows: ProbeRows) -> Pairs:
    """Tolerances, ascending, and the largest error at each over the problems."""
    largest: dict[float, float] = {}
    for tolerance, error in rows.pairs("tolerance", "largest"):
        largest[tolerance] = max(error, largest.get(tolerance, 0.0))
    return sorted(largest.items())


def _controlled(rows: ProbeRows) -> Claim:
    def describe(pairs: Pairs) -> str:
        errors = ", ".join(format_at(error, t) for t, error in reversed(pairs))
        return f"{errors}; within the limit {describe_met(pairs, WITHIN.test)}"

    text = "The adjoint method gives all gradients of algorithm 2, also those of the times"
    return CONTROLLED.claim(text, _pairs(rows) or None, describe)


def _fall(rows: ProbeRows) -> Claim:
    methods = {name: _pairs(group) for name, group in rows.groups("gradient").items()}
    known = {name: pairs for name, pairs in methods.items() if len(pairs) > 1}
    return FALL.claim(
        "The gradients of every method approach the closed forms with the tolerance",
        known or None,
        lambda found: "; ".join(f"{name}: {describe_fall(p)}" for name, p in found.items()),
        of_paper=False,
    )


def _orders(rows: ProbeRows) -> Claim:
    orders = {}
    for name in ORDERS:
        pairs = rows.where(solver=name).medians("steps", "error")
        for (few, coarse), (many, fine) in list(pairwise(pairs))[-1:]:
            orders[name] = math.log(coarse / fine) / math.log(many / few)
    return AS_ORDERS.claim(
        "Errors on f′ = −f² decrease with the step size as the order of the method says",
        orders if len(orders) == len(ORDERS) else None,
        lambda found: ", ".join(f"{name} {format_number(o, 2)}" for name, o in found.items()),
        of_paper=False,
    )
