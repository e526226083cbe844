"""Batches cut from whole tensors: the augmentation of the paper's MNIST runs (random crops of a
zero-padded image) as one indexing of a strided view, on the device that holds the split.

The order and the crops are drawn on the CPU, for a whole epoch at once, from a generator of their
own seeded by (seed, epoch): they are the same on every device and wherever a run resumes.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from node_repro.data import Batch, Split
from node_repro.data.seeds import generator


def batches_per_epoch(split: Split, batch_size: int) -> int:
    """How many training batches an epoch has: the whole ones, or one of the whole, smaller set.

    Raises ValueError where `batch_size` is below 1.
    """
    _require("batch_size", batch_size, 1)
    size = len(split.labels)
    return max(size // batch_size, min(size, 1))


def training_batches(
    split: Split,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    crop_padding: int,
    start: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Iterator[Batch]:
    """The shuffled, randomly cropped batches of one epoch, from batch number `start` on.

    An image is padded with `crop_padding` zeros on each side and cropped to its size at an offset
    of its own. The last, incomplete batch is dropped, unless the set is smaller than a batch.
    Raises ValueError where `batch_size` is below 1, or `crop_padding` or `start` below 0.
    """
    count = batches_per_epoch(split, batch_size)
    _require("crop_padding", crop_padding, 0)
    _require("start", start, 0)
    size, device = len(split.labels), split.images.device
    drawn = generator(seed, epoch)
    order = torch.randperm(size, generator=drawn).to(device)
    offsets = torch.randint(2 * crop_padding + 1, (size, 2), generator=drawn).to(device)
    white = _white(dtype, device)

    def batches() -> Iterator[Batch]:
        for index in range(start, count):
            part = slice(index * batch_size, (index + 1) * batch_size)
            chosen = order[part]
            images = crop(split.images.index_select(0, chosen), offsets[part], crop_padding)
            yield Batch(_scaled(images, white), split.labels.index_select(0, chosen))

    return batches()


def evaluation_batches(
    split: Split, *, batch_size: int, dtype: torch.dtype = torch.float32
) -> Iterator[Batch]:
    """Every image once, in order and uncropped; the last batch may be smaller.

    Raises ValueError where `batch_size` is below 1.
    """
    _require("batch_size", batch_size, 1)
    white = _white(dtype, split.images.device)
    parts = zip(split.images.split(batch_size), split.labels.split(batch_size), strict=True)
    return (Batch(_scaled(images, white), labels) for images, labels in parts if len(labels))


def crop(images: Tensor, offsets: Tensor, padding: int) -> Tensor:
    """Pad images (B, H, W) with zeros and cut (B, H, W) out at `offsets`, int64 (B, 2) of (y, x).

    Offsets are in 0 .. 2 * padding; (padding, padding) gives the image back.
    """
    if padding == 0:
        return images
    count, height, width = images.shape
    padded = F.pad(images, (padding,) * 4)
    rows, columns = padded.shape[1:]
    first = (torch.arange(count, device=images.device) * rows + offsets[:, 0]) * columns
    # Every place of the padded pixels, seen as the corner of a window; no memory is used.
    corners = padded.numel() - (height - 1) * columns - (width - 1)
    windows = padded.as_strided((corners, height, width), (1, columns, 1))
    return windows.index_select(0, first + offsets[:, 1])


def _white(dtype: torch.dtype, device: torch.device) -> Tensor:
    """255 as a tensor on the device: dividing by a Python number, CUDA multiplies by 1/255."""
    return torch.tensor(255, dtype=dtype, device=device)


def _scaled(images: Tensor, white: Tensor) -> Tensor:
    return images.to(white.dtype).div_(white).unsqueeze(1)


def _require(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}.")
