"""Rules that decide claims, each with its wording and its test of a measured value.

Each threshold is defined once, in a `Condition`, which has both wording and test.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from node_repro.report.artifact import Claim, Verdict
from node_repro.report.format import format_spread
from node_repro.report.statistics import Difference, Pairs, Spread, is_increasing, mean_difference

Value = TypeVar("Value")

STANDARD_ERRORS = 2.0
"""A difference of more standard errors than this is significant."""


@dataclass(frozen=True)
class Condition(Generic[Value]):
    """A test of a measured value, with its wording."""

    words: str
    test: Callable[[Value], bool]

    def __and__(self, other: "Condition[Value]") -> "Condition[Value]":
        return Condition(
            f"{self.words}, and {other.words}",
            lambda value: self.test(value) and other.test(value),
        )

    def __or__(self, other: "Condition[Value]") -> "Condition[Value]":
        return Condition(
            f"{self.words}, or {other.words}",
            lambda value: self.test(value) or other.test(value),
        )


@dataclass(frozen=True)
class Rule(Generic[Value]):
    """When a claim holds, and when it holds in part; otherwise it does not hold.

    Attributes:
        holds: The condition under which the claim holds.
        partly: The condition under which it holds in part, if it does not hold.
        scope: What the rule is restricted to, "all of MNIST"; other runs are not comparable.
        verdicts: The verdicts on a claim that holds, and on one that does not.
    """

    holds: Condition[Value]
    partly: Condition[Value] | None = None
    scope: str = ""
    verdicts: tuple[Verdict, Verdict] = (Verdict.HOLDS, Verdict.FAILS)

    def __str__(self) -> str:
        words = f"holds: {self.holds.words}"
        if self.partly is not None:
            words = f"{words}; in part: {self.partly.words}"
        return f"on {self.scope}; {words}" if self.scope else words

    def judge(self, value: Value | None, *, comparable: bool = True) -> Verdict:
        """The verdict on a measured value; None is "not measured"."""
        if value is None:
            return Verdict.OPEN
        if not comparable:
            return Verdict.INCOMPARABLE
        if self.holds.test(value):
            return self.verdicts[0]
        if self.partly is not None and self.partly.test(value):
            return Verdict.PARTLY
        return self.verdicts[1]

    def claim(
        self,
        text: str,
        value: Value | None,
        describe: Callable[[Value], str],
        *,
        comparable: bool = True,
    ) -> Claim:
        """A claim with the verdict on a measured value.

        Args:
            text: The claim.
            value: The measured value; None if not measured.
            describe: The measured value in words; not called for None.
            comparable: Whether the value is within the rule's scope.
        """
        verdict = self.judge(value, comparable=comparable)
        measured = "not measured" if value is None else describe(value)
        return Claim(text, measured, verdict, str(self))


def at_most(what: str, limit: float, unit: str = "") -> Condition[float]:
    """value ≤ limit."""
    return Condition(f"{what} ≤ {limit:g}{unit}", lambda value: value <= limit)


def at_least(what: str, limit: float, unit: str = "") -> Condition[float]:
    """value ≥ limit."""
    return Condition(f"{what} ≥ {limit:g}{unit}", lambda value: value >= limit)


def less_than(what: str, limit: float, unit: str = "") -> Condition[float]:
    """value < limit."""
    return Condition(f"{what} < {limit:g}{unit}", lambda value: value < limit)


def more_than(what: str, limit: float, unit: str = "") -> Condition[float]:
    """value > limit."""
    return Condition(f"{what} > {limit:g}{unit}", lambda value: value > limit)


def between(what: str, low: float, high: float) -> Condition[float]:
    """low ≤ value ≤ high."""
    return Condition(f"{low:g} ≤ {what} ≤ {high:g}", lambda value: low <= value <= high)


def near(what: str, target: float, margin: float) -> Condition[float]:
    """|value - target| ≤ margin."""
    words = f"{what} within {margin:g} of {target:.3g}"
    return Condition(words, lambda value: abs(value - target) <= margin)


def equal_within_errors(what: str) -> Condition[Difference]:
    """The difference is not significant, in either direction."""
    return Condition(
        f"|{what}| ≤ {STANDARD_ERRORS:g} s.e.",
        lambda d: abs(d.value) <= STANDARD_ERRORS * d.error,
    )


def not_above_by_errors(what: str) -> Condition[Difference]:
    """The difference is not significantly positive."""
    return Condition(
        f"{what} ≤ {STANDARD_ERRORS:g} s.e.",
        lambda d: d.value <= STANDARD_ERRORS * d.error,
    )


def above_by_errors(what: str) -> Condition[Difference]:
    """The difference is significantly positive."""
    return Condition(
        f"{what} > {STANDARD_ERRORS:g} s.e.",
        lambda d: d.value > STANDARD_ERRORS * d.error,
    )


def increasing(words: str) -> Condition[Pairs]:
    """y increases strictly with x, for pairs in the order of x."""
    return Condition(words, is_increasing)


def every(condition: Condition[Value], where: str) -> Condition[Sequence[Value]]:
    """The condition is met by every value; where: as in "at every tolerance"."""
    words = f"{condition.words} {where}"
    return Condition(words, lambda values: all(condition.test(value) for value in values))


def some(condition: Condition[Value], words: str) -> Condition[Sequence[Value]]:
    """The condition is met by at least one value; words: as in "at some tolerances"."""
    return Condition(words, lambda values: any(condition.test(value) for value in values))


SIGNIFICANT = above_by_errors("the difference of the means over seeds")
POSITIVE: Condition[Difference] = Condition(
    "it is positive but smaller, or of a single seed", lambda lead: lead.value > 0
)
LOWER_OVER_SEEDS = Rule(SIGNIFICANT, POSITIVE)
"""One mean over seeds is below another; the value is the other mean less this one."""


def claim_lower(
    text: str, ours: Spread | None, other: Spread | None, digits: int, unit: str = ""
) -> Claim:
    """The claim that the first mean over seeds is below the second."""
    lead = None if ours is None or other is None else mean_difference(other, ours)

    def describe(_: Difference) -> str:
        assert ours and other
        return format_pair(ours, other, digits, unit)

    return LOWER_OVER_SEEDS.claim(text, lead, describe)


def format_pair(ours: Spread, other: Spread, digits: int, unit: str = "") -> str:
    """As in "0.10 ± 0.01 (n = 3) against 0.20 ± 0.02 (n = 3) nats"."""
    return f"{format_spread(ours, digits)} against {format_spread(other, digits)}{unit}"
