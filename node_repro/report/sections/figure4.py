"""Figure 4: continuous and planar flows fitted to densities, by size."""

from collections.abc import Iterable
from typing import NamedTuple

from node_repro.report import margins
from node_repro.report.artifact import Claim, Drawing
from node_repro.report.comparisons import claim_lower, describe_mean, mean_at_most
from node_repro.report.drawings import format_seeds, run_arrays
from node_repro.report.section import Parts, section
from node_repro.report.selection import Seeds, Selection
from node_repro.report.statistics import Spread
from node_repro.report.tables import Column, Table

SIZES = (2, 8, 32)
TARGETS = {"u1": "U1", "u2": "U2", "u3": "U3", "u4": "U4"}
OF_PAPER = {"u1", "u2", "u3"}
"""The paper shows three targets."""
KINDS = {
    "cnf": "CNF",
    "nf": "NF",
    "nf_fair": "NF, the CNF's iterations",
    "cnf_constant": "CNF, weights constant in time",
    "nf_rmsprop": "NF, RMSprop as in Rezende and Mohamed",
    "cnf_short": "CNF, t from 0 to 1",
}
VARIANTS = {"nf_fair": SIZES, "cnf_constant": (32,), "nf_rmsprop": (32,), "cnf_short": (32,)}
"""Of U1 only."""

NEAR = {target: mean_at_most("KL", limit, " nats") for target, limit in margins.KL_FIGURE_4.items()}


class Fit(NamedTuple):
    """A place in the grid of figure 4: a flow of a kind and size, fitted to a target."""

    target: str
    kind: str
    size: int
    seeds: Seeds = Seeds()

    @property
    def experiment(self) -> str:
        """The experiment's name."""
        return f"fig4_{self.target}_{self.kind}_{self.size}"

    @property
    def kl(self) -> Spread | None:
        """Divergence of the last model from the target, in nats."""
        return self.seeds.test("kl_nats", "last")

    @property
    def floor(self) -> Spread | None:
        """-log Z, in nats."""
        return self.seeds.diagnostic("floor_nats")


PLACES = [
    *(Fit(t, kind, size) for t in TARGETS for kind in ("cnf", "nf") for size in SIZES),
    *(Fit("u1", kind, size) for kind, sizes in VARIANTS.items() for size in sizes),
]
COLUMNS: list[Column[Fit]] = [
    Column("target, flow", lambda fit: f"{TARGETS[fit.target]}, {KINDS[fit.kind]}"),
    Column("K or M", lambda fit: fit.size),
    Column("parameters", lambda fit: fit.seeds.parameters),
    Column("loss, nats", lambda fit: fit.seeds.test("loss_nats", "last"), 3),
    Column("floor −log Z", lambda fit: fit.floor and fit.floor.mean, 3),
    Column("KL = loss − floor", lambda fit: fit.kl, 3),
    Column("seeds", lambda fit: fit.seeds.count),
    Column("iterations", lambda fit: fit.seeds.iterations),
    Column("NFE", lambda fit: fit.seeds.test("nfe_forward", "last"), 0),
    Column("s/iteration", lambda fit: fit.seeds.training("step_seconds"), 4),
]


