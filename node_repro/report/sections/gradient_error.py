"""Relative error of every gradient method against the tolerance."""

import math
from collections.abc import Mapping

from node_repro.report import margins
from node_repro.report.artifact import Claim, Drawing
from node_repro.report.drawings import line_plots
from node_repro.report.format import describe_fall, format_at, format_number, format_tolerance
from node_repro.report.probe_rows import (
    Line,
    ProbeRows,
    log_plot,
    median_column,
    reference_notes,
    table_by_tolerance,
)
from node_repro.report.rules import Rule, increasing, near
from node_repro.report.section import Parts, section
from node_repro.report.selection import Selection, get_number
from node_repro.report.statistics import Pairs
from node_repro.report.tables import Column, Table

EXPERIMENTS = ("demo_field_fit", "table1_odenet", "table1_odenet_softplus")
PROBE, KEY = "gradient_error", "parameters_relative"
REFERENCE = "reference_at_ten_times_the_tolerance"
SAME = {"checkpointed": "direct"}
"""A gradient method that differs from another one by rounding, and the other one."""
FIELDS = {"own": "own field", "smooth": "smooth twin"}

STEPPING, RK4_ORDER = "rk4", 4
FALLS = Rule(
    increasing(
        "the error falls at every step of the tolerance that changes the number of evaluations of "
        "the backward solve"
    )
)
ORDER = Rule(near("observed order", RK4_ORDER, margins.ORDER))


@section(
    order=100,
    name="gradient_error",
    title="Error of the gradient against the tolerance",
    source="section 2 and appendix B",
    experiments=EXPERIMENTS,
    probe=PROBE,
)
def gradient_error(selection: Selection) -> Parts:
    """Every gradient method against direct back-propagation in float64 at a far smaller tolerance,
    on the linear part of the loss. Where an activation has kinks (relu), the derivative of the
    field jumps, and the error of a gradient is of first order in the step size whatever the order
    of the method. The order is therefore judged on the smooth twin, which has the same weights and
    softplus in place of relu.
    """
    for name in EXPERIMENTS:
        fields = _by_field(ProbeRows.read(selection, name, PROBE))
        smooth = fields.get("smooth", fields["own"])
        where = f"{name}, {FIELDS['smooth']}" if "smooth" in fields else name
        yield _falls(where, smooth)
        yield _order(where, smooth, fields["own"] if "smooth" in fields else None)
        for field, rows in fields.items():
            file = f"gradient_error_{name}" + f"_{field}" * (field != "own")
            caption = f"{name}, {FIELDS[field]}: relative error of the parameters' gradient."
            yield table_by_tolerance(file, caption, "gradient", rows.groups("gradient"), KEY)
        yield _at_training(name, fields)
        yield from _curves(name, fields)
        yield from _training_notes(name, fields["own"])
        for field, rows in fields.items():
            what = f"The reference's gradient of {name}, {FIELDS[field]},"
            yield from reference_notes(rows, KEY, what)


def _by_field(rows: ProbeRows) -> dict[str, ProbeRows]:
    """The rows of each field; its facts have the accuracy of the field's own reference."""
    accuracy = rows.facts.get(REFERENCE, {})
    groups = {field: rows.where(field=field).rows for field in FIELDS}
    return {
        field: ProbeRows(found, {**rows.facts, REFERENCE: accuracy.get(field)})
        for field, found in groups.items()
        if found or field == "own"
    }


def _uncertainty(rows: ProbeRows) -> float | None:
    """What the reference changes by with a tolerance ten times as large."""
    return get_number(rows.facts, REFERENCE, KEY)


def _falls(where: str, rows: ProbeRows) -> Claim:
    text = f"The error of the adjoint's gradient falls with the tolerance, {where}"
    adjoint = rows.where(gradient="adjoint")
    evaluations = dict(adjoint.medians("tolerance", "nfe_backward"))
    least = _uncertainty(rows) or 0.0
    solves: dict[float | None, tuple[float, float]] = {}
    for tolerance, error in adjoint.medians("tolerance", KEY):
        if error > least:
            solves.setdefault(evaluations.get(tolerance), (tolerance, error))
    pairs = list(solves.values())

    def describe(pairs: Pairs) -> str:
        (small, least), *_, (large, most) = pairs
        ends = f"relative error {format_at(most, large)}, {format_at(least, small)}"
        return f"{ends}, {describe_fall(pairs)} at {len(pairs)} different solves"

    return FALLS.claim(text, pairs if len(pairs) > 1 else None, describe)


