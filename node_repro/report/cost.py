"""What a minibatch costs, and forward sensitivities beside the adjoint."""

from node_repro.report import TOLERANCE, Artifact, Cell, Claim, Column, Table, Verdict
from node_repro.report.absent import unprobed
from node_repro.report.measured import (
    Measured,
    Row,
    falls,
    groups,
    measured,
    median,
    points,
    values,
)
from node_repro.report.plots import Lines, drawn
from node_repro.report.runs import Runs
from node_repro.report.spread import found
from node_repro.report.words import number
from node_repro.report.words import tolerance as told_tolerance

NETWORK = "table1_odenet"
FIELD = "demo_field_fit"
SUBSTANTIAL = 1.25


def minibatch_cost(runs: Runs) -> Artifact:
    """One solve of a minibatch against those of its examples."""
    rows = measured(runs, NETWORK, "minibatch_cost")
    columns = (
        Column("solver"),
        TOLERANCE,
        Column("NFE of the batch", 1),
        Column("mean of its digits", 1),
        Column("most of its digits", 1),
        Column("batch / mean", 2),
        Column("batch / most", 2),
    )
    lines: list[list[Cell]] = []
    for solver, some in groups(rows.rows, lambda row: str(row["solver"])).items():
        for tol in reversed(values(some, "tolerance")):
            here = [row for row in some if row["tolerance"] == tol]
            keys = ("nfe_batch", "nfe_mean", "nfe_max", "batch_over_mean", "batch_over_max")
            lines.append([solver, tol, *(median(here, key) for key in keys)])
    caption = f"Medians over minibatches of {rows.facts.get('examples_a_batch', '?')} test digits."
    return Artifact(
        name="minibatch_cost",
        title="What a minibatch costs",
        source="section 6, minibatching",
        about="A minibatch is solved as one system, with one step size for all of its examples.",
        claims=[_substantial(rows)],
        tables=(Table("minibatch_cost", caption, columns, lines),),
        runs=rows.runs,
        missing=unprobed(runs, [NETWORK], "minibatch_cost"),
        probe="minibatch_cost",
    )


def _substantial(rows: Measured) -> Claim:
    text = "Solving a minibatch at once does not increase the evaluations substantially"
    rule = f"holds: at most {SUBSTANTIAL} times the examples' mean in every row; in part: in some"
    parts = groups(rows.rows, lambda row: f"{row['solver']} at {told_tolerance(row['tolerance'])}")
    ratios = {way: median(some, "batch_over_mean") or 0.0 for way, some in parts.items()}
    if not ratios:
        return Claim(text, "not measured", Verdict.OPEN, rule)
    kept = sum(ratio <= SUBSTANTIAL for ratio in ratios.values())
    verdict = Verdict.HOLDS if kept == len(ratios) else Verdict.PARTLY if kept else Verdict.FAILS
    worst = max(ratios, key=lambda way: ratios[way])
    words = f"{min(ratios.values()):.2f} to {ratios[worst]:.2f} times the mean, most for {worst}"
    return Claim(text, words, verdict, rule)


def sensitivity_cost(runs: Runs) -> Artifact:
    """Forward sensitivities against the adjoint."""
    rows = measured(runs, FIELD, "sensitivity_cost")
    columns = (
        Column("field, gradient"),
        Column("D"),
        Column("K"),
        Column("numbers integrated", 0),
        Column("the paper's count", 0),
        Column("seconds", 4),
        Column("kB at most", 1),
    )
    lines: list[list[Cell]] = []
    for row in rows.rows:
        peak = found(row, "peak_bytes")
        sizes = [int(found(row, key) or 0) for key in ("states", "parameters")]
        rest = [found(row, key) for key in ("numbers", "numbers_paper", "seconds")]
        name = f"{row.get('field', '?')}, {row['gradient']}"
        lines.append([name, *sizes, *rest, None if peak is None else peak / 1e3])
    caption = "One gradient of the same solve by both methods; D states, K parameters."
    small = [{**row, "size": _size(row)} for row in rows.where(field="small")]
    parts = groups(small, lambda row: str(row["gradient"]))
    plots = [
        Lines(
            "D² + K D",
            label,
            {name: points(some, "size", key) for name, some in parts.items()},
            log_x=True,
            log_y=True,
        )
        for key, label in (("numbers", "numbers integrated"), ("seconds", "seconds a gradient"))
    ]
    return Artifact(
        name="sensitivity_cost",
        title="Forward sensitivities against the adjoint",
        source="section 7, related work: D² + K D numbers against 2 D + K + 1",
        about="Both differentiate the same solve, of small networks and of the demo's own field.",
        claims=[_cheaper(rows)],
        tables=(Table("sensitivity_cost", caption, columns, lines),),
        drawings=drawn(
            "sensitivity_cost",
            "Numbers integrated and seconds against D² + K D, over small networks.",
            "Forward sensitivities grow in proportion, the adjoint far more slowly.",
            plots,
        ),
        notes=[
            f"{name} is left out: {why}." for name, why in rows.facts.get("left_out", {}).items()
        ],
        runs=rows.runs,
        missing=unprobed(runs, [FIELD], "sensitivity_cost"),
        probe="sensitivity_cost",
    )


def _size(row: Row) -> float:
    d, k = (found(row, key) or 0.0 for key in ("states", "parameters"))
    return d * d + k * d


def _cheaper(rows: Measured) -> Claim:
    text = "The adjoint integrates fewer numbers than forward sensitivities, most so for large D"
    rule = "holds: the factor grows with D, at the largest K of each, and ends above 1"
    factors = []
    for d in values(rows.where(field="small"), "states"):
        here = [row for row in rows.where(field="small") if row["states"] == d]
        most = max(values(here, "parameters"))
        forward, adjoint = (
            median([r for r in here if r["parameters"] == most and r["gradient"] == g], "numbers")
            for g in ("forward", "adjoint")
        )
        if forward and adjoint:
            factors.append((d, forward / adjoint))
    if len(factors) < 2:
        return Claim(text, "not measured", Verdict.OPEN, rule)
    words = ", ".join(f"{number(factor, None)} at D = {d:g}" for d, factor in factors)
    verdict = Verdict.HOLDS if falls(factors) and factors[-1][1] > 1 else Verdict.FAILS
    return Claim(text, words, verdict, rule)
