"""The goals and the page of `make bench`, from small records that are made up here; and that the
documentation is what the recorded numbers make of it.
"""

from pathlib import Path
from typing import Any

import pytest
from bench import goals, page, subjects
from bench.interleaved import Entry, compare
from bench.program import Contender
from bench.rows import best, growth, ratio
from pages import fill

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {"cpu": "a CPU", "cores": 2, "torch": "2.0", "commit": "abc", "changed": False}


def iteration(name: str, seconds: float, error: float, nfe: tuple[int, int] = (20, 7)) -> dict:
    """A row of a training iteration, three rounds."""
    times = [seconds, 2 * seconds, 3 * seconds]
    return {
        "name": name, "seconds": times, "first_seconds": 1.0, "repeats": 1, "nfe": nfe,
        "gradient_error": error,
    }  # fmt: skip


def step(name: str, microseconds: float) -> dict:
    """A row of the solver alone: 100 attempted steps."""
    return {
        "name": name, "seconds": [1e-4 * microseconds] * 3, "first_seconds": 1.0, "repeats": 1,
        "attempted": 100, "rejected": 3, "nfe": 602, "error": 1e-6,
    }  # fmt: skip


def record(**parts: Any) -> dict:
    """A record with its environment."""
    return parts | {
        "environment": ENVIRONMENT,
        "began": "2026-01-01T00:00:00+00:00",
        "took_seconds": 60,
    }


def flow(ours: float, peers: float, error: float = 1e-4) -> dict:
    """Records of the flow alone."""
    rows = [
        iteration("ours compiled, adjoint", ours, error),
        iteration("torchdiffeq, its own f", peers, 1e-3),
        iteration("diffrax", peers / 10, 1e-3),
    ]
    return {"flow": record(rows=rows)}


def goal(name: str, records: dict) -> goals.Goal:
    return next(one for one in goals.judged(records) if one.name == name)


def test_a_goal_is_met_if_all_its_numbers_are() -> None:
    found = goal("P5", flow(ours=1.0, peers=40.0))
    assert (found.verdict, found.reason) == ("met", "")
    assert "40x torchdiffeq, its own f" in str(found.checks[0])
    assert "**met**" in page.parts(flow(1.0, 40.0))["goals"]


def test_a_goal_that_misses_one_number_is_not_met_and_says_what_was_measured() -> None:
    found = goal("P5", flow(ours=1.0, peers=14.0))
    assert [check.verdict for check in found.checks] == ["not met", "not met"]
    assert found.verdict == "not met"
    assert "ours compiled, adjoint 2,000 ms" in found.reason
    assert f"* **P5**: {found.reason}" in page.parts(flow(1.0, 14.0))["goals"]


def test_a_faster_gradient_counts_only_with_an_error_no_larger() -> None:
    records = flow(ours=2.0, peers=100.0)
    rows = records["flow"]["rows"]
    rows.append(iteration("ours, direct", 1.0, 1e-2))
    found = best(rows, "diffrax")
    assert found is not None and found.equal
    assert found.row["name"] == "ours compiled, adjoint"
    assert "100x with `ours, direct`, error 1.0e-02" in str(goal("P5", records).checks[0])
    worse = goal("P5", flow(ours=1.0, peers=100.0, error=1e-2))
    assert worse.verdict == "not met"
    assert "no gradient of ours has as small an error" in str(worse.checks[0])


def test_a_peer_that_did_not_run_leaves_the_goal_open_with_its_reason() -> None:
    records = flow(ours=1.0, peers=40.0)
    records["flow"]["rows"][2] = {"name": "diffrax", "not_run": "cannot be installed: no network"}
    found = goal("P5", records)
    assert found.verdict == "not measured"
    assert found.reason == "diffrax not run: cannot be installed: no network"
    assert "not run: cannot be installed: no network" in page.parts(records)["flow"]


def test_a_goal_without_a_record_is_not_measured() -> None:
    found = goals.judged({})
    assert {one.verdict for one in found} == {"not measured"}
    assert [one.name for one in found] == [f"P{k}" for k in range(1, 13)]
    assert goal("P8", {}).reason == "subject memory: not run"


