"""Table 1: test error, parameters, memory and time on MNIST."""

from collections.abc import Iterable, Mapping

from node_repro.report import margins, paper
from node_repro.report.artifact import Claim, Missing
from node_repro.report.comparisons import TWO_ONE_SIDED
from node_repro.report.format import format_spread, interval_name
from node_repro.report.networks import PROBE, TO_PAPER, Comparison, Network
from node_repro.report.probe_rows import ProbeRows
from node_repro.report.rules import Rule, between, near
from node_repro.report.section import Parts, section
from node_repro.report.sections.memory import SECONDS_NOTE, memory_growth, time_exponent
from node_repro.report.selection import Seeds, Selection
from node_repro.report.statistics import percent, scaled
from node_repro.report.tables import Column, Table

NETWORKS = {
    "mlp": "1-layer MLP, plain digits, random crops",
    "mlp_plain": "1-layer MLP, plain digits",
    "mlp_deskewed": "1-layer MLP, deskewed digits",
    "resnet": "ResNet, 6 blocks",
    "rknet": "RK-Net",
    "odenet": "ODE-Net",
    "odenet_softplus": "ODE-Net, softplus",
    "resnet1": "ResNet, 1 block",
    "stem_only": "stem and head alone",
    "revnet": "RevNet, 12 reversible blocks",
}
CONV_STEM = {
    "resnet_conv": "ResNet, 6 blocks, conv stem",
    "rknet_conv": "RK-Net, conv stem",
    "odenet_conv": "ODE-Net, conv stem",
    "resnet1_conv": "ResNet, 1 block, conv stem",
    "stem_only_conv": "conv stem and head alone",
}
ROWS = NETWORKS | CONV_STEM
PAPER_ROW = {"mlp_deskewed": "mlp", "mlp_plain": "mlp"}
OTHER_DATA = {"mlp", "mlp_plain"}
"""The paper's number is of deskewed digits."""

THIRD = Rule(near("ratio", paper.PARAMETER_RATIO, margins.PARAMETER_RATIO))
HALF = Rule(between("ratio of evaluations", *margins.HALF))


@section(
    order=10,
    name="table1",
    title="Table 1: classification of MNIST",
    source="section 3, table 1",
    experiments=[f"table1_{key}" for key in ROWS],
)
def table1(selection: Selection) -> Parts:
    """Test error, size and measured cost of networks with and without an ODE block."""
    growths = _growths(selection)
    networks = {
        key: Network(
            key,
            name,
            selection.seeds(f"table1_{key}"),
            selection.probed(f"table1_{key}", PROBE),
            paper.ERROR_PERCENT.get(PAPER_ROW.get(key, key)),
            same_data=key not in OTHER_DATA,
            growth=growths.get(key),
            decides=selection.decides,
        )
        for key, name in ROWS.items()
    }
    for key in ("mlp_deskewed", "resnet", "rknet", "odenet"):
        yield networks[key].claim_papers_error()
    pairs = {
        (one, other): Comparison(networks[one], networks[other])
        for one, other in (
            ("odenet", "resnet"),
            ("rknet", "odenet"),
            ("odenet", "resnet1"),
            ("odenet_softplus", "odenet"),
            ("stem_only", "odenet"),
            ("stem_only_conv", "odenet_conv"),
            ("mlp_plain", "mlp"),
            ("mlp_plain", "mlp_deskewed"),
        )
    }
    yield from _comparisons(pairs)
    yield _third(networks)
    yield _half(networks["odenet"].seeds)
    yield _errors(networks)
    yield _differences(pairs.values())
    yield _costs(networks)
    yield (
        "The paper gives neither optimiser nor schedule, batch size, number of epochs or stem; "
        "these are the ones of torchdiffeq's public example. The networks in the upper rows have "
        "the residual stem, which gives the paper's 0.60 M parameters for the ResNet; no public "
        "variant gives its 0.22 M for ODE-Net."
    )
    yield (
        "The selected model is the best one on 5,000 held-out training digits. The standard error "
        "(s.e.) is the binomial one of a single run on the test digits."
    )
    yield (
        "The paper quotes the MLP from LeCun et al. (1998), whose number is of deskewed digits and "
        "without augmentation: the rows of plain digits are not comparable, nor is any row without "
        "a number in the paper. All networks but the MLPs without “random crops” are trained on "
        "random crops of the digits."
    )
    yield from _withdrawn(networks)
    yield SECONDS_NOTE
    if selection.uses_embedded_digits:
        yield (
            "The runs are on the 5,000 embedded digits, not on MNIST, and have few iterations: no "
            "row is compared with the paper or with another row."
        )
    yield from _missing_probes(selection, networks.values())


