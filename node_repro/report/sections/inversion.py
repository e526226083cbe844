"""Continuous flows solved to the base and back."""

from node_repro.report import margins
from node_repro.report.artifact import Claim
from node_repro.report.comparisons import describe_mean, mean_between
from node_repro.report.drawings import run_picture
from node_repro.report.format import describe_fall, describe_met, format_at
from node_repro.report.probe_rows import TOLERANCE, Line, ProbeRows, median_column
from node_repro.report.rules import Condition, Rule, every, increasing
from node_repro.report.section import Parts, section
from node_repro.report.selection import Selection
from node_repro.report.statistics import Pairs, Spread, spread
from node_repro.report.tables import Column, Table

FLOWS = {
    "fig5_circles_cnf": "two circles",
    "fig5_moons_cnf": "two moons",
    "fig5_pinwheel": "pinwheel",
    "fig5_eight_gaussians": "eight Gaussians",
}
OF_PAPER = {"fig5_circles_cnf", "fig5_moons_cnf"}
"""The other data sets are not in the paper."""

FALLS = increasing("the error falls with the tolerance")
NEAR: Condition[tuple[float, float]] = Condition(
    f"it is ≤ {margins.TOLERANCES:g} × tolerance",
    lambda pair: pair[1] <= margins.TOLERANCES * pair[0],
)
EASY = mean_between(
    "NFE back over NFE to the base", 1 / margins.INVERSE_FACTOR, margins.INVERSE_FACTOR
)
CONTROLLED = Rule(FALLS & every(NEAR, "at every tolerance"))

COLUMNS: list[Column[Line]] = [
    Column("data", lambda line: line.name),
    TOLERANCE,
    median_column("RMS |x − x′|", "distance_rms"),
    median_column("max |x − x′|", "distance_max"),
    median_column("RMS error of log p", "log_density_rms"),
    median_column("|mass − 1|", "mass_error"),
    median_column("NFE to the base", "nfe_encode", 0),
    median_column("NFE back", "nfe_decode", 0),
]


@section(
    order=160,
    name="inversion",
    title="Error control of the inverse of a flow",
    source="section 6; “error control on inversion” in the authors' slides",
    experiments=FLOWS,
    probe="inversion",
)
def inversion(selection: Selection) -> Parts:
    """Data x mapped to the base and back to x′ at the same tolerance, in float64."""
    flows = {key: ProbeRows.read(selection, key, "inversion") for key in FLOWS}
    lines = []
    for key, rows in flows.items():
        yield _claim(key, rows)
        lines += [Line(FLOWS[key], *one) for one in rows.by_tolerance()]
        yield from run_picture(
            f"inversion_{key}",
            selection.probed(key, "inversion"),
            "inversion.png",
            f"Density, samples and error |x − x′| of points x of the data at two tolerances beside "
            f"the data, {FLOWS[key]}, with the evaluations (NFE) of both directions.",
            "Densities, samples and errors in columns: the data, a large and a small tolerance.",
        )
    yield _easy(selection)
    counts = sorted({str(rows.facts["examples"]) for rows in flows.values() if rows.facts})
    caption = f"{' or '.join(counts) or '?'} points of each; medians over the seeds probed."
    yield Table("inversion", caption, COLUMNS, lines)


def _claim(key: str, rows: ProbeRows) -> Claim:
    text = f"The error of mapping to the base and back is controlled by the tolerance, {FLOWS[key]}"
    pairs = rows.medians("tolerance", "distance_rms")

    def describe(pairs: Pairs) -> str:
        distances = ", ".join(format_at(distance, t) for t, distance in reversed(pairs))
        met = describe_met(pairs, NEAR.test)
        return f"{distances}; {describe_fall(pairs)}; within the limit {met}"

    value = pairs if len(pairs) > 1 else None
    return CONTROLLED.claim(text, value, describe, of_paper=key in OF_PAPER)


def _easy(selection: Selection) -> Claim:
    """The ratio of evaluations in the two directions, summed over tolerances, of every flow."""
    ratios = []
    for key in FLOWS:
        for run in selection.probed(key, "inversion"):
            rows = ProbeRows(run.probes["inversion"]["rows"])
            there, back = (
                sum(nfe for _, nfe in rows.pairs("tolerance", name))
                for name in ("nfe_encode", "nfe_decode")
            )
            if there:
                ratios.append(back / there)

    def describe(ratio: Spread) -> str:
        return f"ratio {describe_mean(ratio, 3)}, over {len(ratios)} trained flows"

    text = "A continuous flow is about as easily inverted as run forward"
    return EASY.claim(text, spread(ratios), describe)
