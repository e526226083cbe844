"""Test error against the solver and the tolerance used at test time."""

from node_repro.report import TOLERANCE, Artifact, Cell, Claim, Column, Drawing, Table, Verdict
from node_repro.report.absent import unprobed
from node_repro.report.measured import Measured, groups, measured, median, points, runs_of
from node_repro.report.plots import Lines, drawn
from node_repro.report.runs import Runs
from node_repro.report.spread import SIGMAS, found, minus

NETWORKS = {"table1_odenet": "ODE-Net", "table1_rknet": "RK-Net"}


def artifact(runs: Runs) -> Artifact:
    """Test error against the solver used at test time."""
    both = {name: measured(runs, name, "test_tolerance") for name in NETWORKS}
    return Artifact(
        name="test_tolerance",
        title="Test error against the tolerance at test time",
        source="section 3, “train with a high accuracy, test with a low one”; Ott et al. 2021",
        about="How far a trained network depends on the solver that it is tested with.",
        claims=[_loose(NETWORKS[name], rows) for name, rows in both.items()],
        tables=[_table(name, rows) for name, rows in both.items()],
        drawings=[one for name, rows in both.items() for one in _curves(name, rows)],
        runs=runs_of(both.values()),
        missing=unprobed(runs, NETWORKS, "test_tolerance"),
        probe="test_tolerance",
    )


def _table(name: str, rows: Measured) -> Table:
    columns = (
        Column("solver at test time"),
        TOLERANCE,
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
        lines.append(
            [
                row["solver"],
                found(row, "tolerance"),
                None if steps is None else int(steps),
                found(row, "nfe_forward"),
                *(None if (v := found(row, name)) is None else 100 * v for name in scores),
            ]
        )
    caption = (
        f"The selected {NETWORKS[name]} tested with other solvers on "
        f"{rows.facts.get('examples', '?')} test digits; trained with "
        f"{rows.facts.get('trained_with', '?')}. The difference is taken digit by digit."
    )
    return Table(f"test_tolerance_{name}", caption, columns, lines)


def _loose(name: str, rows: Measured) -> Claim:
    text = f"A network trained at 1e-3 can be tested at 1e-1 without loss, dopri5, {name}"
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
    return Claim(text, minus(words), verdict, rule)


def _curves(name: str, rows: Measured) -> tuple[Drawing, ...]:
    percent = [
        {**row, "percent": 100 * error}
        for row in rows.rows
        if (error := found(row, "error")) is not None and row["solver"] != "own"
    ]
    series = {
        solver: points(some, "nfe_forward", "percent")
        for solver, some in groups(percent, lambda row: str(row["solver"])).items()
    }
    return drawn(
        f"test_tolerance_{name}",
        f"Test error of {NETWORKS[name]} against the evaluations of the solver at test time.",
        "Test error over evaluations, a line for each solver.",
        [Lines("NFE forward", "test error, %", series, log_x=True)],
    )
