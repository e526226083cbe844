"""Networks on MNIST: their test errors, and comparisons of two networks and with the paper."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from node_repro.report import margins
from node_repro.report.artifact import Claim, Verdict
from node_repro.report.comparisons import (
    above_zero,
    describe_difference,
    describe_equality,
    equal_within,
    format_pair,
)
from node_repro.report.format import format_ends, format_spread
from node_repro.report.rules import Rule
from node_repro.report.selection import Seeds
from node_repro.report.statistics import (
    Difference,
    Spread,
    binomial_error,
    crossed_difference,
    difference_from,
    difference_over_seeds,
)
from node_repro.runs.stored_run import StoredRun

TEST_DIGITS = 10_000
PROBE = "wrong_digits"

ALL_DIGITS = "all of MNIST"
MARGIN = margins.MNIST_POINTS, f"{margins.MNIST_POINTS} points"
TO_PAPER = equal_within("the difference to the paper's", *MARGIN, scope=ALL_DIGITS)
EQUAL = equal_within("the difference of the errors", *MARGIN, scope=ALL_DIGITS)
LOWER = above_zero("the rival's error − the network's", scope=ALL_DIGITS)


class Network(NamedTuple):
    """A row of the table: a network, its runs, and the paper's error in per cent.

    Attributes:
        key: The name of its experiment without "table1_".
        name: The row's heading.
        seeds: The runs.
        probed: Those whose wrong digits a probe has found.
        paper_error: The paper's test error in per cent, if it has one.
        same_data: Whether the paper's number is of these data.
        growth: Growth of memory and of time, in words.
        decides: Whether the profile can decide claims about the network.
    """

    key: str
    name: str
    seeds: Seeds
    probed: tuple[StoredRun, ...]
    paper_error: float | None
    same_data: bool
    growth: tuple[str, str] | None
    decides: bool

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
        return _format_interval(self.difference, confidence)

    @property
    def is_comparable(self) -> bool:
        """Whether the paper's number is of the same data."""
        return self.same_data and self.is_whole

    @property
    def verdict(self) -> Verdict:
        """The verdict on the claim that the error is the paper's."""
        if self.error is not None and self.difference is None:
            return Verdict.INCOMPARABLE
        return TO_PAPER.judge(self.difference, comparable=self.is_comparable, decides=self.decides)

    def claim_papers_error(self) -> Claim:
        """The claim that the error is the paper's."""

        def measured(difference: Difference) -> str:
            assert self.error
            ours = format_spread(self.error.scaled(100), 2, " %")
            return f"{ours}: {describe_equality(difference, 2, ' points')}"

        return TO_PAPER.claim(
            f"The test error is the paper's {self.paper_error:.2f} %, {self.name}",
            self.difference,
            measured,
            comparable=self.is_comparable,
            decides=self.decides,
        )

    def wrong_digits(self) -> dict[int, frozenset[int]]:
        """Seed -> test digits that the selected model gets wrong; empty unless all are probed."""
        if len(self.probed) < len(self.seeds):
            return {}
        return {run.seed: _wrong(run.probes[PROBE]["rows"]) for run in self.probed}


def _wrong(rows: Sequence[Mapping[str, Any]]) -> frozenset[int]:
    (selected,) = (row for row in rows if row["weights"] == "selected")
    return frozenset(selected["wrong"])


class Comparison(NamedTuple):
    """The test errors of two networks, in points.

    By digit and seed if both networks have the same seeds and the probe has found their wrong
    digits; else by seed if they have the same seeds; else of two independent means.
    """

    one: Network
    other: Network

    @property
    def name(self) -> str:
        """As in "ODE-Net − ResNet"."""
        return f"{self.one.name} − {self.other.name}"

    @property
    def wrong(self) -> tuple[dict[int, frozenset[int]], dict[int, frozenset[int]]] | None:
        """The wrong digits of both networks by seed, if they can be paired."""
        one, other = self.one.wrong_digits(), self.other.wrong_digits()
        return (one, other) if one and one.keys() == other.keys() else None

    @property
    def difference(self) -> Difference | None:
        """The first error less the second one."""
        if self.wrong is not None:
            count = self.one.seeds.results[0].test_count
            return crossed_difference(*self.wrong, count).scaled(100)
        errors = [network.seeds.tests_by_seed("error") for network in self]
        return difference_over_seeds(*errors).scaled(100) if all(errors) else None

    def interval(self, confidence: float) -> str | None:
        """The interval of the difference, as in "−0.02 to 0.35"."""
        return _format_interval(self.difference, confidence)

    @property
    def pairing(self) -> str | None:
        """What the two errors are paired by; None if they are not."""
        if self.wrong is not None:
            return "digit and seed"
        first, second = (network.seeds.tests_by_seed("error") for network in self)
        return "seed" if first.keys() == second.keys() else None

    @property
    def discordant(self) -> str | None:
        """McNemar's counts of every seed, "31 + 28": digits that one network alone gets wrong."""
        if self.wrong is None:
            return None
        one, other = self.wrong
        counts = [(len(one[seed] - other[seed]), len(other[seed] - one[seed])) for seed in one]
        return ", ".join(f"{first} + {second}" for first, second in counts)

    @property
    def seeds(self) -> str:
        """The numbers of seeds, "3" or "3 and 2"."""
        first, second = (len(network.seeds) for network in self)
        return f"{first}" if first == second else f"{first} and {second}"

    def claim_equal(self, text: str, *, of_paper: bool) -> Claim:
        """The claim that both errors are equal."""
        return self._claim(EQUAL, text, of_paper=of_paper)

    def claim_lower(self, text: str) -> Claim:
        """The claim that the second error is below the first."""
        return self._claim(LOWER, text, of_paper=False)

    def _claim(self, rule: Rule[Difference], text: str, *, of_paper: bool) -> Claim:
        describe = describe_equality if rule is EQUAL else describe_difference

        def measured(difference: Difference) -> str:
            a, b = self.one.error, self.other.error
            assert a and b
            pair = format_pair(a.scaled(100), b.scaled(100), 2, " %")
            paired = "not paired" if self.pairing is None else f"paired by {self.pairing}"
            counts = "" if self.discordant is None else f"; only one wrong: {self.discordant}"
            return f"{pair}: {describe(difference, 2, ' points')}, {paired}{counts}"

        return rule.claim(
            text,
            self.difference,
            measured,
            comparable=self.one.is_whole and self.other.is_whole,
            decides=self.one.decides,
            of_paper=of_paper,
        )


def _format_interval(difference: Difference | None, confidence: float) -> str | None:
    interval = difference and difference.interval(confidence)
    return format_ends(interval, 2) if interval and interval.is_bounded else None
