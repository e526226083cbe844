"""Test error against the solver and the tolerance used at test time."""

from node_repro.report import Artifact, Cell, Claim, Column, Drawing, Table, Tolerance, Verdict
from node_repro.report.absent import unprobed
from node_repro.report.measured import Measured, groups, measured, median, points
from node_repro.report.plots import Lines, drawn
from node_repro.report.runs import Runs
from node_repro.report.spread import SIGMAS, found

NETWORK = "table1_odenet"


def artifact(runs: Runs) -> Artifact:
    """Test error against the solver used at test time."""
    rows = measured(runs, NETWORK, "test_tolerance")
    columns = (
        Column("solver at test time"),
        Column("tolerance"),
        Column("steps"),
        Column("NFE", 0),
        Column("test error, %", 2),
        Column("difference, points", 2),
        Column("its s.e.", 2),
    )
    lines: list[list[Cell]] = []
    for row in rows.rows:
        steps = found(row, "steps")
        scores = ("error", "error_difference", "error_difference_standard_error")
        tolerance = found(row, "tolerance")
        lines.append(
            [
                row["solver"],
                None if tolerance is None else Tolerance(tolerance),
                None if steps is None else int(steps),
                found(row, "nfe_forward"),
                *(None if (v := found(row, name)) is None else 100 * v for name in scores),
            ]
        )
    caption = (
        f"The selected ODE-Net tested with other solvers on {rows.facts.get('examples', '?')} "
        f"test digits; trained with {rows.facts.get('trained_with', '?')}. The difference is "
        "taken digit by digit."
    )
    return Artifact(
        name="test_tolerance",
        title="Test error against the tolerance at test time",
        source="section 3, “train with a high accuracy, test with a low one”; Ott et al. 2021",
        about="How far a trained network depends on the solver that it is tested with.",
        claims=[_loose(rows)],
        tables=(Table("test_tolerance", caption, columns, lines),),
        drawings=_test_curves(rows),
        runs=rows.runs,
        missing=unprobed(runs, [NETWORK], "test_tolerance"),
        probe="test_tolerance",
    )


def _loose(rows: Measured) -> Claim:
    text = "A network trained at 1e-3 can be tested at a tolerance of 1e-1 without loss, dopri5"
    rule = "holds: the error is higher by at most 2 s.e. of the difference, digit by digit"
    here = rows.where(solver="dopri5", tolerance=0.1)
    gap, error = median(here, "error_difference"), median(here, "error_difference_standard_error")
    if gap is None or error is None:
        return Claim(text, "not measured", Verdict.OPEN, rule)
    nfe, usual = median(here, "nfe_forward"), median(rows.where(solver="own"), "nfe_forward")
    words = f"{100 * gap:+.2f} ± {100 * error:.2f} points with {nfe:g} evaluations for {usual:g}"
    if gap == error == 0:
        words += f"; the same of {rows.facts.get('examples', '?')} digits are wrong"
    verdict = Verdict.HOLDS if gap <= SIGMAS * error else Verdict.FAILS
    return Claim(text, words.replace("-", "−"), verdict, rule)


def _test_curves(rows: Measured) -> tuple[Drawing, ...]:
    percent = [
        {**row, "percent": 100 * error}
        for row in rows.rows
        if (error := found(row, "error")) is not None and row["solver"] != "own"
    ]
    series = {
        name: points(some, "nfe_forward", "percent")
        for name, some in groups(percent, lambda row: str(row["solver"])).items()
    }
    return drawn(
        "test_tolerance",
        "Test error against the evaluations that the solver at test time makes.",
        "Test error over evaluations, a line for each solver.",
        [Lines("NFE forward", "test error, %", series, log_x=True)],
    )
