"""Figure 3 d: how the number of evaluations grows with training."""

from collections.abc import Sequence

from node_repro.report import TOLERANCE, Artifact, Cell, Claim, Column, Drawing, Table, Verdict
from node_repro.report.absent import unprobed
from node_repro.report.measured import Row, groups, measured, median, points, values
from node_repro.report.plots import Lines, drawn
from node_repro.report.runs import Runs

EXPERIMENT = "table1_odenet"


def artifact(runs: Runs) -> Artifact:
    """Figure 3 d."""
    found_rows = measured(runs, EXPERIMENT, "epochs")
    recorded = found_rows.where(source="recorded")
    weights = [row for row in found_rows.rows if row.get("source") == "measured"]
    return Artifact(
        name="figure3d",
        title="Figure 3 d: evaluations over training",
        source="section 3, figure 3 d",
        about=(
            "Evaluations of f as recorded in training, and of the first, the selected and the last "
            "weights on single test digits."
        ),
        claims=[_grows(recorded, weights)],
        tables=(_weights(weights),),
        drawings=_over_training(recorded),
        notes=[
            "The paper's curve climbs from about 7 to 16 evaluations in 120 epochs, which does "
            "not fit its own panels a to c at a tolerance of 1e-3 (28 to 46); its tolerance is "
            "unknown.",
        ],
        runs=found_rows.runs,
        missing=unprobed(runs, [EXPERIMENT], "epochs"),
        probe="epochs",
    )


def _grows(recorded: Sequence[Row], weights: Sequence[Row]) -> Claim:
    text = "The number of evaluations grows with training"
    rule = (
        "holds: validation evaluations after the last epoch above the first's; in part: only those "
        "of single digits, last weights against fresh ones"
    )
    pairs = points(recorded, "step", "nfe_forward")
    if len(pairs) < 2:
        return Claim(text, "not measured", Verdict.OPEN, rule)
    (_, first), (_, last) = pairs[0], pairs[-1]
    fresh, end = (
        median([r for r in weights if r.get("weights") == w], "nfe_forward")
        for w in ("fresh", "last")
    )
    words = f"{first:.1f} after the first epoch, {last:.1f} after the last"
    if fresh is not None and end is not None:
        words += f"; single digits, median of all: {fresh:.1f} fresh, {end:.1f} last"
    grown = fresh is not None and end is not None and end > fresh
    verdict = Verdict.HOLDS if last > first else Verdict.PARTLY if grown else Verdict.FAILS
    return Claim(text, words, verdict, rule)


def _weights(rows: Sequence[Row]) -> Table:
    columns = (
        Column("weights, solver"),
        TOLERANCE,
        Column("iteration"),
        Column("NFE forward", 1),
        Column("NFE backward", 1),
    )
    lines: list[list[Cell]] = []
    parts = groups(rows, lambda row: f"{row['weights']}, {row['solver']}")
    for name, some in parts.items():
        for tolerance in reversed(values(some, "tolerance")):
            here = [row for row in some if row["tolerance"] == tolerance]
            step = median(here, "step")
            evaluations = [median(here, key) for key in ("nfe_forward", "nfe_backward")]
            lines.append([name, tolerance, None if step is None else int(step), *evaluations])
    return Table("figure3d", "Means over single test digits.", columns, lines)


def _over_training(recorded: Sequence[Row]) -> tuple[Drawing, ...]:
    names = {
        "nfe_forward": "forward, validation",
        "nfe_forward_training": "forward, training",
        "nfe_backward_training": "backward, training",
    }
    series = {words: points(recorded, "step", key) for key, words in names.items()}
    caption = "Evaluations of f after every epoch of training, at the training tolerance."
    alt = (
        "Evaluations over the iterations: forward on validation, forward and backward in training."
    )
    return drawn("figure3d", caption, alt, [Lines("iteration", "NFE", series)])
