"""Figure 1, and the seeds' pictures beside it: a residual network as Euler's method."""

from node_repro.report import TOLERANCE, Artifact, Cell, Claim, Column, Drawing, Table, Verdict
from node_repro.report.absent import missing, unprobed
from node_repro.report.measured import Measured, measured, median
from node_repro.report.pictures import first_arrays, of_seeds, taken
from node_repro.report.runs import Runs
from node_repro.report.spread import score

NETWORKS = {"fig1_resnet": "residual network", "fig1_odenet": "ODE network"}
ORDERS = {"euler": 1, "midpoint": 2, "rk4": 4}
NEAR = 0.2  # of an order


def artifact(runs: Runs) -> Artifact:
    """Both networks' ways through the depth."""
    cells = {name: runs.of(name) for name in NETWORKS}
    columns = (
        Column("network"),
        Column("parameters"),
        Column("test RMSE", 3),
        Column("NFE", 0),
        Column("seeds"),
    )
    rows: list[list[Cell]] = [
        [
            NETWORKS[name],
            (done[0].result or {})["parameters"],
            score(done, "rmse_values"),
            score(done, "nfe_forward"),
            len(done),
        ]
        for name, done in cells.items()
        if done
    ]
    return Artifact(
        name="figure1",
        title="Figure 1: a residual network and an ODE network",
        source="section 1, figure 1",
        about=(
            "Both learn the same map of a line. The residual network moves its state in five "
            "jumps, the ODE network along a field; dots are where they were evaluated."
        ),
        tables=(Table("figure1", "The two networks of the figure.", columns, rows),),
        drawings=_pair(runs),
        runs=tuple(run for done in cells.values() for run in done),
        missing=missing(runs, NETWORKS),
    )


def _pair(runs: Runs) -> tuple[Drawing, ...]:
    from node_repro.figures.depth import figure1
    from node_repro.figures.journal import styled

    drawn = [found for name in NETWORKS if (found := first_arrays(runs.of(name), "figure1.npz"))]
    if not drawn:
        return ()
    caption = (
        "Ways of eleven inputs through the depth, upwards; arrows are what the layers add and what "
        f"the field is. {of_seeds(seed for seed, _ in drawn)}"
    )
    alt = "Left: straight lines between five layers. Right: smooth curves along a field of arrows."
    files = styled(lambda: figure1([arrays for _, arrays in drawn]))
    return (Drawing("figure1", caption, alt, files),)


def solvers(runs: Runs) -> Artifact:
    """Euler, Runge-Kutta and adaptive steps on the field of figure 1."""
    rows = measured(runs, "fig1_odenet", "solvers")
    columns = (
        Column("solver"),
        Column("steps"),
        TOLERANCE,
        Column("NFE"),
        Column("RMS error"),
        Column("relative"),
    )
    lines: list[list[Cell]] = [
        [
            row["solver"],
            row["steps"],
            row["tolerance"],
            row["nfe"],
            row["error_rms"],
            row["error_relative_rms"],
        ]
        for row in rows.rows
    ]
    pictures = (
        ("solvers_paths.png", "The same field solved in five ways, with the places of evaluation."),
        ("solvers_error.png", "Error of the final state against evaluations of the field."),
    )
    caption = f"Errors against {rows.facts.get('reference', 'a reference')}, over all seeds probed."
    return Artifact(
        name="solvers",
        title="From Euler to adaptive steps on one learned field",
        source="the slides of seed 002: a residual network is Euler's method with steps of one",
        about="The field that the ODE network of figure 1 learned, solved by other methods.",
        claims=[_orders(rows), _residual(rows)],
        tables=(Table("solvers", caption, columns, lines),),
        drawings=[
            drawing
            for file, words in pictures
            for drawing in taken(file.partition(".")[0], rows.runs, file, words, words)
        ],
        runs=rows.runs,
        missing=unprobed(runs, ["fig1_odenet"], "solvers"),
        probe="solvers",
    )


def _orders(rows: Measured) -> Claim:
    text = "Methods of higher order are as much more exact as their order says"
    rule = f"holds: observed orders within {NEAR} of 1, 2 and 4 for Euler, midpoint and RK4"
    observed = rows.facts.get("observed_order")
    if not observed:
        return Claim(text, "not measured", Verdict.OPEN, rule)
    near = all(abs(observed[name] - order) <= NEAR for name, order in ORDERS.items())
    words = ", ".join(f"{name} {observed[name]:.2f}" for name in ORDERS)
    return Claim(text, words, Verdict.HOLDS if near else Verdict.FAILS, rule)


def _residual(rows: Measured) -> Claim:
    text = "Steps of one layer, a residual network's, are far too long for the learned field"
    rule = "holds: Euler's relative error with a step a layer is above 0.1"
    layers = rows.facts.get("depth")
    error = median(rows.where(solver="euler", steps=layers), "error_relative_rms")
    if error is None:
        return Claim(text, "not measured", Verdict.OPEN, rule)
    verdict = Verdict.HOLDS if error > 0.1 else Verdict.FAILS
    return Claim(text, f"relative error {error:.2f} with {layers:g} steps", verdict, rule)
