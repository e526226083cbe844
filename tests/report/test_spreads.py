"""Intervals and differences of means, against scipy's t tests."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from node_repro.report.statistics import (
    Difference,
    Spread,
    correlation_interval,
    crossed_difference,
    difference_from,
    difference_of_differences,
    difference_over_seeds,
    interval_of_change,
    mean_difference,
    paired_difference,
    rank_correlation,
    spread,
)

A = [0.101, 0.104, 0.098, 0.109]
B = [0.154, 0.131, 0.170]
C = [0.120, 0.128, 0.111, 0.119]


def spread_of(values: list[float]) -> Spread:
    found = spread(values)
    assert found is not None
    return found


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_a_mean_has_the_t_interval(confidence: float) -> None:
    expected = stats.ttest_1samp(B, 0).confidence_interval(confidence)
    assert spread_of(B).interval(confidence) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_a_difference_of_means_is_welchs(confidence: float) -> None:
    test: Any = stats.ttest_ind(A, B, equal_var=False)
    expected = test.confidence_interval(confidence)
    difference = mean_difference(spread_of(A), spread_of(B))
    assert difference.df == pytest.approx(test.df)
    assert difference.value / difference.error == pytest.approx(test.statistic)
    assert difference.interval(confidence) == pytest.approx((expected.low, expected.high))


def test_the_same_seeds_are_paired_and_others_are_not() -> None:
    test: Any = stats.ttest_rel(A, C)
    expected = test.confidence_interval(0.95)
    paired = difference_over_seeds(dict(enumerate(A)), dict(enumerate(C)))
    assert paired == paired_difference(list(zip(A, C, strict=True)))
    assert paired.df == test.df == 3
    assert paired.interval(0.95) == pytest.approx((expected.low, expected.high))
    others = difference_over_seeds(dict(enumerate(A)), dict(enumerate(C, start=1)))
    assert others == mean_difference(spread_of(A), spread_of(C))


def test_of_a_single_seed_nothing_is_known() -> None:
    one = Spread(0.1, None, 1)
    unbounded = (-math.inf, math.inf)
    assert one.interval(0.95) == unbounded
    for difference in (
        mean_difference(one, spread_of(A)),
        difference_over_seeds({0: 0.1}, {0: 0.2}),
        difference_from(one, 0.2, 0.01),
        difference_of_differences((one, spread_of(A)), (spread_of(B), spread_of(C))),
    ):
        assert difference.interval(0.95) == unbounded
        assert not difference.interval(0.95).is_bounded


def test_equal_numbers_have_an_interval_of_no_width() -> None:
    assert Spread(0.3, 0.0, 3).interval(0.95) == (0.3, 0.3)
    difference = mean_difference(Spread(0.3, 0.0, 3), Spread(0.1, 0.0, 2))
    assert difference.interval(0.95) == pytest.approx((0.2, 0.2))


def test_four_means_add_their_variances() -> None:
    samples = (A, B, C, A)
    variances = [np.var(x, ddof=1) / len(x) for x in samples]
    df = sum(variances) ** 2 / sum(
        v**2 / (len(x) - 1) for v, x in zip(variances, samples, strict=True)
    )
    a, b, c, d = (spread_of(x) for x in samples)
    difference = difference_of_differences((a, b), (c, d))
    assert difference.value == pytest.approx(np.mean(A) - np.mean(B) - np.mean(C) + np.mean(A))
    assert difference.error == pytest.approx(math.sqrt(sum(variances)))
    assert difference.df == pytest.approx(df)


def test_a_known_error_adds_variance_and_no_uncertainty_of_it() -> None:
    mean = spread_of(B)
    difference = difference_from(mean, 0.1, 0.02)
    assert difference.error == pytest.approx(math.hypot(mean.error, 0.02))
    assert difference.df == pytest.approx(2 * (difference.error / mean.error) ** 4)
    assert difference_from(Spread(0.2, 0.0, 3), 0.1, 0.02).interval(0.95) == pytest.approx(
        (0.1 - 1.959964 * 0.02, 0.1 + 1.959964 * 0.02)
    )


def test_where_no_example_changed_three_of_n_may() -> None:
    assert interval_of_change(Difference(0, 0, 999), 1000, 0.95) == (-0.003, 0.003)
    change = Difference(0.002, 0.001, 999)
    assert interval_of_change(change, 1000, 0.95) == change.interval(0.95)
    low, high = change.interval(0.95)
    assert (low, high) == pytest.approx((0.002 - 0.0019623, 0.002 + 0.0019623), abs=1e-6)
    assert change.scaled(100).interval(0.95) == pytest.approx((100 * low, 100 * high))
    assert change.interval(0.95).scaled(100) == pytest.approx((100 * low, 100 * high))


@pytest.mark.parametrize("chance", [0.02, 0.3])
def test_a_difference_over_seeds_and_examples_has_the_variance_of_a_two_way_layout(
    chance: float,
) -> None:
    random = np.random.default_rng(3)
    seeds, examples = 4, 300
    hard = chance * 2 * random.random(examples)
    wrong = random.random((2, seeds, examples)) < hard * np.array([1.0, 0.7])[:, None, None]
    a, b = ({s: frozenset(np.flatnonzero(row).tolist()) for s, row in enumerate(w)} for w in wrong)

    d = wrong[0].astype(float) - wrong[1]
    of_seed, of_example, value = d.mean(1), d.mean(0), d.mean()
    ms_seed = examples * of_seed.var(ddof=1)
    ms_example = seeds * of_example.var(ddof=1)
    residual = d - of_seed[:, None] - of_example + value
    ms_residual = (residual**2).sum() / ((seeds - 1) * (examples - 1))
    square = max(ms_seed + max(ms_example - ms_residual, 0), ms_example)
    expected = (value, math.sqrt(square / d.size), (seeds - 1) * (square / ms_seed) ** 2)
    assert tuple(crossed_difference(a, b, examples)) == pytest.approx(expected)


def test_a_difference_on_the_same_examples_has_mcnemars_variance_if_seeds_agree() -> None:
    wrong, other = frozenset(range(30)), frozenset(range(20, 40))  # 20 + 10 of 1,000 discordant
    found = crossed_difference({0: wrong, 1: wrong}, {0: other, 1: other}, 1_000)
    variance = (30 - (20 - 10) ** 2 / 1_000) / 1_000 / 999
    assert found == pytest.approx((0.010, math.sqrt(variance), math.inf))
    alone = crossed_difference({0: wrong}, {0: other}, 1_000)
    assert (alone.value, alone.error) == (pytest.approx(0.010), math.inf)


def test_a_rank_correlation_is_spearmans_with_fishers_interval() -> None:
    pairs = [(1.0, 3.0), (2.0, 3.0), (2.0, 8.0), (5.0, 7.0), (9.0, 40.0)]
    expected: Any = stats.spearmanr(pairs)
    assert rank_correlation(pairs) == pytest.approx(expected.statistic)
    assert rank_correlation([(1.0, 2.0), (2.0, 2.0)]) is None
    low, high = correlation_interval(0.5, 103, 0.95)  # tanh(0.5493 -/+ 1.96 * 1.0296 / 10)
    assert (low, high) == pytest.approx((0.3342, 0.6360), abs=1e-3)
