"""Test error against the solver and the tolerance at test time."""

from node_repro.report.artifact import Claim, Drawing
from node_repro.report.drawings import line_plots
from node_repro.report.format import minus_sign
from node_repro.report.probe_rows import ProbeRows, Row
from node_repro.report.rules import Rule, not_above_by_errors
from node_repro.report.section import Parts, section
from node_repro.report.selection import Selection, get_number
from node_repro.report.statistics import Difference
from node_repro.report.tables import Column, Table

NETWORKS = {"table1_odenet": "ODE-Net", "table1_rknet": "RK-Net"}
NO_LOSS = Rule(not_above_by_errors("increase of the error, digit by digit,"))


def _percent(row: Row, key: str) -> float | None:
    share = get_number(row, key)
    return None if share is None else 100 * share


def _whole(row: Row, key: str) -> int | None:
    number = get_number(row, key)
    return None if number is None else int(number)


COLUMNS: list[Column[Row]] = [
    Column("solver at test time", lambda row: row["solver"]),
    Column("tolerance", lambda row: get_number(row, "tolerance"), power=True),
    Column("steps", lambda row: _whole(row, "steps")),
    Column("NFE", lambda row: get_number(row, "nfe_forward"), 0),
    Column("test error, %", lambda row: _percent(row, "error"), 2),
    Column("difference, points", lambda row: _percent(row, "error_difference"), 2),
    Column("its s.e.", lambda row: _percent(row, "error_difference_standard_error"), 2),
]


@section(
    order=90,
    name="test_tolerance",
    title="Test error against the tolerance at test time",
    source="section 3, “train with a high accuracy, test with a low one”; Ott et al. 2021",
    experiments=NETWORKS,
    probe="test_tolerance",
)
def tolerance_at_test_time(selection: Selection) -> Parts:
    """How much the test error of a trained network depends on the solver at test time."""
    networks = {
        key: (name, ProbeRows.read(selection, key, "test_tolerance"))
        for key, name in NETWORKS.items()
    }
    for key, (name, rows) in networks.items():
        yield _claim(name, rows)
        caption = (
            f"The selected {name} tested with other solvers on {rows.facts.get('examples', '?')} "
            f"test digits; trained with {rows.facts.get('trained_with', '?')}. The difference to "
            "the test with that solver is taken digit by digit."
        )
        yield Table(f"test_tolerance_{key}", caption, COLUMNS, rows)
        yield from _curves(key, name, rows)


def _claim(name: str, rows: ProbeRows) -> Claim:
    text = f"A network trained at tolerance 1e-3 loses nothing when tested at 1e-1, dopri5, {name}"
    loose = rows.where(solver="dopri5", tolerance=0.1)
    gap = loose.median("error_difference")
    error = loose.median("error_difference_standard_error")
    if gap is None or error is None:
        return NO_LOSS.claim(text, None, str)
    nfe, usual = loose.median("nfe_forward"), rows.where(solver="own").median("nfe_forward")
    measured = (
        f"{100 * gap:+.2f} ± {100 * error:.2f} points with {nfe:g} evaluations instead of {usual:g}"
    )
    if gap == error == 0:
        measured += f"; the same of {rows.facts.get('examples', '?')} digits are wrong"
    return NO_LOSS.claim(text, Difference(gap, error), lambda _: minus_sign(measured))


def _curves(key: str, name: str, rows: ProbeRows) -> list[Drawing]:
    from node_repro.figures.report_probes import Plot

    solvers = rows.with_value("percent", lambda row: _percent(row, "error")).groups("solver")
    series = {
        solver: group.medians("nfe_forward", "percent")
        for solver, group in solvers.items()
        if solver != "own"
    }
    return line_plots(
        f"test_tolerance_{key}",
        f"Test error of {name} against the evaluations of the solver at test time.",
        "Test error over evaluations, a line for each solver.",
        [Plot("NFE forward", "test error, %", series, log_x=True)],
    )
