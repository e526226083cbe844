"""Reconstruction of the initial state by solving backwards."""

from node_repro.report import margins
from node_repro.report.artifact import Claim
from node_repro.report.format import describe_met, format_at
from node_repro.report.probe_rows import ProbeRows, plot_by_tolerance, table_by_tolerance
from node_repro.report.rules import Condition, Rule, every
from node_repro.report.section import Parts, section
from node_repro.report.selection import Selection
from node_repro.report.statistics import Pairs

NETWORK = "table1_odenet"

NEAR: Condition[tuple[float, float]] = Condition(
    f"relative distance ≤ {margins.TOLERANCES:g} × tolerance",
    lambda pair: pair[1] <= margins.TOLERANCES * pair[0],
)
RECOVERED = Rule(every(NEAR, "at every tolerance"))


@section(
    order=110,
    name="reconstruction",
    title="Reconstruction: solving backwards to the initial state",
    source="section 6, “informally checked”",
    experiments=[NETWORK],
    probe="reconstruction",
)
def reconstruction(selection: Selection) -> Parts:
    """The state solved from t1 back to t0: alone, within the adjoint's backward solve, and by
    undoing the steps of a reversible method.
    """
    rows = ProbeRows.read(selection, NETWORK, "reconstruction")
    groups, file = rows.groups("back", "solver"), f"reconstruction_{NETWORK}"
    yield _claim(rows)
    caption = (
        f"{NETWORK}: relative root mean square distance from the initial state, medians over "
        "minibatches."
    )
    yield table_by_tolerance(file, caption, "way back, solver", groups, "relative_rms")
    caption = f"Distance from the initial state against the tolerance, {NETWORK}."
    yield from plot_by_tolerance(file, caption, "relative distance", groups, "relative_rms")


def _claim(rows: ProbeRows) -> Claim:
    text = f"Solving backwards recovers the initial state to about the tolerance, dopri5, {NETWORK}"
    pairs = rows.where(back="solved", solver="dopri5").medians("tolerance", "relative_rms")

    def describe(_: Pairs) -> str:
        distances = ", ".join(format_at(distance, t) for t, distance in reversed(pairs))
        return f"{distances}; within the limit {describe_met(pairs, NEAR.test)}"

    return RECOVERED.claim(text, pairs or None, describe)
