"""Rules that decide by confidence intervals: comparisons of two means, limits on one, and changes.

An interval that allows both answers leaves a claim undecided, as does a single seed.
"""

from node_repro.report.artifact import Claim
from node_repro.report.format import (
    format_interval,
    format_number,
    format_spread,
    interval_name,
)
from node_repro.report.margins import CONFIDENCE
from node_repro.report.rules import Condition, Rule
from node_repro.report.statistics import Difference, Interval, Spread, mean_difference

TWO_ONE_SIDED = 2 * CONFIDENCE - 1
"""Confidence of the interval of two one-sided tests at CONFIDENCE each."""

_TWO_SIDED, _ONE_SIDED = interval_name(CONFIDENCE), interval_name(TWO_ONE_SIDED)


def above_zero(what: str, scope: str = "") -> Rule[Difference]:
    """Superiority: holds if the interval lies above 0, does not hold if it lies below.

    Args:
        what: The difference, "error without the block − error with it".
        scope: As in `Rule`.
    """
    return Rule(
        Condition(
            f"{_TWO_SIDED} of the difference ({what}) above 0",
            lambda difference: difference.interval(CONFIDENCE).low > 0,
        ),
        Condition("all of it below 0", lambda difference: difference.interval(CONFIDENCE).high < 0),
        scope,
    )


def equal_within(what: str, margin: float, words: str, scope: str = "") -> Rule[Difference]:
    """Equality by two one-sided tests: holds if the interval lies within ± margin.

    Does not hold if the whole two-sided interval is beyond the margin.

    Args:
        what: The difference.
        margin: The largest difference that counts as none.
        words: The margin in words, "0.15 points".
        scope: As in `Rule`.
    """

    def is_within(difference: Difference) -> bool:
        low, high = difference.interval(TWO_ONE_SIDED)
        return -margin <= low and high <= margin

    def is_different(difference: Difference) -> bool:
        low, high = difference.interval(CONFIDENCE)
        return low > margin or high < -margin

    return Rule(
        Condition(f"{_ONE_SIDED} of {what} within ±{words}", is_within),
        Condition(f"all of the {_TWO_SIDED} beyond it", is_different),
        scope,
    )


def increase_at_most(what: str, margin: float, unit: str = "") -> Rule[Interval]:
    """Non-inferiority, for the interval of an increase: holds if its upper end is ≤ margin.

    Does not hold if the whole interval is above the margin.
    """
    return Rule(
        Condition(
            f"upper end of the {_TWO_SIDED} of {what} ≤ {margin:g}{unit}",
            lambda interval: interval.high <= margin,
        ),
        Condition("lower end above that", lambda interval: interval.low > margin),
    )


def above(what: str, limit: float) -> Rule[Interval]:
    """An interval: holds if all of it is above the limit, does not hold if all is below."""
    return Rule(
        Condition(f"{_TWO_SIDED} of the {what} above {limit:g}", lambda ends: ends.low > limit),
        Condition("all of it below", lambda ends: ends.high < limit),
    )


def mean_at_most(what: str, limit: float, unit: str = "") -> Rule[Spread]:
    """A mean over seeds: holds if the whole interval is ≤ limit, does not hold if all is above."""
    return Rule(
        Condition(
            f"{_TWO_SIDED} of the mean {what} ≤ {limit:g}{unit}",
            lambda mean: mean.interval(CONFIDENCE).high <= limit,
        ),
        Condition("all of it above", lambda mean: mean.interval(CONFIDENCE).low > limit),
    )


def mean_at_least(what: str, limit: float, unit: str = "") -> Rule[Spread]:
    """A mean over seeds: holds if the whole interval is ≥ limit, does not hold if all is below."""
    return Rule(
        Condition(
            f"{_TWO_SIDED} of the mean {what} ≥ {limit:g}{unit}",
            lambda mean: mean.interval(CONFIDENCE).low >= limit,
        ),
        Condition("all of it below", lambda mean: mean.interval(CONFIDENCE).high < limit),
    )


def mean_between(what: str, low: float, high: float) -> Rule[Spread]:
    """A mean over seeds: holds if the whole interval is within, does not hold if all is outside."""

    def is_within(mean: Spread) -> bool:
        interval = mean.interval(CONFIDENCE)
        return low <= interval.low and interval.high <= high

    def is_outside(mean: Spread) -> bool:
        interval = mean.interval(CONFIDENCE)
        return interval.high < low or interval.low > high

    return Rule(
        Condition(f"{_TWO_SIDED} of the mean {what} within {low:g} to {high:g}", is_within),
        Condition("all of it outside", is_outside),
    )


LOWER_OVER_SEEDS = above_zero("the other mean over seeds − the first")


def claim_lower(
    text: str,
    ours: Spread | None,
    other: Spread | None,
    digits: int,
    unit: str = "",
    *,
    decides: bool = True,
    of_paper: bool = True,
) -> Claim:
    """The claim that the first mean over seeds is below the second."""
    difference = None if ours is None or other is None else mean_difference(other, ours)

    def describe(difference: Difference) -> str:
        assert ours and other
        pair = format_pair(ours, other, digits, unit)
        return f"{pair}: {describe_difference(difference, digits, unit)}"

    return LOWER_OVER_SEEDS.claim(text, difference, describe, decides=decides, of_paper=of_paper)


def format_pair(ours: Spread, other: Spread, digits: int, unit: str = "") -> str:
    """As in "0.10 ± 0.01 nats (n = 3) against 0.20 ± 0.02 nats (n = 3)"."""
    return f"{format_spread(ours, digits, unit)} against {format_spread(other, digits, unit)}"


def describe_difference(difference: Difference, digits: int, unit: str = "") -> str:
    """As in "difference 0.053 nats, 95 % interval 0.044 to 0.062"."""
    interval = format_interval(difference.interval(CONFIDENCE), digits, CONFIDENCE)
    return f"difference {format_number(difference.value, digits)}{unit}, {interval}"


def describe_equality(difference: Difference, digits: int, unit: str = "") -> str:
    """The same with the interval of the two one-sided tests, if there is one."""
    words = describe_difference(difference, digits, unit)
    interval = difference.interval(TWO_ONE_SIDED)
    if not interval.is_bounded:
        return words
    return f"{words}, {format_interval(interval, digits, TWO_ONE_SIDED)}"


def describe_mean(mean: Spread, digits: int, unit: str = "") -> str:
    """As in "0.012 ± 0.004 nats (n = 5), 95 % interval 0.007 to 0.017"."""
    interval = format_interval(mean.interval(CONFIDENCE), digits, CONFIDENCE)
    return f"{format_spread(mean, digits, unit)}, {interval}"
