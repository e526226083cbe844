"""Table 1: test error, parameters, memory and time on MNIST."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from node_repro.report import margins, paper
from node_repro.report.artifact import Claim, Verdict
from node_repro.report.comparisons import (
    TWO_ONE_SIDED,
    above_zero,
    describe_difference,
    describe_equality,
    equal_within,
    format_pair,
)
from node_repro.report.format import format_ends, format_spread, interval_name
from node_repro.report.probe_rows import ProbeRows
from node_repro.report.rules import Rule, between, near
from node_repro.report.section import Parts, section
from node_repro.report.sections.memory import SECONDS_NOTE, memory_growth, time_exponent
from node_repro.report.selection import Seeds, Selection
from node_repro.report.statistics import (
    Difference,
    Spread,
    binomial_error,
    difference_from,
    difference_over_seeds,
    percent,
    scaled,
)
from node_repro.report.tables import Column, Table

TEST_DIGITS = 10_000

NETWORKS = {
    "mlp": "1-layer MLP, plain digits",
    "mlp_deskewed": "1-layer MLP, deskewed digits",
    "resnet": "ResNet, 6 blocks",
    "rknet": "RK-Net",
    "odenet": "ODE-Net",
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
PAPER_ROW = {"mlp_deskewed": "mlp"}
OTHER_DATA = {"mlp"}
"""The paper's number is of deskewed digits."""

ALL_DIGITS = "all of MNIST"
MARGIN = margins.MNIST_POINTS, f"{margins.MNIST_POINTS} points"
TO_PAPER = equal_within("the difference to the paper's", *MARGIN)
EQUAL = equal_within("the difference of the errors", *MARGIN, scope=ALL_DIGITS)
BETTER = above_zero("error without the block − error with it", scope=ALL_DIGITS)
THIRD = Rule(near("ratio", paper.PARAMETER_RATIO, margins.PARAMETER_RATIO))
HALF = Rule(between("ratio of evaluations", *margins.HALF))


class Network(NamedTuple):
    """A row of the table: a network, its runs, and the paper's error in per cent."""

    key: str
    seeds: Seeds
    paper_error: float | None
    growth: tuple[str, str] | None  # of memory and of time, in words
    decides: bool  # whether the profile can decide claims about the network

    @property
    def name(self) -> str:
        """The row's heading."""
        return ROWS[self.key]

    @property
    def is_whole(self) -> bool:
        """Whether the runs are on all of MNIST."""
        return all(
            result.data in ("mnist", "mnist-deskewed") and result.test_count == TEST_DIGITS
            for result in self.seeds.results[:1]
        )

    @property
    def error(self) -> Spread | None:
        """Test error of the selected model."""
        return self.seeds.test("error")

    @property
    def single_error(self) -> float | None:
        """Binomial standard error of a single run, in points."""
        if self.error is None:
            return None
        return 100 * binomial_error(self.error.mean, self.seeds.results[0].test_count)

    @property
    def difference(self) -> Difference | None:
        """The error less the paper's, in points; the paper's is of one network."""
        if self.error is None or self.paper_error is None:
            return None
        theirs = self.paper_error / 100
        error = binomial_error(theirs, TEST_DIGITS)
        return difference_from(self.error, theirs, error).scaled(100)

    def difference_interval(self, confidence: float) -> str | None:
        """The interval of the difference, as in "−0.02 to 0.35"; None for a single seed."""
        interval = self.difference and self.difference.interval(confidence)
        return format_ends(interval, 2) if interval and interval.is_bounded else None

    @property
    def verdict(self) -> Verdict:
        """The verdict on the claim that the error is the paper's."""
        if self.error is not None and self.difference is None:
            return Verdict.INCOMPARABLE
        comparable = self.key not in OTHER_DATA and self.is_whole
        return TO_PAPER.judge(self.difference, comparable=comparable, decides=self.decides)


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
            selection.seeds(f"table1_{key}"),
            paper.ERROR_PERCENT.get(PAPER_ROW.get(key, key)),
            growths.get(key),
            selection.decides,
        )
        for key in ROWS
    }
    resnet, rknet, odenet = (networks[key] for key in ("resnet", "rknet", "odenet"))
    yield _equal("ODE-Net and ResNet have the same test error", odenet, resnet)
    yield _equal("RK-Net and ODE-Net have the same test error", rknet, odenet)
    for stem, words in (("", ""), ("_conv", ", conv stem")):
        text = f"An ODE block is better than no block{words}"
        yield _better(text, networks[f"stem_only{stem}"], networks[f"odenet{stem}"])
    yield _third(networks)
    yield _half(odenet.seeds)
    yield _errors(networks)
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
        "The paper quotes the MLP from LeCun et al. (1998), whose number is of deskewed digits: "
        "the row of plain digits is not comparable, nor is any row without a number in the paper."
    )
    yield (
        "Two networks here are tested on the same digits and compared seed by seed where both have "
        "the same seeds. The authors withdrew parameter efficiency in version 5 of the paper."
    )
    yield SECONDS_NOTE
    if selection.uses_embedded_digits:
        yield (
            "The runs are on the 5,000 embedded digits, not on MNIST, and have few iterations: no "
            "row is compared with the paper or with another row."
        )


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


def _equal(text: str, one: Network, other: Network) -> Claim:
    return _compare(EQUAL, text, one, other, describe_equality, of_paper=True)


def _better(text: str, without: Network, block: Network) -> Claim:
    return _compare(BETTER, text, without, block, describe_difference, of_paper=False)


def _compare(
    rule: Rule[Difference],
    text: str,
    one: Network,
    other: Network,
    describe: Callable[[Difference, int, str], str],
    *,
    of_paper: bool,
) -> Claim:
    """Two networks by the difference of their test errors, in points."""
    errors = [network.seeds.tests_by_seed("error") for network in (one, other)]
    known = all(errors)

    def measured(difference: Difference) -> str:
        a, b = one.error, other.error
        assert a and b
        pair = format_pair(a.scaled(100), b.scaled(100), 2, " %")
        paired = ", paired by seed" if errors[0].keys() == errors[1].keys() else ""
        return f"{pair}: {describe(difference, 2, ' points')}{paired}"

    return rule.claim(
        text,
        difference_over_seeds(*errors).scaled(100) if known else None,
        measured,
        comparable=one.is_whole and other.is_whole,
        decides=one.decides,
        of_paper=of_paper,
    )


def _third(networks: Mapping[str, Network]) -> Claim:
    text = "ODE-Net has about a third of ResNet's parameters (0.22 M against 0.60 M)"
    ode, residual = (networks[key].seeds.parameters for key in ("odenet", "resnet"))
    ratio = ode / residual if ode and residual else None
    return THIRD.claim(text, ratio, lambda ratio: f"{ode:,} / {residual:,} = {ratio:.2f}")


def _half(seeds: Seeds) -> Claim:
    text = "In training, the backward solve takes about half as many evaluations as the forward"
    forward, backward = seeds.training("nfe_forward"), seeds.training("nfe_backward")
    if forward is None or backward is None or not forward.mean:
        return HALF.claim(text, None, str)
    counts = f"{format_spread(backward, 1)} / {format_spread(forward, 1)}"
    return HALF.claim(text, backward.mean / forward.mean, lambda ratio: f"{counts} = {ratio:.2f}")