def _comparisons(pairs: Mapping[tuple[str, str], Comparison]) -> Iterable[Claim]:
    yield pairs["odenet", "resnet"].claim_equal(
        "ODE-Net and ResNet have the same test error", of_paper=True
    )
    yield pairs["rknet", "odenet"].claim_equal(
        "RK-Net and ODE-Net have the same test error", of_paper=True
    )
    yield pairs["odenet", "resnet1"].claim_equal(
        "ODE-Net and a ResNet of one block have the same test error", of_paper=False
    )
    yield pairs["odenet_softplus", "odenet"].claim_equal(
        "ODE-Net has the same test error with a smooth activation (softplus)", of_paper=False
    )
    yield pairs["stem_only", "odenet"].claim_lower("An ODE block is better than no block")
    yield pairs["stem_only_conv", "odenet_conv"].claim_lower(
        "An ODE block is better than no block, conv stem"
    )
    yield pairs["mlp_plain", "mlp"].claim_lower("Random crops lower the error of the MLP")
    yield pairs["mlp_plain", "mlp_deskewed"].claim_lower("Deskewing lowers the error of the MLP")


def _errors(networks: Mapping[str, Network]) -> Table:
    columns: list[Column[Network]] = [
        Column("network", lambda n: n.name),
        Column("paper, %", lambda n: n.paper_error, 2),
        Column("selected, %", lambda n: percent(n.error), 2),
        Column("last, %", lambda n: percent(n.seeds.test("error", "last")), 2),
        Column("s.e., %", lambda n: n.single_error, 2),
        Column("seeds", lambda n: n.seeds.count),
        Column("difference, points", lambda n: n.difference and n.difference.value, 2),
        *(
            Column(f"its {interval_name(level)}", lambda n, c=level: n.difference_interval(c))
            for level in (TWO_ONE_SIDED, margins.CONFIDENCE)
        ),
        Column("equal to the paper's", lambda n: n.verdict),
        Column("paper's parameters", lambda n: paper.PARAMETERS.get(PAPER_ROW.get(n.key, n.key))),
        Column("parameters", lambda n: n.seeds.parameters),
    ]
    caption = (
        "Test error of the selected and of the last model, mean ± standard deviation over seeds, "
        f"beside the paper's. The rule for equality is “{TO_PAPER}”. The standard error of the "
        "difference is that of the mean over seeds combined with the paper's binomial one."
    )
    return Table("table1", caption, columns, networks.values())


def _differences(pairs: Iterable[Comparison]) -> Table:
    measured = [pair for pair in pairs if pair.difference is not None]
    columns: list[Column[Comparison]] = [
        Column("networks", lambda pair: pair.name),
        Column("difference, points", lambda pair: pair.difference and pair.difference.value, 2),
        *(
            Column(f"its {interval_name(level)}", lambda pair, c=level: pair.interval(c))
            for level in (TWO_ONE_SIDED, margins.CONFIDENCE)
        ),
        Column("seeds", lambda pair: pair.seeds),
        Column("paired by", lambda pair: pair.pairing),
        Column("wrong in the first + second alone", lambda pair: pair.discordant),
    ]
    caption = (
        "Differences of the test errors of the selected models. Paired by digit and seed, seeds "
        "and digits are both random samples, and the interval is that of several readers of the "
        "same cases (Hillis 2007); the last column has McNemar's counts of every seed, the digits "
        f"that one of the two networks alone gets wrong. Where the probe {PROBE} has not measured "
        "both networks, the errors are paired by seed, or not at all if the seeds differ (Welch)."
    )
    return Table("table1_differences", caption, columns, measured)


