"""Augmented neural ODEs beside plain ones: evaluations and errors."""

from typing import NamedTuple

from node_repro.report import margins
from node_repro.report.artifact import Claim
from node_repro.report.comparisons import (
    claim_lower,
    describe_equality,
    describe_mean,
    equal_within,
    mean_at_most,
)
from node_repro.report.section import Parts, section
from node_repro.report.selection import Seeds, Selection
from node_repro.report.statistics import mean_difference, percent
from node_repro.report.tables import Column, Table

NAMES = {
    "toys_rings": "two rings, states in the plane",
    "toys_rings_augmented": "two rings, one dimension of zeros more",
    "toys_rings_lifted": "two rings, encoded in three dimensions",
    "table1_odenet": "MNIST, ODE-Net",
    "table1_odenet_augmented": "MNIST, ODE-Net with 32 channels of zeros more",
}

SEPARABLE = mean_at_most("test error", 100 * margins.RINGS_LIFTED_ERROR, " %")
EQUAL = equal_within(
    "the difference of the errors", margins.MNIST_POINTS, f"{margins.MNIST_POINTS} points"
)


class Network(NamedTuple):
    """An experiment and its runs."""

    key: str
    seeds: Seeds


COLUMNS: list[Column[Network]] = [
    Column("network", lambda network: NAMES[network.key]),
    Column("test error, %", lambda network: percent(network.seeds.test("error")), 2),
    Column("NFE", lambda network: network.seeds.test("nfe_forward"), 1),
    Column("NFE forward, training", lambda network: network.seeds.training("nfe_forward"), 1),
    Column("NFE backward, training", lambda network: network.seeds.training("nfe_backward"), 1),
    Column("parameters", lambda network: network.seeds.parameters),
    Column("seeds", lambda network: network.seeds.count),
]


@section(
    order=62,
    name="augmented",
    title="Augmented dimensions",
    source="Dupont et al. 2019; not in the paper",
    experiments=NAMES,
)
def augmented(selection: Selection) -> Parts:
    """Zeros are appended to the state before the ODE, so that solutions that would have to cross
    can pass each other. Evaluations and errors beside those of the plain networks.
    """
    found = {key: selection.seeds(key) for key in NAMES}
    yield _separates(found["toys_rings_augmented"], selection.decides)
    for task, plain in (("Two rings", "toys_rings"), ("MNIST", "table1_odenet")):
        ours, other = found[f"{plain}_augmented"], found[plain]
        yield claim_lower(
            f"{task}: the augmented network takes fewer evaluations than the plain one",
            ours.test("nfe_forward"),
            other.test("nfe_forward"),
            1,
            decides=selection.decides,
            of_paper=False,
        )
    yield _as_accurate(found["table1_odenet_augmented"], found["table1_odenet"], selection.decides)
    rows = [Network(key, seeds) for key, seeds in found.items() if seeds]
    caption = "Means ± standard deviations over seeds; NFE on the test set and in training."
    yield Table("augmented", caption, COLUMNS, rows)


def _separates(seeds: Seeds, decides: bool) -> Claim:
    text = "An ODE of the plane with one dimension of zeros more separates two rings"
    return SEPARABLE.claim(
        text,
        percent(seeds.test("error")),
        lambda error: f"test error {describe_mean(error, 1, ' %')}",
        decides=decides,
        of_paper=False,
    )


def _as_accurate(ours: Seeds, other: Seeds, decides: bool) -> Claim:
    text = "MNIST: the augmented ODE-Net is as accurate as the plain one"
    first, second = percent(ours.test("error")), percent(other.test("error"))
    return EQUAL.claim(
        text,
        None if first is None or second is None else mean_difference(first, second),
        lambda difference: describe_equality(difference, 2, " points"),
        decides=decides,
        of_paper=False,
    )
