"""Means over seeds, differences of means, and their confidence intervals."""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

Pairs = Sequence[tuple[float, float]]
"""x and y, usually in the order of x."""


class Interval(NamedTuple):
    """A confidence interval; without bounds if nothing is known about the error."""

    low: float
    high: float

    @property
    def is_bounded(self) -> bool:
        """Whether both ends are finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def scaled(self, factor: float) -> "Interval":
        """The same interval in another unit."""
        return Interval(self.low * factor, self.high * factor)


class Spread(NamedTuple):
    """A number over seeds: mean, sample standard deviation (None for one seed), number of seeds."""

    mean: float
    sd: float | None
    n: int

    @property
    def error(self) -> float:
        """Standard error of the mean over seeds; infinite for a single seed."""
        return math.inf if self.sd is None else self.sd / math.sqrt(self.n)

    def scaled(self, factor: float) -> "Spread":
        """The same number in another unit."""
        return Spread(self.mean * factor, None if self.sd is None else self.sd * factor, self.n)

    def interval(self, confidence: float) -> Interval:
        """Two-sided t interval of the mean over seeds."""
        return Difference(self.mean, self.error, self.n - 1).interval(confidence)


class Difference(NamedTuple):
    """A difference, its standard error, and the degrees of freedom of that error."""

    value: float
    error: float
    df: float

    def scaled(self, factor: float) -> "Difference":
        """The same difference in another unit."""
        return Difference(self.value * factor, self.error * factor, self.df)

    def interval(self, confidence: float) -> Interval:
        """Two-sided t interval; without bounds if the error is infinite."""
        from scipy.special import stdtrit

        if math.isinf(self.error):
            return Interval(-math.inf, math.inf)
        half = float(stdtrit(self.df, (1 + confidence) / 2)) * self.error
        return Interval(self.value - half, self.value + half)


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
    """The mean of a less that of b, over different seeds, by Welch's method.

    With a single seed the standard error is unknown and counts as infinite.
    """
    return _welch(a.mean - b.mean, (a, b))


def difference_of_differences(a: tuple[Spread, Spread], b: tuple[Spread, Spread]) -> Difference:
    """(a[0] - a[1]) - (b[0] - b[1]) of four means, by Welch's method."""
    return _welch(a[0].mean - a[1].mean - (b[0].mean - b[1].mean), (*a, *b))


def difference_from(mean: Spread, reference: float, reference_error: float) -> Difference:
    """A mean over seeds less a number with a known standard error."""
    return _welch(mean.mean - reference, (mean,), reference_error**2)


def paired_difference(pairs: Pairs) -> Difference:
    """The mean of a - b over pairs (a, b), as of the same seed. Infinite error for one pair."""
    gap = spread(a - b for a, b in pairs)
    if gap is None:
        raise ValueError("paired_difference needs at least one pair")
    return Difference(gap.mean, gap.error, gap.n - 1)


def difference_over_seeds(a: Mapping[int, float], b: Mapping[int, float]) -> Difference:
    """The mean of a less that of b, numbers by seed: paired if the seeds are equal, else Welch."""
    if a.keys() == b.keys():
        return paired_difference([(a[seed], b[seed]) for seed in a])
    first, second = spread(a.values()), spread(b.values())
    if first is None or second is None:
        raise ValueError("difference_over_seeds needs numbers of at least one seed")
    return mean_difference(first, second)


