"""The spirals of section 5: their geometry, their noise, what is seen of them, their splits."""

import math
from dataclasses import replace

import pytest
import torch

from node_repro.data import DataError
from node_repro.data.series import pad_series, shrink_grid
from node_repro.data.spirals import WINDOW, Shape, Spirals, loose, paper_like, tight, torchdiffeq

SHAPES = (paper_like, torchdiffeq)
PAPER = Spirals(shape=paper_like, trajectories=100, observed=30, noise_sd=0.1, seed=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_repeated_load_gives_the_same_bits_and_another_seed_gives_others(shape: Shape) -> None:
    source = replace(PAPER, shape=shape)
    torch.manual_seed(7)  # the global generator has no say
    first, again = source.load(), source.load()
    assert first.sha256 == again.sha256
    assert torch.equal(first.train.noisy, again.train.noisy)
    assert replace(source, seed=1).load().sha256 != first.sha256


@pytest.mark.parametrize("shape", SHAPES)
def test_half_of_the_spirals_turn_each_way(shape: Shape) -> None:
    data = replace(PAPER, shape=shape).load()
    signs = torch.cat([part.direction for part in (data.train, data.validation, data.test)])
    assert signs.sum() == 0
    centre = torch.zeros(2).double()
    for split in (data.train, data.test):
        for x, sign in zip(split.clean, split.direction, strict=True):
            if shape is torchdiffeq:
                centre = torch.tensor([5.0 * float(sign), 0.0]).double()
            r = x - centre
            turns = r[:-1, 0] * r[1:, 1] - r[:-1, 1] * r[1:, 0]
            assert (turns.sign() == sign).all()


def test_paper_like_spirals_run_inwards_by_a_turn_and_a_quarter_a_window() -> None:
    x = PAPER.load().train.clean
    radius = x.norm(dim=2)
    assert (radius.diff(dim=1) < 0).all()
    assert 1 <= radius[:, 0].min() < 1.1 and 1.9 < radius[:, 0].max() <= 2
    torch.testing.assert_close(radius[:, -1] / radius[:, 0], torch.full((70,), 0.2).double())
    angle = torch.atan2(x[..., 1], x[..., 0])
    step = torch.remainder(angle.diff(dim=1) + math.pi, 2 * math.pi) - math.pi
    turns = step[:, :WINDOW].sum(1).abs() / (2 * math.pi)
    torch.testing.assert_close(turns, torch.full((70,), 2.5 * WINDOW / 199).double())


@pytest.mark.parametrize(("shape", "turns"), [(loose, 1.25), (tight, 5.0)])
def test_other_inward_spirals_differ_in_their_turns_alone(shape: Shape, turns: float) -> None:
    x, same = replace(PAPER, shape=shape).load().train.clean, PAPER.load().train.clean
    torch.testing.assert_close(x.norm(dim=2), same.norm(dim=2))
    angle = torch.atan2(x[..., 1], x[..., 0])
    step = torch.remainder(angle.diff(dim=1) + math.pi, 2 * math.pi) - math.pi
    torch.testing.assert_close(step.sum(1).abs() / (2 * math.pi), torch.full((70,), turns).double())


def test_torchdiffeq_like_windows_lie_on_its_two_curves_and_have_all_their_future() -> None:
    data = replace(PAPER, shape=torchdiffeq, trajectories=400).load()
    for x, sign in zip(data.train.clean, data.train.direction, strict=True):
        r = (x - torch.tensor([5.0 * float(sign), 0.0])).norm(dim=1)
        if sign > 0:  # r = 0.3 t, t in [0, 6 pi]: of window starts 100 to 300 the last ends at 499
            assert 0.3 * 6 * math.pi * 100 / 499 - 1e-9 <= r[0]
            assert r[-1] <= 0.3 * 6 * math.pi + 1e-9
        else:
            assert 15 / (6 * math.pi + 1) <= r[0] and r[-1] <= 15 + 1e-9
    starts = data.train.clean[:, 0].norm(dim=1)
    assert len(torch.unique(starts)) > 100


def test_noise_has_the_given_deviation_and_no_noise_is_none() -> None:
    data = PAPER.load()
    residual = data.train.noisy - data.train.clean
    # 28,000 numbers: the deviation's own standard error is 0.0004
    assert residual.std() == pytest.approx(0.1, abs=0.002)
    assert abs(float(residual.mean())) < 0.003
    exact = replace(PAPER, noise_sd=0.0).load()
    assert torch.equal(exact.train.noisy, exact.train.clean)


@pytest.mark.parametrize("n", [1, 30, 100])
def test_n_points_of_each_window_are_seen_none_of_them_twice(n: int) -> None:
    split = replace(PAPER, observed=n).load().train
    seen = split.observed
    assert seen.x.shape == (70, n, 2) and seen.seen.all() and (seen.count == n).all()
    assert (seen.at.diff(dim=1) > 0).all()
    assert seen.at.min() >= 0 and seen.at.max() < WINDOW
    for i in (0, 69):
        assert torch.equal(seen.x[i], split.noisy[i, seen.at[i]])
    if n == 30:
        assert len(torch.unique(seen.at, dim=0)) == 70


def test_curves_and_split_are_the_same_however_many_points_are_seen() -> None:
    few, many = PAPER.load(), replace(PAPER, observed=100).load()
    assert torch.equal(few.test.noisy, many.test.noisy)


def test_seven_tenths_train_one_tenth_selects_two_tenths_test_and_none_is_shared() -> None:
    data = PAPER.load()
    parts = [data.train.clean, data.validation.clean, data.test.clean]
    assert [len(part) for part in parts] == [70, 10, 20]
    assert len(torch.unique(torch.cat(parts), dim=0)) == 100


@pytest.mark.parametrize("wrong", [{"trajectories": 9}, {"observed": 0}, {"observed": 101}])
def test_impossible_numbers_are_refused_by_name(wrong: dict[str, int]) -> None:
    with pytest.raises(DataError, match=f"data.{next(iter(wrong))}="):
        replace(PAPER, **wrong).load()


def test_tightened_series_say_the_same_on_a_smaller_grid() -> None:
    grid = torch.linspace(0, 1, 11).double()
    at = [torch.tensor([2, 5]), torch.tensor([9])]
    x = [torch.tensor([[1.0], [2.0]]).double(), torch.tensor([[3.0]]).double()]
    seen = [torch.ones(2, 1, dtype=torch.bool), torch.ones(1, 1, dtype=torch.bool)]
    whole = pad_series(grid, at, x, seen)
    assert whole.at.tolist() == [[2, 5], [9, 9]] and whole.seen[..., 0].tolist() == [
        [True, True],
        [True, False],
    ]
    small = shrink_grid(whole, (0, 10))
    assert torch.equal(small.grid, grid[[0, 2, 5, 9, 10]])
    assert torch.equal(small.grid[small.at], grid[whole.at])
    alone = shrink_grid(whole.select(torch.tensor([1])), ())
    assert alone.at.tolist() == [[0]] and alone.x.tolist() == [[[3.0]]]
