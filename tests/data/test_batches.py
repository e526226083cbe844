"""Batches: order and crops depend on (seed, epoch, index) only, and miss or repeat nothing."""

import pytest
import torch

from node_repro.data import Batch, DataError, Split, holdout, split_to
from node_repro.data.image_batches import (
    batches_per_epoch,
    crop,
    evaluation_batches,
    training_batches,
)


def split_of(size: int) -> Split:
    """Images that differ everywhere from zero; the label is the image's number."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(1, 256, (size, 28, 28), generator=generator, dtype=torch.uint8)
    return Split(images, torch.arange(size))


SPLIT = split_of(50)


def epoch(
    split: Split = SPLIT, *, seed: int = 0, epoch: int = 0, start: int = 0, padding: int = 4
) -> list[Batch]:
    return list(
        training_batches(
            split, batch_size=8, seed=seed, epoch=epoch, crop_padding=padding, start=start
        )
    )


def same(left: list[Batch], right: list[Batch]) -> bool:
    return len(left) == len(right) and all(
        torch.equal(a, b)
        for one, other in zip(left, right, strict=True)
        for a, b in zip(one, other, strict=True)
    )


def test_a_batch_is_float_in_0_to_1_with_a_channel() -> None:
    images, labels = epoch()[0]
    assert images.shape == (8, 1, 28, 28)
    assert images.dtype == torch.float32
    assert 0 <= float(images.min()) <= float(images.max()) <= 1
    assert labels.shape == (8,)
    assert labels.dtype == torch.int64


def test_an_epoch_has_every_image_at_most_once_and_drops_the_incomplete_batch() -> None:
    seen = torch.cat([batch.labels for batch in epoch()]).tolist()
    assert len(seen) == len(set(seen)) == 48
    assert seen != sorted(seen)


@pytest.mark.parametrize("start", range(7))
def test_starting_later_changes_nothing_that_follows(start: int) -> None:
    assert same(epoch(start=start), epoch()[start:])


def test_seed_and_epoch_both_change_order_and_crops() -> None:
    assert same(epoch(seed=3, epoch=5), epoch(seed=3, epoch=5))
    for other in (epoch(seed=1), epoch(epoch=1)):
        assert not torch.equal(other[0].labels, epoch()[0].labels)
    assert not torch.equal(epoch(seed=1, epoch=2)[0].labels, epoch(seed=2, epoch=1)[0].labels)


def test_the_global_random_state_neither_matters_nor_changes() -> None:
    torch.manual_seed(1)
    first = epoch()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second = epoch()
    holdout(SPLIT, 5, 0)
    assert torch.equal(before, torch.get_rng_state())
    assert same(first, second)


def test_without_padding_the_images_are_only_shuffled() -> None:
    for images, labels in epoch(padding=0):
        assert torch.equal(images.squeeze(1), SPLIT.images[labels].float() / 255)


def test_a_crop_is_the_padded_image_seen_through_a_window() -> None:
    images = SPLIT.images[:5]
    offsets = torch.tensor([[4, 4], [0, 0], [8, 8], [0, 8], [3, 6]])
    cropped = crop(images, offsets, 4)
    for image, (y, x), seen in zip(images, offsets.tolist(), cropped, strict=True):
        padded = torch.zeros(36, 36, dtype=torch.uint8)
        padded[4:32, 4:32] = image
        assert torch.equal(seen, padded[y : y + 28, x : x + 28])


def test_every_offset_occurs_and_each_image_has_its_own() -> None:
    split = split_of(2000)
    (batch,) = training_batches(split, batch_size=2000, seed=0, epoch=0, crop_padding=4)
    shown = (batch.images.squeeze(1) > 0).float()
    above = shown.amax(2).argmax(1)  # rows of padding above the image
    below = shown.amax(2).flip(1).argmax(1)
    left = shown.amax(1).argmax(1)
    assert set((above - below).tolist()) == set(range(-4, 5))
    assert len(set(zip((above - below).tolist(), left.tolist(), strict=True))) > 40


def test_float64_batches_are_the_exact_quotients() -> None:
    (batch,) = training_batches(
        SPLIT, batch_size=50, seed=0, epoch=0, crop_padding=0, dtype=torch.float64
    )
    assert batch.images.dtype == torch.float64
    assert torch.equal(batch.images.squeeze(1), SPLIT.images[batch.labels].double() / 255)


def test_a_batch_larger_than_the_set_is_the_whole_set_once() -> None:
    assert batches_per_epoch(SPLIT, 51) == 1
    (batch,) = training_batches(SPLIT, batch_size=51, seed=0, epoch=0, crop_padding=4)
    assert sorted(batch.labels.tolist()) == list(range(50))


def test_batches_per_epoch_counts_what_an_epoch_yields() -> None:
    assert batches_per_epoch(SPLIT, 8) == len(epoch()) == 6
    assert batches_per_epoch(SPLIT, 50) == 1
    assert batches_per_epoch(SPLIT, 1) == 50
    assert batches_per_epoch(split_of(0), 8) == len(epoch(split_of(0))) == 0


def test_evaluation_shows_every_image_once_in_order() -> None:
    batches = list(evaluation_batches(SPLIT, batch_size=16))
    assert [len(batch.labels) for batch in batches] == [16, 16, 16, 2]
    assert torch.equal(torch.cat([b.labels for b in batches]), SPLIT.labels)
    images = torch.cat([b.images for b in batches]).squeeze(1)
    assert torch.equal(images, SPLIT.images.float() / 255)
    assert list(evaluation_batches(split_of(0), batch_size=16)) == []


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_size_below_one_is_refused_before_the_first_batch(batch_size: int) -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        training_batches(SPLIT, batch_size=batch_size, seed=0, epoch=0, crop_padding=4)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        evaluation_batches(SPLIT, batch_size=batch_size)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        batches_per_epoch(SPLIT, batch_size)


def test_negative_padding_or_start_is_refused() -> None:
    with pytest.raises(ValueError, match="crop_padding must be at least 0, not -1"):
        training_batches(SPLIT, batch_size=8, seed=0, epoch=0, crop_padding=-1)
    with pytest.raises(ValueError, match="start must be at least 0, not -1"):
        training_batches(SPLIT, batch_size=8, seed=0, epoch=0, crop_padding=4, start=-1)


def test_holdout_parts_every_image_once_and_the_same_way_for_the_same_seed() -> None:
    kept, held = holdout(SPLIT, 13, 7)
    assert len(held.labels) == 13
    assert sorted([*kept.labels.tolist(), *held.labels.tolist()]) == list(range(50))
    assert torch.equal(held.images, SPLIT.images[held.labels])
    assert torch.equal(holdout(SPLIT, 13, 7)[1].labels, held.labels)
    assert not torch.equal(holdout(SPLIT, 13, 8)[1].labels, held.labels)
    assert len(holdout(SPLIT, 0, 0)[0].labels) == 50


@pytest.mark.parametrize("count", [-1, 50, 51])
def test_holding_out_nothing_sensible_is_a_data_error(count: int) -> None:
    with pytest.raises(DataError, match=f"Cannot hold out {count} of 50 images"):
        holdout(SPLIT, count, 0)


@pytest.mark.cuda
def test_batches_on_cuda_are_bitwise_those_of_the_cpu() -> None:
    moved = split_to(SPLIT, "cuda")
    on_cuda = [Batch(images.cpu(), labels.cpu()) for images, labels in epoch(moved)]
    assert same(on_cuda, epoch())
    for there, here in zip(
        evaluation_batches(moved, batch_size=7),
        evaluation_batches(SPLIT, batch_size=7),
        strict=True,
    ):
        assert torch.equal(there.images.cpu(), here.images)
    assert torch.equal(holdout(moved, 9, 3)[1].labels.cpu(), holdout(SPLIT, 9, 3)[1].labels)