def crossed_difference(
    a: Mapping[int, frozenset[int]], b: Mapping[int, frozenset[int]], examples: int
) -> Difference:
    """The error of network a less that of b, over the same seeds and the same test examples.

    The differences d(seed, example) in -1, 0, 1 are a two-way layout without replication, in which
    seeds and examples are both random samples, as readers and cases are in a study of two
    diagnostic methods. With the mean squares of seeds, examples and residuals, the variance of the
    mean is (MS_seeds + max(MS_examples - MS_residual, 0)) / (seeds x examples), and its degrees of
    freedom are those of Hillis (2007), "A comparison of denominator degrees of freedom methods for
    multiple observer ROC analysis", Statistics in Medicine 26, 596-619. It is at least the variance
    over seeds with the examples fixed; at least that over examples with the seeds fixed, too, is
    our own addition, because the mean square of few seeds may be small by chance.

    Args:
        a, b: Seed -> the examples that the network gets wrong, for the same seeds.
        examples: Number of test examples.
    """
    seeds = len(a)
    by_seed = [(len(a[seed]) - len(b[seed])) / examples for seed in a]
    by_example = Counter(example for seed in a for example in a[seed] - b[seed])
    by_example.subtract(example for seed in a for example in b[seed] - a[seed])
    value = statistics.fmean(by_seed)
    if seeds == 1:
        return Difference(value, math.inf, 0)
    correction = seeds * examples * value**2
    of_seeds = examples * sum(mean**2 for mean in by_seed) - correction
    of_examples = sum(count**2 for count in by_example.values()) / seeds - correction
    whole = sum(len(a[seed] ^ b[seed]) for seed in a) - correction
    residual = (whole - of_seeds - of_examples) / ((seeds - 1) * (examples - 1))
    seed_square, example_square = of_seeds / (seeds - 1), of_examples / (examples - 1)
    square = max(seed_square + max(example_square - residual, 0), example_square)
    df = (seeds - 1) * (square / seed_square) ** 2 if seed_square else math.inf
    return Difference(value, math.sqrt(square / (seeds * examples)), df)


def rank_correlation(pairs: Pairs) -> float | None:
    """Spearman's rank correlation; None if it is undefined, as all x or all y are equal."""
    from scipy.stats import rankdata

    if any(len(set(values)) < 2 for values in zip(*pairs, strict=True)) or len(pairs) < 2:
        return None
    x, y = (rankdata(values).tolist() for values in zip(*pairs, strict=True))
    return statistics.correlation(x, y)


def correlation_interval(correlation: float, count: int, confidence: float) -> Interval:
    """Interval of a rank correlation of `count` pairs, by Fisher's transformation.

    The variance of the transformed correlation is 1.06 / (count - 3) (Fieller, Hartley, Pearson:
    Tests for rank correlation coefficients, 1957).
    """
    from scipy.special import ndtri

    if count <= 3 or abs(correlation) >= 1:
        return Interval(-math.inf, math.inf)
    half = float(ndtri((1 + confidence) / 2)) * math.sqrt(1.06 / (count - 3))
    z = math.atanh(correlation)
    return Interval(math.tanh(z - half), math.tanh(z + half))


def interval_of_change(change: Difference, examples: int, confidence: float) -> Interval:
    """Interval of a mean change over test examples.

    Where no example changed, the standard error is 0, and the rule of three applies: with 95 %
    confidence, at most a share of 3 / examples of all examples changes.
    """
    if change.error == 0:
        return Interval(change.value - 3 / examples, change.value + 3 / examples)
    return change.interval(confidence)


def binomial_error(share: float, count: int) -> float:
    """Standard error of a share measured on `count` examples."""
    return math.sqrt(share * (1 - share) / count)


def is_increasing(pairs: Pairs) -> bool:
    """Whether y increases strictly with x; the pairs are in the order of x."""
    return all(a < b for (_, a), (_, b) in pairwise(pairs))


def _welch(value: float, means: Sequence[Spread], known_variance: float = 0.0) -> Difference:
    """A sum of means with signs: variances add, degrees of freedom by Welch and Satterthwaite.

    Args:
        value: The sum.
        means: The independent means in it.
        known_variance: Variance of further terms, whose error is known exactly.
    """
    if any(mean.sd is None for mean in means):
        return Difference(value, math.inf, 0)
    variances = [mean.error**2 for mean in means]
    whole = sum(variances) + known_variance
    uncertain = sum(v**2 / (mean.n - 1) for v, mean in zip(variances, means, strict=True))
    df = whole**2 / uncertain if uncertain else math.inf
    return Difference(value, math.sqrt(whole), df)
