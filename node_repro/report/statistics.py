"""Means over seeds, and the standard errors of their differences."""

import math
import statistics
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

Pairs = Sequence[tuple[float, float]]
"""x and y, usually in the order of x."""


class Spread(NamedTuple):
    """A number over seeds: mean, sample standard deviation (None for one seed), number of seeds."""

    mean: float
    sd: float | None
    n: int

    def scaled(self, factor: float) -> "Spread":
        """The same number in another unit."""
        return Spread(self.mean * factor, None if self.sd is None else self.sd * factor, self.n)

    def mean_error(self, single: float) -> float:
        """Standard error of the mean over seeds, sd / sqrt(n); `single` for one seed."""
        return single if self.sd is None else self.sd / math.sqrt(self.n)


class Difference(NamedTuple):
    """A difference and its standard error."""

    value: float
    error: float


def spread(values: Iterable[float | None]) -> Spread | None:
    """Mean and standard deviation of the values that are not None; None if there are none."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    sd = statistics.stdev(known) if len(known) > 1 else None
    return Spread(statistics.mean(known), sd, len(known))


def scaled(value: Spread | None, factor: float) -> Spread | None:
    """In another unit, if there is a value."""
    return None if value is None else value.scaled(factor)


def percent(share: Spread | None) -> Spread | None:
    """A share in per cent."""
    return scaled(share, 100)


def mean_difference(a: Spread, b: Spread) -> Difference:
    """The mean of a less that of b, with its standard error over seeds.

    With a single seed the standard error is unknown and counts as infinite.
    """
    error = math.hypot(a.mean_error(math.inf), b.mean_error(math.inf))
    return Difference(a.mean - b.mean, error)


def difference_of_differences(a: tuple[Spread, Spread], b: tuple[Spread, Spread]) -> Difference:
    """(a[0] - a[1]) - (b[0] - b[1]) of four means, with its standard error over seeds."""
    first, second = mean_difference(*a), mean_difference(*b)
    return Difference(first.value - second.value, math.hypot(first.error, second.error))


def binomial_error(share: float, count: int) -> float:
    """Standard error of a share measured on `count` examples."""
    return math.sqrt(share * (1 - share) / count)


def share_error(share: Spread, count: int) -> float:
    """Standard error of a mean share: binomial error and standard error over seeds combined."""
    return math.hypot(binomial_error(share.mean, count), share.mean_error(0.0))


def is_increasing(pairs: Pairs) -> bool:
    """Whether y increases strictly with x; the pairs are in the order of x."""
    return all(a < b for (_, a), (_, b) in pairwise(pairs))
