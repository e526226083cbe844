"""Relative error of every gradient method against the tolerance."""

from node_repro.report.artifact import Claim
from node_repro.report.format import describe_fall, format_at
from node_repro.report.probe_rows import (
    ProbeRows,
    plot_by_tolerance,
    reference_notes,
    table_by_tolerance,
)
from node_repro.report.rules import Rule, increasing
from node_repro.report.section import Parts, section
from node_repro.report.selection import Selection
from node_repro.report.statistics import Pairs

EXPERIMENTS = ("demo_field_fit", "table1_odenet")
KEY = "parameters_relative"


FALLS = Rule(increasing("the error falls at every step of the tolerance"))


@section(
    order=100,
    name="gradient_error",
    title="Error of the gradient against the tolerance",
    source="section 2 and appendix B",
    experiments=EXPERIMENTS,
    probe="gradient_error",
)
def gradient_error(selection: Selection) -> Parts:
    """Every gradient method against direct back-propagation in float64 at a far smaller tolerance,
    on the linear part of the loss.
    """
    for name in EXPERIMENTS:
        rows = ProbeRows.read(selection, name, "gradient_error")
        groups, file = rows.groups("gradient"), f"gradient_error_{name}"
        yield _claim(name, rows)
        caption = f"{name}: relative error of the gradient with respect to the parameters."
        yield table_by_tolerance(file, caption, "gradient", groups, KEY)
        caption = f"Relative error of the parameters' gradient against the tolerance, {name}."
        yield from plot_by_tolerance(file, caption, "relative error", groups, KEY)
        yield from reference_notes(rows, KEY, f"The reference's gradient of {name}")


def _claim(name: str, rows: ProbeRows) -> Claim:
    text = f"The error of the adjoint's gradient falls with the tolerance, {name}"
    pairs = rows.where(gradient="adjoint").medians("tolerance", KEY)

    def describe(pairs: Pairs) -> str:
        (small, least), *_, (large, most) = pairs
        ends = f"relative error {format_at(most, large)}, {format_at(least, small)}"
        return f"{ends}, {describe_fall(pairs)}"

    return FALLS.claim(text, pairs if len(pairs) > 1 else None, describe)
