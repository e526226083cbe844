"""Figure 2: the adjoint along a trajectory, which jumps at every observation."""

from node_repro.report.drawings import run_picture
from node_repro.report.format import describe_fall, format_at
from node_repro.report.probe_rows import ProbeRows, Row
from node_repro.report.rules import Rule, increasing
from node_repro.report.section import Parts, section
from node_repro.report.selection import Selection, get_number
from node_repro.report.statistics import Pairs
from node_repro.report.tables import Column, Table

EXPERIMENT = "demo_field_fit"

FALLS = Rule(increasing("the largest error falls at every step of the tolerance"))

COLUMNS: list[Column[Row]] = [
    Column("tolerance", lambda row: get_number(row, "tolerance"), power=True),
    Column("adjoint along the path", lambda row: get_number(row, "adjoint_error")),
    Column("dL/dz(t0) by the gradient method", lambda row: get_number(row, "method_error")),
    Column("state, absolute", lambda row: get_number(row, "state_error")),
    Column("NFE backward", lambda row: get_number(row, "nfe"), 0),
]


@section(
    order=45,
    name="figure2",
    title="Figure 2: the adjoint jumps at every observation",
    source="section 2, figure 2",
    experiments=[EXPERIMENT],
    probe="adjoint_path",
)
def figure2(selection: Selection) -> Parts:
    """Figure 2 of the paper is a sketch. Here it is computed: a learned field is solved to the
    observations of a trajectory, and state and adjoint are solved backwards from one observation to
    the one before it. The loss is half the sum of the squared distances from the observations.
    """
    rows = ProbeRows.read(selection, EXPERIMENT, "adjoint_path")
    pairs = rows.medians("tolerance", "adjoint_error")

    def describe(pairs: Pairs) -> str:
        errors = ", ".join(format_at(error, t) for t, error in reversed(pairs))
        return f"relative error {errors}, {describe_fall(pairs)}"

    yield FALLS.claim(
        "Solved backwards with a jump at each observation, the adjoint is dL/dz(t) at every time",
        pairs if len(pairs) > 1 else None,
        describe,
    )
    yield from run_picture(
        "figure2",
        selection.probed(EXPERIMENT, "adjoint_path"),
        "figure2.png",
        "State and adjoint of a learned field. Crosses are gradients by autograd through the steps "
        "of a fine solve from that time on.",
        "Above two curves with observations; below their adjoints, with a jump at each of them.",
    )
    caption = (
        f"Largest errors at and between {rows.facts.get('observations', '?')} observations, those "
        "of adjoints relative to the largest adjoint, against "
        f"{rows.facts.get('reference', 'a reference')}."
    )
    yield Table("figure2", caption, COLUMNS, rows)
    yield (
        "The state's error at the observations is an error of the loss and of its jumps, so that "
        "errors of the adjoint contain those of the state, multiplied by the sensitivity of the "
        "trajectory."
    )
