"""Rules that decide claims, each with its wording and its test of a measured value.

Thresholds are in `margins`; a `Condition` has both the wording and the test of one. Rules that
decide by confidence intervals are in `comparisons`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from node_repro.report.artifact import Claim, Verdict
from node_repro.report.statistics import Pairs, is_increasing

Value = TypeVar("Value")


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


@dataclass(frozen=True)
class Rule(Generic[Value]):
    """When a claim holds, and when it does not hold.

    Attributes:
        holds: The condition under which the claim holds.
        fails: The condition under which it does not hold; a value that meets neither is undecided.
            None: a claim that does not hold by `holds` fails.
        scope: What the rule is restricted to, "all of MNIST"; other runs are not comparable.
    """

    holds: Condition[Value]
    fails: Condition[Value] | None = None
    scope: str = ""

    def __str__(self) -> str:
        words = f"holds: {self.holds.words}"
        if self.fails is not None:
            words = f"{words}; does not hold: {self.fails.words}; otherwise undecided"
        return f"on {self.scope}; {words}" if self.scope else words

    def judge(
        self, value: Value | None, *, comparable: bool = True, decides: bool = True
    ) -> Verdict:
        """The verdict on a measured value.

        Args:
            value: The measured value; None is "not measured".
            comparable: Whether the value is within the rule's scope.
            decides: Whether the profile can decide the claim; see `Selection.decides`.
        """
        if value is None:
            return Verdict.OPEN
        if not comparable:
            return Verdict.INCOMPARABLE
        if not decides:
            return Verdict.UNTESTED
        if self.holds.test(value):
            return Verdict.HOLDS
        if self.fails is None or self.fails.test(value):
            return Verdict.FAILS
        return Verdict.UNDECIDED

    def claim(
        self,
        text: str,
        value: Value | None,
        describe: Callable[[Value], str],
        *,
        comparable: bool = True,
        decides: bool = True,
        of_paper: bool = True,
    ) -> Claim:
        """A claim with the verdict on a measured value.

        Args:
            text: The claim.
            value: The measured value; None if not measured.
            describe: The measured value in words; not called for None.
            comparable, decides: As in `judge`.
            of_paper: Whether the paper makes the claim.
        """
        verdict = self.judge(value, comparable=comparable, decides=decides)
        measured = "not measured" if value is None else describe(value)
        return Claim(text, measured, verdict, str(self), of_paper)


def at_most(what: str, limit: float, unit: str = "") -> Condition[float]:
    """value ≤ limit."""
    return Condition(f"{what} ≤ {limit:g}{unit}", lambda value: value <= limit)


def at_least(what: str, limit: float, unit: str = "") -> Condition[float]:
    """value ≥ limit."""
    return Condition(f"{what} ≥ {limit:g}{unit}", lambda value: value >= limit)


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


def increasing(words: str) -> Condition[Pairs]:
    """y increases strictly with x, for pairs in the order of x."""
    return Condition(words, is_increasing)


def every(condition: Condition[Value], where: str) -> Condition[Sequence[Value]]:
    """The condition is met by every value; where: as in "at every tolerance"."""
    words = f"{condition.words} {where}"
    return Condition(words, lambda values: all(condition.test(value) for value in values))
