"""Figure 3 d: evaluations of f over the training."""

from node_repro.report import paper
from node_repro.report.artifact import Claim
from node_repro.report.drawings import line_plots
from node_repro.report.probe_rows import TOLERANCE, Line, ProbeRows, median_column
from node_repro.report.rules import Condition, Rule
from node_repro.report.section import Parts, section
from node_repro.report.selection import Selection
from node_repro.report.tables import Column, Table

EXPERIMENT = "table1_odenet"


GROWS: Rule[tuple[float, float]] = Rule(
    Condition(
        "more evaluations in validation after the last epoch than after the first",
        lambda ends: ends[1] > ends[0],
    )
)
COLUMNS: list[Column[Line]] = [
    Column("weights, solver", lambda line: line.name),
    TOLERANCE,
    Column("iteration", lambda line: line.iteration),
    median_column("NFE forward", "nfe_forward", 1),
    median_column("NFE backward", "nfe_backward", 1),
]


@section(
    order=80,
    name="figure3d",
    title="Figure 3 d: evaluations over training",
    source="section 3, figure 3 d",
    experiments=[EXPERIMENT],
    probe="epochs",
)
def figure3d(selection: Selection) -> Parts:
    """Evaluations of f recorded during training; and those of the untrained, the selected and the
    last weights on single test digits.
    """
    from node_repro.figures.report_probes import Plot

    rows = ProbeRows.read(selection, EXPERIMENT, "epochs")
    recorded, digits = rows.where(source="recorded"), rows.where(source="measured")
    yield _grows(recorded, selection.decides)
    lines = digits.lines("weights", "solver")
    yield Table("figure3d", "Means over single test digits.", COLUMNS, lines)
    labels = {
        "forward, validation": "nfe_forward",
        "forward, training": "nfe_forward_training",
        "backward, training": "nfe_backward_training",
    }
    series = {label: recorded.medians("step", key) for label, key in labels.items()}
    yield from line_plots(
        "figure3d",
        "Evaluations of f after every epoch of training, at the training tolerance.",
        "Evaluations over the iterations: validation forward, training forward and backward.",
        [Plot("iteration", "NFE", series)],
    )
    yield (
        f"The paper's curve {paper.FIGURE_3D}, which does not fit its own panels a to c at a "
        "tolerance of 1e-3 (28 to 46); its tolerance is unknown."
    )


def _grows(recorded: ProbeRows, decides: bool) -> Claim:
    epochs = recorded.medians("step", "nfe_forward")
    ends = (epochs[0][1], epochs[-1][1]) if len(epochs) > 1 else None
    return GROWS.claim(
        "The number of evaluations grows with training",
        ends,
        lambda ends: f"{ends[0]:.1f} after the first epoch, {ends[1]:.1f} after the last",
        decides=decides,
    )