def _costs(networks: Mapping[str, Network]) -> Table:
    columns: list[Column[Network]] = [
        Column("network", lambda n: n.name),
        Column("paper's memory", lambda n: paper.MEMORY.get(n.key)),
        Column("memory, MB", lambda n: scaled(n.seeds.training("saved_bytes"), 1e-6), 1),
        Column("growth of memory", lambda n: n.growth and n.growth[0]),
        Column("paper's time", lambda n: paper.TIME.get(n.key)),
        Column("s/iteration", lambda n: n.seeds.training("step_seconds"), 3),
        Column("growth of time", lambda n: n.growth and n.growth[1]),
        Column("NFE forward", lambda n: n.seeds.training("nfe_forward"), 1),
        Column("NFE backward", lambda n: n.seeds.training("nfe_backward"), 1),
        Column("VJPs", lambda n: n.seeds.training("nvjp_backward"), 1),
        Column("seconds in all", lambda n: n.seeds.training("seconds"), 0),
    ]
    caption = (
        "Cost of one training iteration in the last epoch: peak memory held for the backward pass, "
        "wall time, evaluations of f (NFE) and vector-Jacobian products (VJPs). Growth is "
        "measured: with the number of steps of the ODE block (see “Memory and time against the "
        "number of steps”), and from one to six residual blocks, stem and head included."
    )
    return Table("table1_cost", caption, columns, networks.values())


def _growths(selection: Selection) -> dict[str, tuple[str, str]]:
    """Measured growth of memory and time, in words, by network."""
    rows = ProbeRows.read(selection, "table1_odenet", "memory")
    growths: dict[str, tuple[str, str]] = {}
    for key, gradient in (("rknet", "direct"), ("odenet", "adjoint")):
        group = rows.where(gradient=gradient)
        growth, exponent = memory_growth(group), time_exponent(group)
        if growth and exponent is not None:
            memory = f"×{growth.factor:.2f} for ×{growth.steps:g} steps"
            growths[key] = (memory, f"as steps^{exponent:.2f}")
    one, six = (selection.seeds(f"table1_{key}") for key in ("resnet1", "resnet"))
    ratios = [
        f"×{many.mean / few.mean:.2f} for ×6 blocks"
        for metric in ("saved_bytes", "step_seconds")
        if (few := one.training(metric)) and (many := six.training(metric))
    ]
    if len(ratios) == 2:
        growths["resnet"] = (ratios[0], ratios[1])
    blocks = ProbeRows.read(selection, "table1_revnet", "depth_memory").where(kind="reversible")
    if growth := memory_growth(blocks, "blocks"):
        growths["revnet"] = (f"×{growth.factor:.2f} for ×{growth.steps:g} blocks", "")
    return growths


def _third(networks: Mapping[str, Network]) -> Claim:
    text = "ODE-Net has about a third of ResNet's parameters (0.22 M against 0.60 M)"
    ode, residual = (networks[key].seeds.parameters for key in ("odenet", "resnet"))
    ratio = ode / residual if ode and residual else None
    return THIRD.claim(text, ratio, lambda ratio: f"{ode:,} / {residual:,} = {ratio:.2f}")


def _withdrawn(networks: Mapping[str, Network]) -> Iterable[str]:
    """The parameters of ODE-Net beside those of a ResNet of one block."""
    ode, one = (networks[key] for key in ("odenet", "resnet1"))
    if ode.seeds.parameters and one.seeds.parameters:
        sizes = (
            f" A ResNet of one block has {one.seeds.parameters:,} parameters, ODE-Net "
            f"{ode.seeds.parameters:,}."
        )
    else:
        sizes = ""
    yield (
        "The authors withdrew parameter efficiency in version 5 of the paper: the ratio of "
        f"parameters says how many blocks the ResNet has, not what an ODE saves.{sizes}"
    )


def _missing_probes(selection: Selection, networks: Iterable[Network]) -> Iterable[Missing]:
    """The commands for wrong digits that are not measured."""
    for network in networks:
        seeds = [run.seed for run in network.seeds if run not in network.probed]
        if seeds:
            sweep = "-m " if len(seeds) > 1 else ""
            yield Missing(
                f"node-run {sweep}job=probe probe={PROBE} experiment=table1_{network.key} "
                f"profile={selection.profile} seed={','.join(map(str, seeds))}"
            )


def _half(seeds: Seeds) -> Claim:
    text = "In training, the backward solve takes about half as many evaluations as the forward"
    forward, backward = seeds.training("nfe_forward"), seeds.training("nfe_backward")
    if forward is None or backward is None or not forward.mean:
        return HALF.claim(text, None, str)
    counts = f"{format_spread(backward, 1)} / {format_spread(forward, 1)}"
    return HALF.claim(text, backward.mean / forward.mean, lambda ratio: f"{counts} = {ratio:.2f}")
