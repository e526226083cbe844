"""Table 1: test error, parameters, memory and time on MNIST."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from node_repro.report import paper
from node_repro.report.artifact import Claim, Verdict
from node_repro.report.format import format_spread, minus_sign
from node_repro.report.probe_rows import ProbeRows
from node_repro.report.rules import (
    Rule,
    above_by_errors,
    at_most,
    equal_within_errors,
    less_than,
    near,
)
from node_repro.report.section import Parts, section
from node_repro.report.sections.memory import SECONDS_NOTE, memory_growth, time_exponent
from node_repro.report.selection import Seeds, Selection
from node_repro.report.statistics import (
    Difference,
    Spread,
    binomial_error,
    percent,
    scaled,
    share_error,
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

TO_PAPER = Rule(
    equal_within_errors("difference to the paper"), verdicts=(Verdict.WITHIN, Verdict.OUTSIDE)
)
EQUAL = Rule(equal_within_errors("difference of the errors"), scope="all of MNIST")
BETTER = Rule(above_by_errors("error without the block − error with it"), scope="all of MNIST")
THIRD = Rule(near("ratio", paper.PARAMETER_RATIO, 0.05))
HALF = Rule(at_most("ratio of evaluations", 0.6), less_than("ratio", 1))


class Network(NamedTuple):
    """A row of the table: a network, its runs, and the paper's error in per cent."""

    key: str
    seeds: Seeds
    paper_error: float | None
    growth: tuple[str, str] | None  # of memory and of time, in words

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
        """The error less the paper's, in points."""
        if self.error is None or self.paper_error is None:
            return None
        ours = share_error(self.error, TEST_DIGITS)
        theirs = binomial_error(self.paper_error / 100, TEST_DIGITS)
        gap = 100 * self.error.mean - self.paper_error
        return Difference(gap, 100 * math.hypot(ours, theirs))

    @property
    def verdict(self) -> Verdict:
        """The verdict on the difference to the paper's error."""
        if self.error is not None and self.difference is None:
            return Verdict.INCOMPARABLE
        comparable = self.key not in OTHER_DATA and self.is_whole
        return TO_PAPER.judge(self.difference, comparable=comparable)


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
        )
        for key in ROWS
    }
    yield _compare("ODE-Net and ResNet have the same test error", EQUAL, networks, "odenet resnet")
    yield _compare("RK-Net and ODE-Net have the same test error", EQUAL, networks, "rknet odenet")
    for stem, words in (("", ""), ("_conv", ", conv stem")):
        text = f"An ODE block is better than no block{words} (not a claim of the paper)"
        yield _compare(text, BETTER, networks, f"stem_only{stem} odenet{stem}")
    yield _third(networks)
    yield _half(networks["odenet"].seeds)
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
        Column("verdict", lambda n: n.verdict),
        Column("paper's parameters", lambda n: paper.PARAMETERS.get(PAPER_ROW.get(n.key, n.key))),
        Column("parameters", lambda n: n.seeds.parameters),
    ]
    caption = (
        "Test error of the selected and of the last model, mean ± standard deviation over seeds, "
        "beside the paper's. Verdict: the difference to the paper in standard errors, which "
        "combine the binomial errors of both numbers and the standard error over seeds."
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
    return growths


def _compare(
    text: str, rule: Rule[Difference], networks: Mapping[str, Network], pair: str
) -> Claim:
    """Two networks by the difference of their test errors."""
    one, other = (networks[key] for key in pair.split())
    a, b = one.error, other.error
    if a is None or b is None:
        return rule.claim(text, None, str)
    errors = [share_error(n.error, n.seeds.results[0].test_count) for n in (one, other) if n.error]
    difference = Difference(a.mean - b.mean, math.hypot(*errors))
    gap = minus_sign(f"{100 * difference.value:+.2f}")
    measured = (
        f"{_percent(a)} against {_percent(b)}; difference {gap} ± "
        f"{100 * difference.error:.2f} points"
    )
    comparable = one.is_whole and other.is_whole
    return rule.claim(text, difference, lambda _: measured, comparable=comparable)


def _percent(share: Spread) -> str:
    return format_spread(share.scaled(100), 2, " %")


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
