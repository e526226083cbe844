"""The time that is left, of iterations whose cost is known; no clock is read."""

import math
from collections.abc import Callable

import pytest

from node_repro.training.forecast import BLOCKS, Forecast

Cost = Callable[[int], float]
TOTAL = 1000


def after(done: int, cost: Cost, *, start: int = 0, every: int | None = None) -> Forecast:
    """After so many iterations, each of which took what it costs."""
    forecast = Forecast(TOTAL, start, every)
    for step in range(start, start + done):
        forecast.add_iteration(cost(step))
    return forecast


def rest(done: int, cost: Cost) -> float:
    return sum(cost(step) for step in range(done, TOTAL))


def grown(step: int) -> float:
    """From 0.05 to 0.4 seconds, as a flow's iterations do."""
    return 0.05 + 0.35 * step / TOTAL


def saturating(step: int) -> float:
    return 0.05 + 0.35 * (1 - math.exp(-step / 200))


def test_a_forecast_needs_a_few_iterations_after_the_warm_up() -> None:
    assert [after(done, grown).ready for done in (0, 2, 6, 7)] == [False, False, False, True]


@pytest.mark.parametrize("done", [7, 20, 100, 300, 999, 1000])
def test_equal_iterations_take_what_they_took(done: int) -> None:
    forecast = after(done, lambda step: 60.0 if step < 2 else 0.5)
    assert forecast.pace == pytest.approx(0.5)
    assert forecast.remaining_seconds() == pytest.approx(0.5 * (TOTAL - done))


@pytest.mark.parametrize("done", [500, 700, 990])
def test_from_half_of_it_a_steady_growth_is_foreseen_to_the_end(done: int) -> None:
    assert after(done, grown).remaining_seconds() == pytest.approx(rest(done, grown), rel=0.02)


@pytest.mark.parametrize(("done", "within"), [(100, 2.2), (200, 1.5), (300, 1.3)])
@pytest.mark.parametrize("cost", [grown, saturating])
def test_before_that_growth_is_carried_on_with_care(cost: Cost, done: int, within: float) -> None:
    found, true = after(done, cost).remaining_seconds(), rest(done, cost)
    assert true / within < found < true * within
    if cost is grown:
        assert abs(math.log(found / true)) < abs(math.log(cost(done) * (TOTAL - done) / true))


def test_iterations_that_become_cheaper_are_foreseen_but_never_as_free() -> None:
    def falling(step: int) -> float:
        return max(1.0 - step / 400, 0.01)

    assert 0 < after(300, falling).remaining_seconds() < 0.25 * 700 * 1.1


def test_evaluations_to_come_count_as_long_as_the_last_one() -> None:
    forecast = after(100, lambda step: 0.5, every=300)
    before = forecast.remaining_seconds()
    forecast.add_evaluation(9.0)
    forecast.add_evaluation(10.0)
    assert forecast.remaining_seconds() == pytest.approx(
        before + 4 * 10.0
    )  # at 300, 600, 900 and 1000
    assert after(1000, lambda step: 0.5, every=300).remaining_seconds() == 0


def test_an_evaluation_that_comes_at_the_end_alone_counts_once() -> None:
    forecast = after(100, lambda step: 0.5)
    forecast.add_evaluation(10.0)
    assert forecast.remaining_seconds() == pytest.approx(0.5 * 900 + 10)


def test_a_continued_training_is_measured_from_where_it_goes_on() -> None:
    forecast = after(50, lambda step: 2.0, start=900)
    assert forecast.remaining_seconds() == pytest.approx(2.0 * 50)
    assert forecast.remaining_seconds(ahead=10) == pytest.approx(2.0 * 40)


def test_what_is_kept_does_not_grow_with_the_training() -> None:
    forecast = Forecast(100_000, 0, None)
    for step in range(50_000):
        forecast.add_iteration(1.0 + step / 50_000)
    assert len(forecast._blocks) <= BLOCKS
    assert forecast.remaining_seconds() == pytest.approx(125_000, rel=0.02)
