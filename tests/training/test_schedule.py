"""Learning rates at the ends, at the milestones and while warming up."""

import pytest

from node_repro.training.schedule import Cosine, Step

PAPER = Step(milestones=(0.375, 0.625, 0.875), factor=0.1)  # 60, 100 and 140 of 160 epochs


def test_cosine_goes_from_one_to_its_final_factor() -> None:
    schedule = Cosine(final=0.02, warmup=0.0)
    assert schedule(0.0) == 1.0
    assert schedule(0.5) == pytest.approx(0.51)
    assert schedule(1.0) == pytest.approx(0.02)
    values = [schedule(i / 100) for i in range(101)]
    assert values == sorted(values, reverse=True)


def test_warm_up_rises_linearly_to_one_and_the_cosine_takes_the_rest() -> None:
    schedule = Cosine(final=0.0, warmup=0.2)
    assert [schedule(p) for p in (0.0, 0.05, 0.1, 0.2)] == pytest.approx([0.0, 0.25, 0.5, 1.0])
    assert schedule(0.2 - 1e-9) == pytest.approx(schedule(0.2))
    assert schedule(0.6) == pytest.approx(0.5)
    assert schedule(1.0) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("epoch", "factor"),
    [(0, 1.0), (59, 1.0), (60, 0.1), (99, 0.1), (100, 0.01), (139, 0.01), (140, 1e-3), (159, 1e-3)],
)
def test_steps_fall_to_a_tenth_at_the_epochs_of_the_public_recipe(
    epoch: int, factor: float
) -> None:
    assert PAPER(epoch / 160) == pytest.approx(factor)


def test_milestones_are_met_exactly_in_iterations() -> None:
    per_epoch = 429
    iterations = 160 * per_epoch
    last = 60 * per_epoch - 1
    assert (PAPER(last / iterations), PAPER((last + 1) / iterations)) == (1.0, 0.1)


def test_without_milestones_the_rate_stays() -> None:
    assert Step(milestones=(), factor=0.1)(0.99) == 1.0
