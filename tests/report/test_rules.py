"""Rules: words, decision, and the answer where nothing was measured."""

from typing import Any

import pytest

from node_repro.report.artifact import Verdict
from node_repro.report.margins import DECIDING_PROFILES
from node_repro.report.rules import (
    Condition,
    Rule,
    at_least,
    at_most,
    between,
    every,
    increasing,
    more_than,
    near,
)
from node_repro.report.selection import Selection

HALF = Rule(at_most("ratio", 0.6))


@pytest.mark.parametrize(
    ("value", "verdict"), [(0.6, Verdict.HOLDS), (0.61, Verdict.FAILS), (None, Verdict.OPEN)]
)
def test_a_rule_holds_or_fails(value: float | None, verdict: Verdict) -> None:
    claim = HALF.claim("a claim", value, lambda ratio: f"{ratio:.2f}")
    assert claim.verdict is verdict
    assert claim.measured == ("not measured" if value is None else f"{value:.2f}")
    assert claim.rule == "holds: ratio ≤ 0.6"
    assert claim.of_paper


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(0.6, Verdict.HOLDS), (0.8, Verdict.UNDECIDED), (1.0, Verdict.FAILS)],
)
def test_a_rule_with_two_conditions_is_undecided_between_them(
    value: float, verdict: Verdict
) -> None:
    rule = Rule(at_most("ratio", 0.6), at_least("ratio", 1))
    assert rule.judge(value) is verdict
    assert str(rule) == "holds: ratio ≤ 0.6; does not hold: ratio ≥ 1; otherwise undecided"


def test_runs_outside_the_scope_are_not_comparable() -> None:
    rule = Rule(at_most("ratio", 0.6), scope="all of MNIST")
    assert rule.judge(0.1, comparable=False) is Verdict.INCOMPARABLE
    assert rule.judge(None, comparable=False) is Verdict.OPEN
    assert "all of MNIST" in str(rule)


def test_a_profile_that_decides_nothing_leaves_a_claim_untested_with_its_number() -> None:
    claim = HALF.claim("a claim", 0.5, "{:.2f}".format, decides=False, of_paper=False)
    assert (claim.verdict, claim.measured) == (Verdict.UNTESTED, "0.50")
    assert not claim.of_paper
    assert HALF.judge(None, decides=False) is Verdict.OPEN
    assert HALF.judge(0.5, comparable=False, decides=False) is Verdict.INCOMPARABLE


def test_the_profiles_of_long_training_decide() -> None:
    profiles = ("smoke", "demo", "quick", "close", "reference", "paper")
    assert {p for p in profiles if Selection(p, ()).decides} == DECIDING_PROFILES


@pytest.mark.parametrize(
    ("condition", "met", "missed", "words"),
    [
        (at_least("x", 2), 2, 1.9, "x ≥ 2"),
        (more_than("x", 2), 2.1, 2, "x > 2"),
        (between("x", 1, 2), 1, 2.1, "1 ≤ x ≤ 2"),
        (near("x", 0.5, 0.1), 0.59, 0.61, "0.1 of 0.5"),
        (increasing("falls"), [(1, 1), (2, 3)], [(1, 1), (2, 1)], "falls"),
        (every(at_most("x", 1), "everywhere"), [0, 1], [0, 2], "x ≤ 1 everywhere"),
        (at_most("x", 1) & at_least("x", 0), 0.5, -1, "x ≤ 1, and x ≥ 0"),
    ],
)
def test_conditions_say_what_they_test(
    condition: Condition[Any], met: object, missed: object, words: str
) -> None:
    assert condition.test(met)
    assert not condition.test(missed)
    assert words in condition.words
