"""Cost of the log density of a flow against its number of hidden units."""

import math
from collections.abc import Mapping

from node_repro.report.artifact import Claim, Drawing
from node_repro.report.drawings import line_plots
from node_repro.report.margins import WIDTH_CUBIC, WIDTH_LINEAR
from node_repro.report.probe_rows import ProbeRows, Row, log_plot
from node_repro.report.rules import Condition, Rule
from node_repro.report.section import Parts, section
from node_repro.report.selection import Selection, get_number
from node_repro.report.tables import Column, Table

EXPERIMENT = "fig4_u1_cnf_32"
LARGE = 64

Exponents = Mapping[str, float]
"""The power of M with which the seconds of each way grow."""


CHEAPER: Rule[Exponents] = Rule(
    Condition(
        f"from {LARGE} units on, seconds grow with at most the power {WIDTH_LINEAR:g} of M by the "
        f"trace and with at least the power {WIDTH_CUBIC:g} by the M × M determinant",
        lambda powers: (
            powers["trace"] <= WIDTH_LINEAR and powers["determinant, M x M"] >= WIDTH_CUBIC
        ),
    )
)

COLUMNS: list[Column[Row]] = [
    Column("log density by", lambda row: row["way"]),
    Column("M", lambda row: int(get_number(row, "width") or 0)),
    Column("seconds", lambda row: get_number(row, "seconds"), 6),
]


@section(
    order=145,
    name="width_cost",
    title="Cost of the log density against the number of hidden units",
    source="section 4: “the cost … is only O(M)”, against O(M³) of a determinant",
    experiments=[EXPERIMENT],
    probe="width_cost",
)
def width_cost(selection: Selection) -> Parts:
    """One evaluation of the log density of a batch in the plane with its gradient: by the trace of
    a continuous flow, and by determinants for a layer with as many units.
    """
    rows = ProbeRows.read(selection, EXPERIMENT, "width_cost")
    yield _cheaper(rows)
    yield Table("width_cost", f"{rows.facts.get('batch', '?')} points.", COLUMNS, rows)
    yield from _curves(rows)
    yield (
        "By Sylvester's identity the determinant of such a layer is that of a D × D matrix, "
        "which in the plane costs O(M), too: the paper's O(M³) is that of the M × M matrix."
    )


def _cheaper(rows: ProbeRows) -> Claim:
    text = "The trace of M hidden units costs O(M), where the determinant costs O(M³)"
    powers = {
        way: power
        for way, group in rows.groups("way").items()
        if (power := _exponent(group)) is not None
    }
    known = powers if {"trace", "determinant, M x M"} <= set(powers) else None
    return CHEAPER.claim(
        text, known, lambda p: ", ".join(f"{way}: M^{power:.2f}" for way, power in p.items())
    )


def _exponent(rows: ProbeRows) -> float | None:
    """The slope of log seconds over log M between the least and the most of the large widths."""
    large = [(m, s) for m, s in rows.medians("width", "seconds") if m >= LARGE]
    if len(large) < 2:
        return None
    (m0, s0), (m1, s1) = large[0], large[-1]
    return math.log(s1 / s0) / math.log(m1 / m0)


def _curves(rows: ProbeRows) -> list[Drawing]:
    plot = log_plot("M", "seconds", rows.groups("way"), "width", "seconds")
    alt = "Seconds over the number of hidden units on logarithmic axes, a line for each way."
    return line_plots("width_cost", "Seconds against the number of hidden units.", alt, [plot])