@section(
    order=140,
    name="figure4",
    title="Figure 4: continuous against planar flows",
    source="section 4.1, figure 4",
    experiments=[fit.experiment for fit in PLACES],
)
def figure4(selection: Selection) -> Parts:
    """A continuous normalizing flow (CNF) of M units and a planar normalizing flow (NF) of K maps
    are fitted to energies by minimising KL(q || p). The loss is at least −log Z.
    """
    fits = [fit._replace(seeds=selection.seeds(fit.experiment)) for fit in PLACES]
    for target in TARGETS:
        pairs = zip(_select(fits, target, "cnf"), _select(fits, target, "nf"), strict=True)
        yield from (_closer(cnf, nf, selection.decides) for cnf, nf in pairs)
    yield from (_near(_select(fits, target, "cnf")[-1], selection.decides) for target in TARGETS)
    caption = (
        "Test loss of the last model on fresh samples, mean ± standard deviation over seeds. KL is "
        "the divergence of the flow from the target."
    )
    yield Table("figure4", caption, COLUMNS, [fit for fit in fits if fit.seeds])
    yield from _losses(fits)
    yield from _densities(fits)
    yield (
        "The paper does not name its targets; these are U1 to U4 of Rezende and Mohamed (2015). "
        "U2 to U4 cannot be normalised on the plane and get a soft wall at ±4."
    )
    yield (
        "Optimisers, iterations and parameters of the two flows differ, in the paper and here; "
        "“NF, the CNF's iterations” gives the planar flow the continuous one's iterations."
    )


def _select(fits: Iterable[Fit], target: str, kind: str) -> list[Fit]:
    return [fit for fit in fits if (fit.target, fit.kind) == (target, kind)]


def _closer(cnf: Fit, nf: Fit, decides: bool) -> Claim:
    text = f"{TARGETS[cnf.target]}, M = K = {cnf.size}: the CNF is closer to the target than the NF"
    of_paper = cnf.target in OF_PAPER
    return claim_lower(text, cnf.kl, nf.kl, 3, " nats", decides=decides, of_paper=of_paper)


def _near(cnf: Fit, decides: bool) -> Claim:
    text = f"{TARGETS[cnf.target]}: the CNF of {cnf.size} units fits the target closely"
    return NEAR[cnf.target].claim(
        text,
        cnf.kl,
        lambda kl: f"KL {describe_mean(kl, 4, ' nats')}",
        decides=decides,
        of_paper=False,
    )


def _losses(fits: list[Fit]) -> Parts:
    from node_repro.figures.report_flows import Curve, losses

    panels = {}
    for target, name in TARGETS.items():
        curves = []
        for kind, label in KINDS.items():
            here = _select(fits, target, kind)
            by_size = {f.size: f.seeds.tests("loss_nats", "last") for f in here if f.seeds}
            if by_size := {size: losses for size, losses in by_size.items() if losses}:
                curves.append(Curve(label, by_size, extra=kind not in ("cnf", "nf")))
        floors = [fit.floor.mean for fit in fits if fit.target == target and fit.floor]
        if curves and floors:
            panels[name] = (floors[0], curves)
    if panels:
        caption = (
            "KL of the last model, test loss + log Z, against the number of units M or maps K. "
            "Lines are means over seeds, dots single seeds; thin lines are not in the paper."
        )
        alt = f"KL over size for {', '.join(panels)}: the numbers of the table as curves."
        yield Drawing("figure4_losses", caption, alt, losses(panels))


def _densities(fits: list[Fit]) -> Parts:
    from node_repro.figures.report_flows import density_grid

    targets, seeds = {}, set()
    for target, name in TARGETS.items():
        true, shown = None, {"K": {}, "M": {}}
        for label, kind in (("K", "nf"), ("M", "cnf")):
            for fit in _select(fits, target, kind):
                if found := run_arrays(fit.seeds, "density.npz"):
                    seed, arrays = found
                    true = arrays["Target"]
                    kl = fit.seeds.tests_by_seed("kl_nats").get(seed)
                    shown[label][fit.size] = arrays["Model"], kl
                    seeds.add(seed)
        if true is not None:
            targets[name] = true, shown
    if targets:
        caption = (
            "Targets, planar flows of K maps and continuous flows of M units, with the KL of the "
            "selected model in nats. In each row the colours go from 0 to the maximum of the "
            f"target, and higher densities have the colour of that maximum. {format_seeds(seeds)}"
        )
        alt = f"A grid of densities: rows {', '.join(targets)}; the target, then flows by size."
        yield Drawing("figure4_densities", caption, alt, density_grid(targets, SIZES))
