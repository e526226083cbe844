"""Rules: words, decision, and the answer where nothing was measured."""

from typing import Any

import pytest

from node_repro.report.artifact import Verdict
from node_repro.report.rules import (
    Condition,
    Rule,
    above_by_errors,
    at_least,
    at_most,
    between,
    claim_lower,
    equal_within_errors,
    every,
    increasing,
    less_than,
    more_than,
    near,
    not_above_by_errors,
    some,
)
from node_repro.report.statistics import Difference, Spread

HALF = Rule(at_most("ratio", 0.6), less_than("ratio", 1))


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (0.6, Verdict.HOLDS),
        (0.61, Verdict.PARTLY),
        (1.0, Verdict.FAILS),
        (None, Verdict.OPEN),
    ],
)
def test_a_rule_holds_or_holds_in_part_or_fails(value: float | None, verdict: Verdict) -> None:
    claim = HALF.claim("a claim", value, lambda ratio: f"{ratio:.2f}")
    assert claim.verdict is verdict
    assert claim.measured == ("not measured" if value is None else f"{value:.2f}")
    assert claim.rule == "holds: ratio ≤ 0.6; in part: ratio < 1"


def test_runs_outside_the_scope_are_not_comparable() -> None:
    rule = Rule(at_most("ratio", 0.6), scope="all of MNIST")
    assert rule.judge(0.1, comparable=False) is Verdict.INCOMPARABLE
    assert rule.judge(None, comparable=False) is Verdict.OPEN
    assert "all of MNIST" in str(rule)


@pytest.mark.parametrize(
    ("condition", "met", "missed", "words"),
    [
        (at_least("x", 2), 2, 1.9, "x ≥ 2"),
        (more_than("x", 2), 2.1, 2, "x > 2"),
        (between("x", 1, 2, ), 1, 2.1, "1 ≤ x ≤ 2"),
        (near("x", 0.5, 0.1), 0.59, 0.61, "0.1 of 0.5"),
        (equal_within_errors("d"), Difference(-2, 1), Difference(-2.1, 1), "|d| ≤ 2 s.e."),
        (not_above_by_errors("d"), Difference(-9, 1), Difference(2.1, 1), "d ≤ 2 s.e."),
        (above_by_errors("d"), Difference(2.1, 1), Difference(2, 1), "d > 2 s.e."),
        (increasing("falls"), [(1, 1), (2, 3)], [(1, 1), (2, 1)], "falls"),
        (every(at_most("x", 1), "everywhere"), [0, 1], [0, 2], "x ≤ 1 everywhere"),
        (some(at_most("x", 1), "somewhere"), [2, 1], [2, 2], "somewhere"),
        (at_most("x", 1) & at_least("x", 0), 0.5, -1, "x ≤ 1, and x ≥ 0"),
        (at_most("x", 0) | at_least("x", 1), 1, 0.5, "x ≤ 0, or x ≥ 1"),
    ],
)  # fmt: skip
def test_conditions_say_what_they_test(
    condition: Condition[Any], met: object, missed: object, words: str
) -> None:
    assert condition.test(met)
    assert not condition.test(missed)
    assert words in condition.words


@pytest.mark.parametrize(
    ("ours", "other", "verdict"),
    [
        (Spread(1, 0.1, 4), Spread(1.2, 0.1, 4), Verdict.HOLDS),  # 0.2 > 2 x 0.071
        (Spread(1, 0.1, 4), Spread(1.1, 0.1, 4), Verdict.PARTLY),
        (Spread(1, None, 1), Spread(9, 0.1, 4), Verdict.PARTLY),
        (Spread(1, 0.1, 4), Spread(0.9, 0.1, 4), Verdict.FAILS),
        (None, Spread(0.9, 0.1, 4), Verdict.OPEN),
    ],
)
def test_a_mean_is_lower_by_more_than_two_standard_errors_over_seeds(
    ours: Spread | None, other: Spread, verdict: Verdict
) -> None:
    assert claim_lower("", ours, other, 2).verdict is verdict
