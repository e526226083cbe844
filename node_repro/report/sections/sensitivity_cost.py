"""Cost of forward sensitivities against the adjoint."""

from node_repro.report.artifact import Claim, Drawing
from node_repro.report.drawings import line_plots
from node_repro.report.format import format_number
from node_repro.report.probe_rows import ProbeRows, Row, log_plot
from node_repro.report.rules import Condition, Rule, increasing
from node_repro.report.section import Parts, section
from node_repro.report.selection import Selection, get_number
from node_repro.report.statistics import Pairs
from node_repro.report.tables import Column, Table

FIELD = "demo_field_fit"

PAYS: Condition[Pairs] = Condition("is > 1 for the largest D", lambda pairs: pairs[-1][1] > 1)
CHEAPER = Rule(increasing("the factor grows with D, at the largest K of each") & PAYS)


def _size(row: Row) -> tuple[int, int]:
    """D and K."""
    states, parameters = (int(get_number(row, k) or 0) for k in ("states", "parameters"))
    return states, parameters


def _kilobytes(row: Row) -> float | None:
    peak = get_number(row, "peak_bytes")
    return None if peak is None else peak / 1e3


COLUMNS: list[Column[Row]] = [
    Column("field, gradient", lambda row: f"{row.get('field', '?')}, {row['gradient']}"),
    Column("D", lambda row: _size(row)[0]),
    Column("K", lambda row: _size(row)[1]),
    Column("numbers integrated", lambda row: get_number(row, "numbers"), 0),
    Column("the paper's count", lambda row: get_number(row, "numbers_paper"), 0),
    Column("seconds", lambda row: get_number(row, "seconds"), 4),
    Column("peak kB", _kilobytes, 1),
]


@section(
    order=130,
    name="sensitivity_cost",
    title="Forward sensitivities against the adjoint",
    source="section 7, related work: D² + K D numbers against 2 D + K + 1",
    experiments=[FIELD],
    probe="sensitivity_cost",
)
def sensitivity_cost(selection: Selection) -> Parts:
    """Both differentiate the same solve, of small networks and of the demo's own field."""
    rows = ProbeRows.read(selection, FIELD, "sensitivity_cost")
    yield _cheaper(rows.where(field="small"))
    caption = "One gradient of the same solve by both methods; D states, K parameters."
    yield Table("sensitivity_cost", caption, COLUMNS, rows)
    yield from _curves(rows.where(field="small"))
    for name, reason in rows.facts.get("left_out", {}).items():
        yield f"{name} is left out: {reason}."


def _cheaper(rows: ProbeRows) -> Claim:
    text = "The adjoint integrates fewer numbers than forward sensitivities, increasingly with D"
    factors: list[tuple[float, float]] = []
    for d in rows.values("states"):
        group = rows.where(states=d)
        largest = group.where(parameters=max(group.values("parameters")))
        forward, adjoint = (
            largest.where(gradient=name).median("numbers") for name in ("forward", "adjoint")
        )
        if forward and adjoint:
            factors.append((d, forward / adjoint))
    return CHEAPER.claim(
        text,
        factors if len(factors) > 1 else None,
        lambda pairs: ", ".join(f"{format_number(f, None)} at D = {d:g}" for d, f in pairs),
    )


def _curves(rows: ProbeRows) -> list[Drawing]:
    def cost(row: Row) -> float:
        d, k = _size(row)
        return d * d + k * d

    groups = rows.with_value("size", cost).groups("gradient")
    plots = [
        log_plot("D² + K D", label, groups, "size", key)
        for key, label in (("numbers", "numbers integrated"), ("seconds", "seconds per gradient"))
    ]
    return line_plots(
        "sensitivity_cost",
        "Numbers integrated and seconds against D² + K D, over small networks.",
        "Forward sensitivities grow in proportion, the adjoint far more slowly.",
        plots,
    )
