"""Sharding of a batch, and of the noise that is drawn for it, into equal parts."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from node_repro.data.series import Series
from node_repro.data.sharding import Noise, Share, ShareError


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
def test_the_parts_of_a_batch_make_up_the_batch(count: int) -> None:
    parts = [Share(rank, count).shard(BATCH) for rank in range(count)]
    assert torch.equal(torch.cat([part.x for part in parts]), BATCH.x)
    assert torch.equal(torch.cat([part.label for part in parts]), BATCH.label)
    assert {len(part.x) for part in parts} == {6 // count}
    assert all(part[2:] == BATCH[2:] for part in parts)


def test_examples_are_selected_by_their_own_type_at_any_depth() -> None:
    generator = torch.Generator()
    series, inner, same = Share(1, 2).shard((SERIES, (BATCH.x,), generator))
    assert torch.equal(series.grid, SERIES.grid) and same is generator
    assert torch.equal(series.x, SERIES.x[3:]) and torch.equal(inner[0], BATCH.x[3:])


@pytest.mark.parametrize("own_generator", [True, False])
def test_the_noise_of_the_parts_makes_up_that_of_the_batch(own_generator: bool) -> None:
    like = torch.zeros((), dtype=torch.float64)

    def numbers(share: Share) -> Tensor:
        torch.manual_seed(1)
        noise = Noise(torch.Generator().manual_seed(1) if own_generator else None)
        rows, noise = share.shard((BATCH.x, noise))
        return noise.normal((4, len(rows), 3), rows=1, like=like)

    parts = [numbers(Share(rank, 3)) for rank in range(3)]
    assert parts[0].shape == (4, 2, 3) and parts[0].dtype == torch.float64
    assert torch.equal(torch.cat(parts, dim=1), numbers(Share()))


def test_a_batch_that_cannot_be_divided_evenly_is_refused_with_the_sizes_that_can() -> None:
    with pytest.raises(ShareError, match=r"=6 .* 4 processes.* 4 or 8"):
        Share(0, 4).shard(BATCH)
    with pytest.raises(ShareError, match=r"batch_size=3 .* multiple of 4"):
        Share(0, 4).refuse_uneven(3, "trainer.batch_size")


def test_tensors_with_different_numbers_of_rows_are_refused() -> None:
    with pytest.raises(ShareError, match=r"Labelled .* 4 and 6 rows"):
        Share(0, 2).shard(BATCH._replace(label=torch.arange(4)))
