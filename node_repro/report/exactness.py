"""How exact gradients are, and how exactly solves and flows come back."""

from collections.abc import Mapping, Sequence

from node_repro.report import TOLERANCE, Artifact, Cell, Claim, Column, Table, Verdict
from node_repro.report.absent import unprobed
from node_repro.report.measured import (
    Measured,
    Row,
    falls,
    groups,
    measured,
    median,
    moved,
    points,
    runs_of,
    values,
)
from node_repro.report.pictures import taken
from node_repro.report.plots import Lines, drawn
from node_repro.report.runs import Runs
from node_repro.report.words import at
from node_repro.report.words import tolerance as told_tolerance

NETWORK = "table1_odenet"
FLOWS = {
    "fig5_circles_cnf": "two circles",
    "fig5_moons_cnf": "two moons",
    "fig5_pinwheel": "pinwheel",
    "fig5_eight_gaussians": "eight Gaussians",
}
FIELD = "demo_field_fit"
EXACT = 10.0  # tolerances


def gradient_error(runs: Runs) -> Artifact:
    """Relative error of every gradient method against the tolerance."""
    both = {name: measured(runs, name, "gradient_error") for name in (FIELD, NETWORK)}
    tables, drawings = [], []
    for name, rows in both.items():
        tables.append(_gradient_table(name, rows))
        series = {
            gradient: points(some, "tolerance", "parameters_relative")
            for gradient, some in groups(rows.rows, lambda row: str(row["gradient"])).items()
        }
        drawings += drawn(
            f"gradient_error_{name}",
            f"Relative error of the parameters' gradient against the tolerance, {name}.",
            "Error over tolerance on logarithmic axes, a line for each gradient method.",
            [Lines("tolerance", "relative error", series, log_x=True, log_y=True, falling=True)],
        )
    return Artifact(
        name="gradient_error",
        title="Error of the gradient against the tolerance",
        source="section 2 and appendix B",
        about=(
            "Every gradient method against the direct one in float64 at a far smaller tolerance, "
            "on the linear part of the loss."
        ),
        claims=[_gradient_claim(name, rows) for name, rows in both.items()],
        tables=tables,
        drawings=drawings,
        notes=[
            note
            for name, rows in both.items()
            for note in moved(rows, "parameters_relative", f"The reference's gradient of {name}")
        ],
        runs=runs_of(both.values()),
        missing=unprobed(runs, both, "gradient_error"),
        probe="gradient_error",
    )


def _gradient_table(name: str, rows: Measured) -> Table:
    tols = list(reversed(values(rows.rows, "tolerance")))
    columns = (Column("gradient"), *(Column(f"at {told_tolerance(tol)}") for tol in tols))
    lines = [
        [
            gradient,
            *(
                median([r for r in some if r["tolerance"] == tol], "parameters_relative")
                for tol in tols
            ),
        ]
        for gradient, some in groups(rows.rows, lambda row: str(row["gradient"])).items()
    ]
    caption = f"{name}: relative error of the gradient with respect to the parameters."
    return Table(f"gradient_error_{name}", caption, columns, lines)


def _gradient_claim(name: str, rows: Measured) -> Claim:
    text = f"The adjoint's gradient gets exact with the tolerance, {name}"
    rule = (
        "holds: the error falls at every step of the tolerance; in part: from the first to the last"
    )
    pairs = points(rows.where(gradient="adjoint"), "tolerance", "parameters_relative")
    if len(pairs) < 2:
        return Claim(text, "not measured", Verdict.OPEN, rule)
    (small, least), (large, most) = pairs[0], pairs[-1]
    words = f"relative error {at(most, large)}, {at(least, small)}"
    part = Verdict.PARTLY if least < most else Verdict.FAILS
    return Claim(text, words, Verdict.HOLDS if falls(pairs) else part, rule)


def reconstruction(runs: Runs) -> Artifact:
    """How exactly a solve comes back to its start."""
    rows = measured(runs, NETWORK, "reconstruction")
    parts = groups(rows.rows, lambda row: f"{row['back']}, {row['solver']}")
    series = {way: points(some, "tolerance", "relative_rms") for way, some in parts.items()}
    return Artifact(
        name="reconstruction",
        title="Reconstruction: running a solve backwards",
        source="section 6, “informally checked”",
        about=(
            "The state solved from t1 back to t0: alone, within the adjoint's backward solve, "
            "and by undoing the steps of a reversible method."
        ),
        claims=[_comes_back(NETWORK, rows)],
        tables=[_ways_back(rows, parts)],
        drawings=drawn(
            f"reconstruction_{NETWORK}",
            f"Distance of the recovered from the true start against the tolerance, {NETWORK}.",
            "Distance over tolerance on logarithmic axes, a line for each way back.",
            [Lines("tolerance", "relative distance", series, log_x=True, log_y=True, falling=True)],
        ),
        runs=rows.runs,
        missing=unprobed(runs, [NETWORK], "reconstruction"),
        probe="reconstruction",
    )


