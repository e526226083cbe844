"""Figure 5: flows trained by maximum likelihood on points in the plane."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from node_repro.report import margins
from node_repro.report.artifact import Claim, Drawing
from node_repro.report.comparisons import claim_lower, describe_mean, mean_at_most
from node_repro.report.drawings import format_seeds, run_arrays, run_picture
from node_repro.report.format import capitalised
from node_repro.report.section import Parts, section
from node_repro.report.selection import Seeds, Selection
from node_repro.report.statistics import Spread, percent, spread
from node_repro.report.tables import Column, Table

if TYPE_CHECKING:
    from node_repro.figures.flow_stages import Stages

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
DATA = ("circles", "moons")
"""Data of the paper's figure, with which both kinds of flow are trained."""
MIDDLE = 0.6
"""Fraction of the flow at which samples outside the frame are counted."""


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

    @property
    def outside(self) -> Spread | None:
        """Share of the samples that are outside the frame at MIDDLE."""
        return spread(_outside(arrays) for arrays in self._stages)

    @property
    def detour(self) -> Spread | None:
        """Mean length of the samples' paths over their mean distance from the first stage."""
        return spread(_detour(arrays) for arrays in self._stages)

    @property
    def _stages(self) -> list[Mapping[str, Any]]:
        return [arrays for run in self.seeds if (arrays := run.arrays("pictures/panels.npz"))]


def _outside(arrays: Mapping[str, Any]) -> float:
    stage = abs(arrays["fractions"] - MIDDLE).argmin()
    return float((abs(arrays["samples"][stage]).max(axis=-1) > arrays["side"]).mean())


