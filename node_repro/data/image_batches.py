"""Batches of images, with random crops of zero-padded images as augmentation.

A crop of a whole batch is one indexing of a strided view, on the device that holds the split. Order
and crops of an epoch are drawn on the CPU from a generator seeded by (seed, epoch), so they are the
same on every device and after a resume.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from node_repro.data import Batch, Split
from node_repro.data.generated import seeded_generator


def batches_per_epoch(split: Split, batch_size: int) -> int:
    """The number of training batches in an epoch: the full ones, at least one.

    Raises ValueError if `batch_size` is below 1.
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

    Each image is padded with `crop_padding` zeros on every side and cropped to its original size at
    a random offset. An incomplete last batch is dropped, unless it is the only one.
    Raises ValueError if `batch_size` is below 1, or `crop_padding` or `start` is below 0.
    """
    count = batches_per_epoch(split, batch_size)
    _require("crop_padding", crop_padding, 0)
    _require("start", start, 0)
    size, device = len(split.labels), split.images.device
    generator = seeded_generator(seed, epoch, bits=64)
    order = torch.randperm(size, generator=generator).to(device)
    offsets = torch.randint(2 * crop_padding + 1, (size, 2), generator=generator).to(device)
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

    Raises ValueError if `batch_size` is below 1.
    """
    _require("batch_size", batch_size, 1)
    white = _white(dtype, split.images.device)
    parts = zip(split.images.split(batch_size), split.labels.split(batch_size), strict=True)
    return (Batch(_scaled(images, white), labels) for images, labels in parts if len(labels))


def crop(images: Tensor, offsets: Tensor, padding: int) -> Tensor:
    """Pad images (B, H, W) with zeros and crop them to (B, H, W) at `offsets`, int64 (B, 2).

    Offsets (y, x) are in 0 ... 2 * padding; (padding, padding) returns the image unchanged.
    """
    if padding == 0:
        return images
    count, height, width = images.shape
    padded = F.pad(images, (padding,) * 4)
    rows, columns = padded.shape[1:]
    first = (torch.arange(count, device=images.device) * rows + offsets[:, 0]) * columns
    # A view with one window for every padded pixel as its corner; it takes no memory.
    corners = padded.numel() - (height - 1) * columns - (width - 1)
    windows = padded.as_strided((corners, height, width), (1, columns, 1))
    return windows.index_select(0, first + offsets[:, 1])


def _white(dtype: torch.dtype, device: torch.device) -> Tensor:
    """255 as a tensor, because CUDA divides by a Python number as a multiplication by 1/255."""
    return torch.tensor(255, dtype=dtype, device=device)


def _scaled(images: Tensor, white: Tensor) -> Tensor:
    return images.to(white.dtype).div_(white).unsqueeze(1)


def _require(name: str, value: int, minimum: int) -> None:
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, not {value}.")