def _ways_back(rows: Measured, parts: Mapping[str, Sequence[Row]]) -> Table:
    tols = list(reversed(values(rows.rows, "tolerance")))
    lines = [
        [way, *(median([r for r in some if r["tolerance"] == tol], "relative_rms") for tol in tols)]
        for way, some in parts.items()
    ]
    columns = (Column("way back, solver"), *(Column(f"at {told_tolerance(tol)}") for tol in tols))
    caption = f"{NETWORK}: relative root mean square distance from the start, medians of batches."
    return Table(f"reconstruction_{NETWORK}", caption, columns, lines)


def _comes_back(name: str, rows: Measured) -> Claim:
    text = f"Solving backwards recovers the start to about the tolerance, dopri5, {name}"
    rule = f"holds: relative distance at most {EXACT:g} tolerances at each; in part: at some"
    pairs = points(rows.where(back="solved", solver="dopri5"), "tolerance", "relative_rms")
    if not pairs:
        return Claim(text, "not measured", Verdict.OPEN, rule)
    kept = sum(distance <= EXACT * tolerance for tolerance, distance in pairs)
    verdict = Verdict.HOLDS if kept == len(pairs) else Verdict.PARTLY if kept else Verdict.FAILS
    words = ", ".join(at(distance, tol) for tol, distance in reversed(pairs))
    return Claim(text, f"{words}; so at {kept} of {len(pairs)}", verdict, rule)


def inversion(runs: Runs) -> Artifact:
    """Continuous flows there and back."""
    flows = {name: measured(runs, name, "inversion") for name in FLOWS}
    columns = (
        Column("data"),
        TOLERANCE,
        Column("RMS |x − x′|"),
        Column("max |x − x′|"),
        Column("RMS error of log p"),
        Column("|mass − 1|"),
        Column("NFE to the base", 0),
        Column("NFE back", 0),
    )
    keys = (
        "distance_rms",
        "distance_max",
        "log_density_rms",
        "mass_error",
        "nfe_encode",
        "nfe_decode",
    )
    lines: list[list[Cell]] = []
    for name, rows in flows.items():
        for tol in reversed(values(rows.rows, "tolerance")):
            here = rows.where(tolerance=tol)
            lines.append([FLOWS[name], tol, *(median(here, key) for key in keys)])
    counts = sorted({str(rows.facts["examples"]) for rows in flows.values() if rows.facts})
    caption = f"{' or '.join(counts) or '?'} points of each; medians over the seeds probed."
    drawings = [
        drawing
        for name, rows in flows.items()
        for drawing in taken(
            f"inversion_{name}",
            rows.runs,
            "inversion.png",
            f"Density and samples at two tolerances beside the data, {FLOWS[name]}.",
            "Densities and samples in columns: the data, a loose and a tight tolerance.",
        )
    ]
    return Artifact(
        name="inversion",
        title="Error control on inversion",
        source="the slides' “error control on inversion”; section 6",
        about="Data x mapped to the base and back to x′ at the same tolerance, in float64.",
        claims=[_inverts(FLOWS[name], rows) for name, rows in flows.items()],
        tables=(Table("inversion", caption, columns, lines),),
        drawings=drawings,
        runs=runs_of(flows.values()),
        missing=unprobed(runs, FLOWS, "inversion"),
        probe="inversion",
    )


def _inverts(name: str, rows: Measured) -> Claim:
    text = f"The error of going there and back is controlled by the tolerance, {name}"
    rule = (
        f"holds: it falls with the tolerance and is at most {EXACT:g} times it; in part: it falls"
    )
    pairs = points(rows.rows, "tolerance", "distance_rms")
    if len(pairs) < 2:
        return Claim(text, "not measured", Verdict.OPEN, rule)
    words = ", ".join(at(distance, tol) for tol, distance in reversed(pairs))
    kept = all(distance <= EXACT * tol for tol, distance in pairs)
    part = Verdict.PARTLY if falls(pairs) else Verdict.FAILS
    return Claim(text, words, Verdict.HOLDS if kept and falls(pairs) else part, rule)