def _detour(arrays: Mapping[str, Any]) -> float:
    """With straight pieces between the stages, so that it is a lower bound for a smooth path."""
    samples = arrays["samples"]
    steps, whole = samples[1:] - samples[:-1], samples[-1] - samples[0]
    length = ((steps**2).sum(axis=-1) ** 0.5).sum(axis=0).mean()
    return float(length / ((whole**2).sum(axis=-1) ** 0.5).mean())


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
SMOOTHNESS: list[Column[Flow]] = [
    Column("data, flow", lambda flow: flow.name),
    Column("outside, %", lambda flow: percent(flow.outside), 1),
    Column("detour", lambda flow: flow.detour, 2),
    Column("seeds", lambda flow: flow.seeds.count),
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
    yield from (_closer(flows, data, selection.decides) for data in DATA)
    yield from (_fitted(flows[key], selection.decides) for key in FITTED)
    for data in DATA:
        yield from _smoother(flows, data, selection.decides)
    caption = (
        "Negative log-likelihood of fresh test points under the last model, mean ± standard "
        "deviation over seeds, and its excess over the entropy."
    )
    yield Table("figure5", caption, COLUMNS, [flow for flow in flows.values() if flow.seeds])
    yield from _grid(flows)
    compared = [flow for flow in (one for data in DATA for one in _pair(flows, data)) if flow.seeds]
    caption = (
        f"How flows get from the base to the data. Outside: share of samples that leave the frame "
        f"of the pictures at {100 * MIDDLE:.0f} % of the flow. Detour: mean length of the samples' "
        "paths through the stages of the figure, over their mean distance between its first and "
        "last stage; 1 is a straight line."
    )
    yield Table("figure5_smoothness", caption, SMOOTHNESS, compared)
    for key, flow in flows.items():
        if key in FITTED:
            yield from _animation(flow)
        elif flow not in compared:
            yield from _pictures(flow)
    yield "The planar flow maps data to base; its inverse for the samples is found by bisection."
    yield (
        "The paper calls the CNF's stages smooth and the NF's hard to understand, without a "
        "measure; the two in the table are ours, chosen after figures like these had been seen."
    )
    yield "The paper gives neither likelihoods for this figure nor its data's noise."


def _fitted(flow: Flow, decides: bool) -> Claim:
    return FITS.claim(
        f"{capitalised(flow.name)}: the flow fits the data",
        flow.kl,
        lambda kl: f"above the entropy by {describe_mean(kl, 3, ' nats')}",
        decides=decides,
        of_paper=False,
    )


def _pair(flows: Mapping[str, Flow], data: str) -> tuple[Flow, Flow]:
    """The continuous and the planar flow of one data set."""
    return flows[f"fig5_{data}_cnf"], flows[f"fig5_{data}_nf"]


def _closer(flows: Mapping[str, Flow], data: str, decides: bool) -> Claim:
    cnf, nf = _pair(flows, data)
    text = f"{capitalised(cnf.data)}: the CNF is closer to the data than the NF"
    return claim_lower(text, cnf.kl, nf.kl, 3, " nats", decides=decides)


def _smoother(flows: Mapping[str, Flow], data: str, decides: bool) -> Parts:
    cnf, nf = _pair(flows, data)
    name = capitalised(cnf.data)
    text = f"{name}: fewer samples of the CNF than of the NF leave the frame on their way"
    yield claim_lower(text, percent(cnf.outside), percent(nf.outside), 1, " %", decides=decides)
    text = f"{name}: the CNF takes its samples to the data by a shorter way than the NF"
    yield claim_lower(text, cnf.detour, nf.detour, 2, decides=decides)


def _grid(flows: Mapping[str, Flow]) -> Parts:
    from node_repro.figures.flow_stages import Fields, fields, stages

    blocks: dict[str, Stages] = {}
    velocities: dict[str, Fields] = {}
    seeds = set()
    for data in DATA:
        cnf, nf = _pair(flows, data)
        found = {flow.key: run_arrays(flow.seeds, "panels.npz") for flow in (cnf, nf)}
        if block := _stages_of(cnf, nf, found[cnf.key], found[nf.key]):
            blocks[capitalised(cnf.data)] = block
            seeds |= {one[0] for one in found.values() if one}
        if (one := found[cnf.key]) and "velocity" in one[1]:
            arrays = one[1]
            parts = (arrays[key] for key in ("velocity", "places"))
            velocities[capitalised(cnf.data)] = Fields(
                arrays["fractions"], float(arrays["side"]), *parts
            )
    if blocks:
        caption = (
            "Densities and samples of the continuous flow and densities of the planar flow, at "
            "fractions of the time from the base or of the depth, with the data. The colours of a "
            "data set go from 0 to the maximum of its density, and higher densities have the "
            f"colour of that maximum. KL: of the selected model, in nats. {format_seeds(seeds)}"
        )
        alt = f"A grid of {', '.join(blocks)}: from a Gaussian to the data in six columns."
        yield Drawing("figure5_stages", caption, alt, stages(blocks))
    if velocities:
        caption = (
            "Streamlines of the continuous flows' fields f(t), and of f(t) less its mean over the "
            f"stages, coloured by speed; one scale for each data set. {format_seeds(seeds)}"
        )
        alt = f"Vector fields of {', '.join(velocities)} at six times, and how they change."
        yield Drawing("figure5_fields", caption, alt, fields(velocities))


Found = tuple[int, Mapping[str, Any]] | None
"""A seed and the arrays of its figure."""


def _stages_of(cnf: Flow, nf: Flow, found: Found, planar: Found) -> "Stages | None":
    from node_repro.figures.flow_stages import Stages

    if (one := found or planar) is None:
        return None
    arrays = one[1]
    return Stages(
        target=arrays["target"],
        points=arrays["points"],
        fractions=arrays["fractions"],
        side=float(arrays["side"]),
        density=found[1]["density"] if found else None,
        samples=found[1]["samples"] if found else None,
        planar=planar[1]["density"] if planar else None,
        labels=(_label(cnf, found, "M", "width"), _label(nf, planar, "K", "depth")),
    )


def _label(flow: Flow, found: Found, letter: str, size: str) -> str:
    """As in "CNF, M = 64, 3,000 iterations, tolerance 1e-05, KL 0.010"; fonts lack superscripts."""
    if found is None:
        return ""
    (run,) = (run for run in flow.seeds if run.seed == found[0])
    words = [flow.name.rpartition(", ")[2]]
    if value := run.config.get("model", {}).get(size):
        words.append(f"{letter} = {value}")
    if run.result is not None:
        words.append(f"{run.result.iterations:,} iterations")
    if tolerance := run.config.get("rtol"):
        words.append(f"tolerance {float(tolerance):g}")
    if (kl := flow.seeds.tests_by_seed("kl_nats").get(run.seed)) is not None:
        words.append(f"KL {kl:.3f}")
    return ", ".join(words)


def _pictures(flow: Flow) -> Parts:
    caption = (
        f"{capitalised(flow.name)}: density, samples and streamlines of the field at 5, 20, 40, "
        "60, 80 and 100 % of the time from the base, the target at the right. Densities have one "
        "scale of colours, which ends at the maximum of the target."
    )
    alt = f"The flow from a Gaussian to {flow.data} in six columns, and the target."
    yield from run_picture(flow.key, flow.seeds, "panels.png", caption, alt)


def _animation(flow: Flow) -> Parts:
    caption = f"{capitalised(flow.data)}: the continuous flow, animated."
    alt = f"The flow from a Gaussian to {flow.data}. Animated."
    name = f"{flow.key}_animation"
    yield from run_picture(name, flow.seeds, "animation.gif", caption, alt)