def test_a_missed_number_counts_more_than_a_missing_one() -> None:
    rows = [step("ours compiled", 10.0), step("torchdiffeq", 30.0)]
    rows.append({"name": "torchode", "not_run": "no such package"})
    records = {"solver": record(cases=[{"size": 300_000, "end": 40.0, "rows": rows}])}
    found = goal("P2", records)
    assert [check.verdict for check in found.checks] == ["not met", "not measured", "not measured"]
    assert found.verdict == "not met"
    assert "ours compiled 10, torchdiffeq 30" in found.reason


def test_a_peer_may_be_faster_by_the_factor_of_the_goal() -> None:
    rows = [step("ours compiled", 4.0), step("diffrax", 0.5)]
    records = {"solver": record(cases=[{"size": 4, "end": 40.0, "rows": rows}])}
    check = next(c for c in goal("P1", records).checks if "diffrax's at N = 4" in c.text)
    assert (check.value, check.verdict) == (pytest.approx(8.0), "met")
    rows[0] = step("ours compiled", 4.1)
    check = next(c for c in goal("P1", records).checks if "diffrax's at N = 4" in c.text)
    assert check.verdict == "not met"


def test_memory_is_compared_at_fifty_times_the_evaluations() -> None:
    def used(nfe: int, size: int) -> dict:
        return {"tolerance": 1.0, "nfe": nfe, "saved": 100, "allocated": size}

    many = {"contender": "ours, adjoint", "rows": [used(20, 100), used(1000, 101), used(4000, 500)]}
    assert growth(many, 50) == (50.0, 1.01)
    few = {"contender": "ours, adjoint", "rows": [used(20, 100), used(200, 100)]}
    records = {"memory": record(cases=[few])}
    assert goal("P8", records).verdict == "not met"
    assert "only 10 times the evaluations" in str(goal("P8", records).checks[0])
    assert goal("P8", {"memory": record(cases=[many])}).verdict == "met"


def test_a_ratio_is_that_of_the_rounds() -> None:
    slow, fast = {"seconds": [2.0, 30.0, 4.0]}, {"seconds": [1.0, 10.0, 1.0]}
    assert ratio(slow, fast) == 3.0


def test_the_table_of_the_readme_names_the_fastest_gradient_of_ours() -> None:
    records = flow(ours=1.0, peers=40.0)
    text = page.summary(records)
    assert "2,000 ms (adjoint)" in text
    assert "1 of 12 goals are met" in text


class Counting(Contender):
    """Says how often it was asked."""

    def __init__(self, fails: bool) -> None:
        self.count, self.fails = 0, fails

    def iterate(self) -> None:
        self.count += 1

    def report(self) -> dict[str, Any]:
        if self.fails:
            raise ValueError("lost its way")
        return {"count": self.count}


def test_a_contender_that_fails_is_told_apart_and_the_others_are_timed() -> None:
    entries = [
        Entry("one", Counting, (False,)),
        Entry("two", Counting, (True,)),
        Entry("three", Counting, (), "not to be had"),
    ]
    one, two, three = compare(entries, 2, threads=1)
    assert len(one["seconds"]) == 2
    assert one["count"] == 4 + 2 * one["repeats"]
    assert two == {"name": "two", "not_run": "ValueError: lost its way"}
    assert three == {"name": "three", "not_run": "not to be had"}


def test_the_page_is_what_the_recorded_numbers_make_of_it() -> None:
    records = subjects.read(ROOT / "docs" / "results" / "performance", "cpu")
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert fill(text, page.parts(records)) == text


def test_the_table_of_the_readme_is_what_the_recorded_numbers_make_of_it() -> None:
    records = subjects.read(ROOT / "docs" / "results" / "performance", "cpu")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    if not records:
        pytest.skip("nothing is recorded yet")
    assert fill(text, {"performance": page.summary(records)}) == text
