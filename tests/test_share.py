"""A batch and what is drawn for it, in equal parts."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from node_repro.data.series import Series
from node_repro.share import Share, ShareError, drawn


class Labelled(NamedTuple):
    x: Tensor
    label: Tensor
    weight: float
    scale: Tensor


BATCH = Labelled(torch.arange(12.0).view(6, 2), torch.arange(6), 0.5, torch.tensor(2.0))
SERIES = Series(
    grid=torch.linspace(0, 1, 9, dtype=torch.float64),
    count=torch.full((6,), 3),
    at=torch.arange(18).view(6, 3) % 9,
    x=torch.rand(6, 3, 2),
    seen=torch.ones(6, 3, 2, dtype=torch.bool),
)


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_the_parts_of_a_batch_are_the_batch(count: int) -> None:
    parts = [Share(rank, count).of(BATCH) for rank in range(count)]
    assert torch.equal(torch.cat([part.x for part in parts]), BATCH.x)
    assert torch.equal(torch.cat([part.label for part in parts]), BATCH.label)
    assert {len(part.x) for part in parts} == {6 // count}
    assert all(part[2:] == BATCH[2:] for part in parts)


def test_a_type_that_says_how_is_divided_so_wherever_it_stands() -> None:
    generator = torch.Generator()
    series, inner, same = Share(1, 2).of((SERIES, (BATCH.x,), generator))
    assert torch.equal(series.grid, SERIES.grid) and same is generator
    assert torch.equal(series.x, SERIES.x[3:]) and torch.equal(inner[0], BATCH.x[3:])


def test_what_is_drawn_for_the_parts_is_what_is_drawn_for_the_whole() -> None:
    def draw() -> Tensor:
        random = torch.Generator().manual_seed(1)
        return drawn((4, rows, 3), 1, lambda shape: torch.randn(shape, generator=random))

    rows = 6
    whole, rows = draw(), 2
    parts = []
    for rank in range(3):
        with Share(rank, 3).taken():
            parts.append(draw())
    assert torch.equal(torch.cat(parts, dim=1), whole)


def test_after_its_block_a_share_is_the_whole_again() -> None:
    with pytest.raises(KeyError), Share(1, 2).taken():
        raise KeyError
    assert drawn((5, 2), 0, torch.zeros).shape == (5, 2)


def test_a_batch_that_cannot_be_shared_evenly_is_refused_with_the_sizes_that_can() -> None:
    with pytest.raises(ShareError, match=r"=6 cannot be shared evenly by 4 .* as 4 or 8"):
        Share(0, 4).of(BATCH)
    with pytest.raises(ShareError, match=r"batch_size=3 .* a multiple of 4, as 4$"):
        Share(0, 4).refuse_uneven(3, "trainer.batch_size")


def test_tensors_without_a_row_an_example_are_refused() -> None:
    with pytest.raises(ShareError, match=r"Labelled .* 4 and 6 rows"):
        Share(0, 2).of(BATCH._replace(label=torch.arange(4)))
