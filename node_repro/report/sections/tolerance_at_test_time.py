"""Test error against the solver and the tolerance at test time."""

import math
from statistics import fmean

from node_repro.report import margins
from node_repro.report.artifact import Claim, Drawing
from node_repro.report.comparisons import increase_at_most
from node_repro.report.drawings import line_plots
from node_repro.report.format import format_interval, format_number
from node_repro.report.probe_rows import ProbeRows, Row
from node_repro.report.section import Parts, section
from node_repro.report.selection import Selection, get_number
from node_repro.report.statistics import Difference, Interval, interval_of_change
from node_repro.report.tables import Column, Table

NETWORKS = {"table1_odenet": "ODE-Net", "table1_rknet": "RK-Net"}
NO_LOSS = increase_at_most(
    "the increase of the error, digit by digit,", margins.MNIST_POINTS, " points"
)


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
    change, examples = _change(loose), get_number(rows.facts, "examples")
    if change is None or examples is None:
        return NO_LOSS.claim(text, None, str)
    interval = interval_of_change(change, int(examples), margins.CONFIDENCE).scaled(100)
    nfe, usual = loose.median("nfe_forward"), rows.where(solver="own").median("nfe_forward")

    def describe(interval: Interval) -> str:
        gap = format_number(100 * change.value, 2)
        words = (
            f"increase {gap} points, {format_interval(interval, 2, margins.CONFIDENCE)}, "
            f"n = {examples:,.0f} digits, with {nfe:g} evaluations instead of {usual:g}"
        )
        return words if change.error else f"{words}; no digit changed"

    return NO_LOSS.claim(text, interval, describe)


def _change(loose: ProbeRows) -> Difference | None:
    """The mean increase of the error over the networks probed.

    All are tested on the same digits, so that the standard error is that of one network.
    """
    gaps = loose.pairs("error_difference", "error_difference_standard_error")
    examples = get_number(loose.facts, "examples")
    if not gaps or examples is None:
        return None
    error = math.sqrt(fmean(error**2 for _, error in gaps))
    return Difference(fmean(gap for gap, _ in gaps), error, examples - 1)


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
