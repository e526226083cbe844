"""Dataset interface, in-memory image splits, and `DataError`.

An image source reads its files once, verifies them and returns whole splits as uint8 tensors.
Batches are cut from these tensors (see `image_batches`), so there is no per-image work.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

Facts = Mapping[str, bool | int | float | str | None]
"""Named plain values that describe a data set."""


class DataError(Exception):
    """Missing or invalid data; the message states the problem, its place and a remedy."""

    exit_code: ClassVar[int] = 3


class DataSet(Protocol):
    """Interface of loaded data, which `load` of every class in conf/data returns.

    A run displays and records these attributes. All others are used only by tasks whose constructor
    takes the class.
    """

    @property
    def name(self) -> str:
        """Part of the run's directory and signature."""
        ...

    @property
    def notice(self) -> str | None:
        """A sentence to be repeated beside every result, or None."""
        ...

    @property
    def description(self) -> str:
        """Size and origin, for display."""
        ...

    @property
    def facts(self) -> Facts:
        """Values to be recorded with a result, as data_<name>."""
        ...


@dataclass(frozen=True, kw_only=True)
class GeneratedData:
    """Base class of data sets that are computed or read once and identified by a sha256."""

    name: str
    sha256: str
    notice: str | None = None

    @property
    def facts(self) -> Facts:
        return {"sha256": self.sha256}


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
    """A verified training and test split.

    Attributes:
        origin: The source of the images, for display.
        sha256: Identifies the content, before any limit on the number of images.
        complete: Whether the splits are the published data set; if not, `notice` says so.
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
    def facts(self) -> Facts:
        return {"complete": self.complete, "sha256": self.sha256}


def split_to(split: Split, device: torch.device | str) -> Split:
    """The same split on `device`."""
    return Split(split.images.to(device), split.labels.to(device))


def holdout(split: Split, count: int, seed: int) -> tuple[Split, Split]:
    """Divide a split of N images at random into N - count to keep and count to hold out.

    The choice depends on the seed only and leaves the global random state unchanged.
    Raises DataError unless 0 <= count < N.
    """
    size = len(split.labels)
    if not 0 <= count < size:
        raise DataError(
            f"Cannot hold out {count} of {size} images for validation: "
            f"the number must be between 0 and {size - 1}."
        )
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
    held, kept = (part.to(split.labels.device) for part in order.split([count, size - count]))
    return (
        Split(split.images[kept], split.labels[kept]),
        Split(split.images[held], split.labels[held]),
    )
