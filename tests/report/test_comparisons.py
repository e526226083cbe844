"""Rules by confidence intervals: each verdict, and the measured values in words."""

import pytest

from node_repro.report.artifact import Verdict
from node_repro.report.comparisons import (
    above_zero,
    claim_lower,
    describe_equality,
    describe_mean,
    equal_within,
    increase_at_most,
    mean_at_least,
    mean_at_most,
)
from node_repro.report.statistics import Difference, Interval, Spread, mean_difference

HOLDS, FAILS, UNDECIDED = Verdict.HOLDS, Verdict.FAILS, Verdict.UNDECIDED

SINGLE = Spread(1, None, 1)


@pytest.mark.parametrize(
    ("ours", "other", "verdict"),
    [
        (Spread(1, 0.1, 4), Spread(1.2, 0.1, 4), HOLDS),  # 2.45 standard errors are 0.173
        (Spread(1, 0.1, 4), Spread(1.15, 0.1, 4), UNDECIDED),
        (Spread(1, 0.1, 4), Spread(0.85, 0.1, 4), UNDECIDED),
        (Spread(1, 0.1, 4), Spread(0.8, 0.1, 4), FAILS),
        (SINGLE, Spread(9, 0.1, 4), UNDECIDED),
        (SINGLE, SINGLE, UNDECIDED),
        (None, Spread(0.9, 0.1, 4), Verdict.OPEN),
    ],
)
def test_a_mean_is_lower_if_the_interval_of_the_difference_is_above_zero(
    ours: Spread | None, other: Spread, verdict: Verdict
) -> None:
    assert claim_lower("", ours, other, 2).verdict is verdict


def test_a_comparison_is_told_with_its_interval_and_its_seeds() -> None:
    claim = claim_lower("", Spread(0.101, 0.003, 10), Spread(0.154, 0.013, 10), 3, " nats")
    assert claim.measured == (
        "0.101 ± 0.003 nats (n = 10) against 0.154 ± 0.013 nats (n = 10): "
        "difference 0.053 nats, 95 % interval 0.044 to 0.062"
    )
    assert "95 % interval" in claim.rule
    claim = claim_lower("", SINGLE, Spread(0.5, 0.1, 3), 1)
    assert claim.measured == (
        "1.0 (n = 1) against 0.5 ± 0.1 (n = 3): difference −0.5, no interval, a single seed"
    )


@pytest.mark.parametrize(
    ("value", "error", "verdict"),
    [
        (0.05, 0.05, HOLDS),  # 90 %: −0.04 to 0.14
        (-0.05, 0.05, HOLDS),
        (0.10, 0.04, UNDECIDED),  # 90 %: 0.03 to 0.17; 95 %: 0.01 to 0.19
        (-0.10, 0.04, UNDECIDED),
        (0.40, 0.10, FAILS),  # 95 %: 0.18 to 0.62
        (-0.40, 0.10, FAILS),
        (0.10, 0.02, HOLDS),  # different from 0, and within the margin
        (0.05, 0.06, UNDECIDED),  # 90 %: −0.06 to 0.16
        (0.00, 0.10, UNDECIDED),
        (0.00, 0.00, HOLDS),
        (0.20, 0.00, FAILS),
    ],
)
def test_two_numbers_are_equal_by_two_one_sided_tests(
    value: float, error: float, verdict: Verdict
) -> None:
    # at 10 degrees of freedom the quantiles are 1.81 and 2.23
    rule = equal_within("the difference", 0.15, "0.15 points")
    assert rule.judge(Difference(value, error, 10)) is verdict
    assert "90 % interval of the difference within ±0.15 points" in str(rule)


def test_an_equality_is_told_with_both_intervals() -> None:
    words = describe_equality(Difference(0.05, 0.05, 10), 2, " points")
    assert words == (
        "difference 0.05 points, 95 % interval −0.06 to 0.16, 90 % interval −0.04 to 0.14"
    )
    assert "90 %" not in describe_equality(mean_difference(SINGLE, SINGLE), 2)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.3, 0.15, HOLDS),
        (0.05, 0.15, HOLDS),
        (0.05, 0.16, UNDECIDED),
        (0.16, 0.30, FAILS),
        (0.0, 0.16, UNDECIDED),
        (-0.3, 0.3, UNDECIDED),
    ],
)
def test_an_increase_is_within_the_margin_by_its_upper_end(
    low: float, high: float, verdict: Verdict
) -> None:
    assert increase_at_most("the increase", 0.15).judge(Interval(low, high)) is verdict


@pytest.mark.parametrize(
    ("mean", "most", "least"),
    [
        (Spread(0.7, 0.1, 4), HOLDS, FAILS),  # ± 0.159
        (Spread(0.9, 0.1, 4), UNDECIDED, UNDECIDED),
        (Spread(1.1, 0.1, 4), UNDECIDED, UNDECIDED),
        (Spread(1.2, 0.1, 4), FAILS, HOLDS),
        (Spread(1.0, 0.0, 4), HOLDS, HOLDS),
        (Spread(0.1, None, 1), UNDECIDED, UNDECIDED),
        (None, Verdict.OPEN, Verdict.OPEN),
    ],
)
def test_a_mean_meets_a_limit_with_its_whole_interval(
    mean: Spread | None, most: Verdict, least: Verdict
) -> None:
    assert mean_at_most("KL", 1).judge(mean) is most
    assert mean_at_least("accuracy", 1).judge(mean) is least


def test_a_mean_is_told_with_its_interval() -> None:
    assert describe_mean(Spread(0.7, 0.1, 4), 2, " nats") == (
        "0.70 ± 0.10 nats (n = 4), 95 % interval 0.54 to 0.86"
    )
    assert describe_mean(SINGLE, 0) == "1 (n = 1), no interval, a single seed"


def test_the_rule_names_the_difference_and_the_scope() -> None:
    rule = above_zero("a − b", scope="all of MNIST")
    assert str(rule) == (
        "on all of MNIST; holds: 95 % interval of the difference (a − b) above 0; "
        "does not hold: all of it below 0; otherwise undecided"
    )
