"""Events by thinning: their number, their times, their marks."""

import math
from dataclasses import replace

import pytest
import torch

from node_repro.data import DataError
from node_repro.data.poisson_events import PoissonEvents, SineRate

SHARED = PoissonEvents(
    sequences=600,
    low=0.5,
    high=4.0,
    period=5.0,
    end=10.0,
    phases="shared",
    marks=False,
    mark_sd=0.1,
    seed=0,
)


def test_the_rate_integrates_to_its_closed_form() -> None:
    rate, phase = SineRate(0.5, 4.0, 5.0), torch.tensor([0.0, 0.7, 2.0]).double()
    t = torch.linspace(0, 7.3, 20_001).double()
    numeric = torch.trapezoid(rate.at(t[:, None], phase), t, dim=0)
    torch.testing.assert_close(rate.integral(t[-1], phase), numeric, rtol=1e-7, atol=0)


@pytest.mark.parametrize("phases", ["shared", "random"])
def test_counts_have_the_mean_and_the_variance_of_a_poisson_process(phases: str) -> None:
    split = replace(SHARED, phases=phases).load().train
    expected = SineRate(0.5, 4.0, 5.0).integral(torch.tensor(10.0), split.phase)
    count = split.events.count.double()
    # 360 sequences of 22.5 events: the mean's standard error is 0.25, the variance's 1.7
    assert float((count - expected).mean()) == pytest.approx(0, abs=0.75)
    assert float((count - expected).var()) == pytest.approx(float(expected.mean()), abs=5.1)


def test_transformed_by_the_integral_of_their_rate_events_are_uniform() -> None:
    data = replace(SHARED, phases="random").load()
    split, events = data.train, data.train.events
    times = events.grid[events.at]
    whole = data.rate.integral(torch.tensor(data.end), split.phase)
    share = data.rate.integral(times, split.phase[:, None]) / whole[:, None]
    there = torch.arange(times.shape[1]) < events.count[:, None]
    x = share[there].sort().values
    gap = (x - torch.arange(1, len(x) + 1) / len(x)).abs().max()
    assert gap < 1.63 / math.sqrt(len(x))  # Kolmogorov and Smirnov at 1 %, for this fixed seed


def test_events_are_sorted_and_the_grid_holds_the_whole_time() -> None:
    data = SHARED.load()
    for split in (data.train, data.validation, data.test):
        events = split.events
        assert events.grid[0] == 0 and events.grid[-1] == data.end
        steps = events.at.diff(dim=1)
        inside = torch.arange(1, events.at.shape[1]) < events.count[:, None]
        assert (steps[inside] > 0).all() and (steps[~inside] == 0).all()


def test_marks_are_the_circles_point_at_twice_the_angle_with_noise() -> None:
    data = replace(SHARED, phases="random", marks=True).load()
    events = data.train.events
    angle = 2 * (math.pi * events.grid[events.at] / 5.0 + data.train.phase[:, None])
    circle = torch.stack((angle.cos(), angle.sin()), dim=2)
    residual = (events.x - circle)[events.seen]
    # 16,000 numbers: the deviation's standard error is 0.0006
    assert residual.std() == pytest.approx(0.1, abs=0.003)
    rate = data.rate.at(events.grid[events.at], data.train.phase[:, None])
    torch.testing.assert_close(rate, 2.25 - 1.75 * angle.cos())  # rate and value: one state


def test_seed_decides_everything_and_nothing_else_does() -> None:
    first, again = SHARED.load(), SHARED.load()
    assert first.sha256 == again.sha256 != replace(SHARED, seed=1).load().sha256
    assert [len(s.phase) for s in (first.train, first.validation, first.test)] == [360, 60, 180]


def test_a_sequence_may_be_empty() -> None:
    data = replace(SHARED, low=0.0, high=0.05).load()
    count = data.train.events.count
    assert count.min() == 0 and count.max() >= 1


@pytest.mark.parametrize(
    ("wrong", "key"), [({"sequences": 5}, "sequences"), ({"high": 0.1}, "high")]
)
def test_impossible_numbers_are_refused_by_name(wrong: dict, key: str) -> None:
    with pytest.raises(DataError, match=f"data.{key}="):
        replace(SHARED, **wrong).load()


def test_training_sequences_without_any_event_are_refused() -> None:
    with pytest.raises(DataError, match=r"No training sequence has an event at data\.high=1e-05"):
        replace(SHARED, sequences=10, low=0.0, high=1e-5).load()