def _order(where: str, smooth: ProbeRows, kinked: ProbeRows | None) -> Claim:
    text = f"The error of the gradient has the order of the method, {STEPPING}, {where}"
    other = None if kinked is None else _observed_order(kinked)

    def describe(order: float) -> str:
        beside = "" if other is None else f"; with the kinks of relu {other:.2f}"
        return f"observed order {order:.2f} in constant steps{beside}"

    return ORDER.claim(text, _observed_order(smooth), describe, of_paper=False)


def _observed_order(rows: ProbeRows) -> float | None:
    """The order by the two largest numbers of steps with errors well above the reference's."""
    least = margins.ABOVE_REFERENCE * (_uncertainty(rows) or 0.0)
    errors = [(n, error) for n, error in _by_steps(rows) if error > least]
    if len(errors) < 2:
        return None
    (few, larger), (many, smaller) = errors[-2:]
    return math.log(larger / smaller) / math.log(many / few)


def _by_steps(rows: ProbeRows) -> Pairs:
    """Numbers of constant steps and errors."""
    return rows.where(solver=STEPPING).medians("steps", KEY)


def _at_training(name: str, fields: Mapping[str, ProbeRows]) -> Table:
    """The gradients at the tolerance with which the network was trained."""
    lines = [
        Line(f"{FIELDS[field]}, {_label(gradient)}", tolerance, found)
        for field, rows in fields.items()
        if (tolerance := get_number(rows.facts, "trained_at")) is not None
        for gradient, group in rows.groups("gradient").items()
        if (found := group.where(tolerance=tolerance))
    ]
    columns: list[Column[Line]] = [
        Column("gradient", lambda line: line.name),
        median_column("NFE forward", "nfe_forward", 0),
        median_column("NFE backward", "nfe_backward", 0),
        median_column("relative error, parameters", KEY),
        median_column("1 − cosine, parameters", "parameters_one_minus_cosine"),
        median_column("relative error, y0", "y0_relative"),
        median_column("1 − cosine, y0", "y0_one_minus_cosine"),
    ]
    caption = f"{name}: gradients at the tolerance of training, medians over seeds."
    return Table(f"gradient_error_{name}_training", caption, columns, lines)


def _training_notes(name: str, rows: ProbeRows) -> list[str]:
    """How far the gradient used in training is from the exact one."""
    tolerance = get_number(rows.facts, "trained_at")
    if tolerance is None:
        return []
    found = rows.where(gradient="adjoint", tolerance=tolerance)
    error, angle = found.median(KEY), found.median("parameters_one_minus_cosine")
    if error is None or angle is None:
        return []
    return [
        f"At the tolerance of training, {format_tolerance(tolerance)}, the adjoint's gradient of "
        f"{name} differs from the exact one by {100 * error:.2g} % of its length (1 − cosine "
        f"{format_number(angle, None)})."
    ]


def _label(gradient: str) -> str:
    return gradient.replace("_", " ")


def _shown(rows: ProbeRows) -> dict[str, ProbeRows]:
    """The rows by gradient method, without one that has the gradients of another."""
    groups = rows.groups("gradient")
    same = {one: [other for other, of in SAME.items() if of == one] for one in groups}
    return {
        ", ".join(map(_label, (name, *same[name]))): group
        for name, group in groups.items()
        if SAME.get(name) not in groups
    }


def _curves(name: str, fields: Mapping[str, ProbeRows]) -> list[Drawing]:
    from node_repro.figures.report_probes import Plot

    error = "relative error"
    plots = [
        log_plot("tolerance", error, _shown(rows), "tolerance", KEY)._replace(
            title=FIELDS[field], falling=True, floor=_uncertainty(rows)
        )
        for field, rows in fields.items()
    ]
    series = {f"{STEPPING}, {FIELDS[field]}": _by_steps(rows) for field, rows in fields.items()}
    plots.append(Plot("steps", error, series, title="constant steps", log_x=True, log_y=True))
    caption = (
        f"Relative error of the parameters' gradient of {name} against the tolerance, and against "
        "the number of constant steps. Shaded: within the uncertainty of the reference."
    )
    alt = "Relative errors over the tolerance and over the steps on logarithmic axes."
    return line_plots(f"gradient_error_{name}", caption, alt, plots)
