"""Figure 3 d: evaluations of f over the training."""

from typing import NamedTuple

from node_repro.report import paper
from node_repro.report.artifact import Claim
from node_repro.report.drawings import line_plots
from node_repro.report.probe_rows import TOLERANCE, Line, ProbeRows, median_column
from node_repro.report.rules import Condition, Rule
from node_repro.report.section import Parts, section
from node_repro.report.selection import Selection
from node_repro.report.tables import Column, Table

EXPERIMENT = "table1_odenet"


class Evaluations(NamedTuple):
    """Validation evaluations after the first and the last epoch; single digits before and after."""

    first: float
    last: float
    fresh: float | None
    trained: float | None

    @property
    def grow_on_digits(self) -> bool:
        """Whether single digits take more evaluations after training than before it."""
        return self.fresh is not None and self.trained is not None and self.trained > self.fresh


GROWS: Rule[Evaluations] = Rule(
    Condition(
        "more evaluations in validation after the last epoch than after the first",
        lambda nfe: nfe.last > nfe.first,
    ),
    Condition(
        "more evaluations for single digits with the last weights than with untrained ones",
        lambda nfe: nfe.grow_on_digits,
    ),
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
    yield _grows(recorded, digits)
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


def _grows(recorded: ProbeRows, digits: ProbeRows) -> Claim:
    epochs = recorded.medians("step", "nfe_forward")
    fresh, trained = (digits.where(weights=w).median("nfe_forward") for w in ("fresh", "last"))
    known = len(epochs) > 1
    value = Evaluations(epochs[0][1], epochs[-1][1], fresh, trained) if known else None

    def describe(nfe: Evaluations) -> str:
        words = f"{nfe.first:.1f} after the first epoch, {nfe.last:.1f} after the last"
        if nfe.fresh is None or nfe.trained is None:
            return words
        return f"{words}; single digits, medians: {nfe.fresh:.1f} untrained, {nfe.trained:.1f} last"

    return GROWS.claim("The number of evaluations grows with training", value, describe)
