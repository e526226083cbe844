"""Figure 5: flows trained by maximum likelihood on points in the plane."""

from collections.abc import Mapping
from typing import NamedTuple

from node_repro.report import margins
from node_repro.report.artifact import Claim
from node_repro.report.comparisons import claim_lower, describe_mean, mean_at_most
from node_repro.report.drawings import run_picture
from node_repro.report.format import capitalised
from node_repro.report.section import Parts, section
from node_repro.report.selection import Seeds, Selection
from node_repro.report.statistics import Spread
from node_repro.report.tables import Column, Table

FLOWS = {
    "fig5_circles_cnf": "two circles, CNF",
    "fig5_circles_nf": "two circles, NF",
    "fig5_moons_cnf": "two moons, CNF",
    "fig5_moons_nf": "two moons, NF",
    "fig5_circles_hutchinson": "two circles, perceptron with estimated trace",
    "fig5_eight_gaussians": "eight Gaussians, CNF",
    "fig5_pinwheel": "pinwheel, CNF",
    "fig5_checkerboard": "checkerboard, CNF",
    "fig5_two_spirals": "two spirals, CNF",
}
FITS = mean_at_most("NLL above the entropy", margins.KL_FIGURE_5, " nats")
FITTED = ("fig5_circles_cnf", "fig5_moons_cnf")
"""Flows that are judged, and animated."""


class Flow(NamedTuple):
    """A row of the table."""

    key: str
    seeds: Seeds

    @property
    def name(self) -> str:
        """Data and kind of flow, in words."""
        return FLOWS[self.key]

    @property
    def data(self) -> str:
        """The data, in words."""
        return self.name.partition(",")[0]

    @property
    def entropy(self) -> Spread | None:
        """Entropy of the distribution of the points, in nats."""
        return self.seeds.diagnostic("entropy_nats")

    @property
    def kl(self) -> Spread | None:
        """Negative log-likelihood of the last model above the entropy, in nats."""
        return self.seeds.test("kl_nats", "last")


COLUMNS: list[Column[Flow]] = [
    Column("data, flow", lambda flow: flow.name),
    Column("NLL, nats", lambda flow: flow.seeds.test("nll_nats", "last"), 3),
    Column("entropy, nats", lambda flow: flow.entropy and flow.entropy.mean, 3),
    Column("NLL − entropy", lambda flow: flow.kl, 3),
    Column("mass on a grid", lambda flow: flow.seeds.diagnostic("mass"), 4),
    Column("seeds", lambda flow: flow.seeds.count),
    Column("parameters", lambda flow: flow.seeds.parameters),
    Column("iterations", lambda flow: flow.seeds.iterations),
    Column("NFE", lambda flow: flow.seeds.test("nfe_forward", "last"), 0),
    Column("s/iteration", lambda flow: flow.seeds.training("step_seconds"), 3),
]


@section(
    order=150,
    name="figure5",
    title="Figure 5: maximum likelihood training",
    source="section 4.2, figure 5",
    experiments=FLOWS,
)
def figure5(selection: Selection) -> Parts:
    """Flows are trained on points by maximum likelihood, from the data to the base, and solved
    backwards to sample. The score is the negative log-likelihood (NLL) above the entropy of the
    distribution of the points: zero is perfect.
    """
    flows = {key: Flow(key, selection.seeds(key)) for key in FLOWS}
    yield from (_closer(flows, data, selection.decides) for data in ("circles", "moons"))
    yield from (_fitted(flows[key], selection.decides) for key in FITTED)
    caption = (
        "Negative log-likelihood of fresh test points under the last model, mean ± standard "
        "deviation over seeds, and its excess over the entropy."
    )
    yield Table("figure5", caption, COLUMNS, [flow for flow in flows.values() if flow.seeds])
    for flow in flows.values():
        yield from _pictures(flow)
    yield "The planar flow maps data to base; its inverse for the samples is found by bisection."
    yield "The paper gives neither likelihoods for this figure nor its data's noise."


def _fitted(flow: Flow, decides: bool) -> Claim:
    return FITS.claim(
        f"{capitalised(flow.name)}: the flow fits the data",
        flow.kl,
        lambda kl: f"above the entropy by {describe_mean(kl, 3, ' nats')}",
        decides=decides,
        of_paper=False,
    )


def _closer(flows: Mapping[str, Flow], data: str, decides: bool) -> Claim:
    cnf, nf = (flows[f"fig5_{data}_{kind}"] for kind in ("cnf", "nf"))
    text = f"{capitalised(cnf.data)}: the CNF is closer to the data than the NF"
    return claim_lower(text, cnf.kl, nf.kl, 3, " nats", decides=decides)


def _pictures(flow: Flow) -> Parts:
    field = "" if flow.name.endswith(" NF") else " and streamlines of the field"
    caption = (
        f"{capitalised(flow.name)}: density, samples{field} at 5, 20, 40, 60, 80 and 100 % of the "
        "time from the base, the target at the right. Densities have one scale of colours, which "
        "ends at the maximum of the target."
    )
    alt = f"The flow from a Gaussian to {flow.data} in six columns, and the target."
    yield from run_picture(flow.key, flow.seeds, "panels.png", caption, alt)
    if flow.key in FITTED:
        caption, alt = f"{capitalised(flow.data)}: the same flow, animated.", f"{alt} Animated."
        name = f"{flow.key}_animation"
        yield from run_picture(name, flow.seeds, "animation.gif", caption, alt)
