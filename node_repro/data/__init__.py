"""What is learned from: the contract of data, images as plain tensors, and the one error of all.

An image source reads its files once, verifies them, and hands out whole splits as uint8 tensors;
batches are cut from those tensors (see `batches`), so there is no per-image work anywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor


class DataError(Exception):
    """The data cannot be used; the message is one sentence: what, where, and what to do."""

    exit_code: ClassVar[int] = 3


class DataSet(Protocol):
    """What the target of a yaml in conf/data loads: what a run says and records of its data.

    name: part of the run's directory and signature. notice: a sentence to repeat beside every
    result, or None. What else there is, is between the data and the tasks that take its kind.
    """

    @property
    def name(self) -> str: ...

    @property
    def notice(self) -> str | None: ...

    @property
    def description(self) -> str:
        """What there is of it and where it comes from, in words."""
        ...

    @property
    def facts(self) -> Mapping[str, bool | int | float | str | None]:
        """What else is recorded with a result."""
        ...


class Split(NamedTuple):
    """Images, uint8 (N, 28, 28), and their labels, int64 (N,), on one device."""

    images: Tensor
    labels: Tensor


class Batch(NamedTuple):
    """Images, floating point (B, 1, 28, 28) in [0, 1], and their labels, int64 (B,)."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True, kw_only=True)
class ImageData:
    """A verified training and test split and where they came from.

    `sha256` identifies the content (before any `limit`); `complete` is False, and `notice` a
    sentence to repeat beside every result, where the splits are not the published data set.
    """

    name: str
    train: Split
    test: Split
    origin: str
    sha256: str
    complete: bool
    notice: str | None

    @property
    def description(self) -> str:
        train, test = len(self.train.labels), len(self.test.labels)
        return f"{train:,} + {test:,} digits from {self.origin}"

    @property
    def facts(self) -> Mapping[str, bool | str]:
        return {"complete": self.complete, "sha256": self.sha256}


def split_to(split: Split, device: torch.device | str) -> Split:
    """The same split on `device`."""
    return Split(split.images.to(device), split.labels.to(device))


def holdout(split: Split, count: int, seed: int) -> tuple[Split, Split]:
    """Split `count` images, drawn by `seed`, off a split of N: (kept, held), N - count and count.

    The draw is the same on every device and leaves the global random state alone.
    Raises DataError unless 0 <= count < N.
    """
    size = len(split.labels)
    if not 0 <= count < size:
        raise DataError(
            f"Cannot hold {count} of {size} images out for validation: "
            f"the number must be between 0 and {size - 1}."
        )
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
    held, kept = (part.to(split.labels.device) for part in order.split([count, size - count]))
    return (
        Split(split.images[kept], split.labels[kept]),
        Split(split.images[held], split.labels[held]),
    )
