"""Data-parallel sharding of a batch and of the noise drawn for it.

Every process makes the whole batch from its seed and keeps its own rows; noise is drawn for the
whole batch, too, and cut in the same way. A run on several processes is therefore the run on one
process, up to rounding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, Self, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor

T = TypeVar("T")


class ShareError(Exception):
    """A batch cannot be divided evenly among the processes."""

    exit_code: ClassVar[int] = 2


@runtime_checkable
class Examples(Protocol):
    """A part of a batch whose tensors do not all have one row per example.

    Such a type says itself how many examples it has and how to select some of them.
    """

    @property
    def examples(self) -> int:
        """Number of examples."""
        ...

    def select(self, indices: Tensor) -> Self:
        """The examples at the indices, an int64 tensor (b,)."""
        ...


@dataclass(frozen=True)
class Share:
    """One process's part of every batch.

    Of B examples, process `rank` of `count` has those from rank * B / count to
    (rank + 1) * B / count.
    """

    rank: int = 0
    count: int = 1

    def refuse_uneven(self, size: int, name: str) -> None:
        """Raise ShareError if `count` does not divide `size`, the value of the option `name`."""
        if size % self.count:
            below = size - size % self.count
            near = f"{below} or {below + self.count}" if below else f"{self.count}"
            raise ShareError(
                f"{name}={size} cannot be divided evenly among {self.count} processes, which train "
                f"on one batch together: use a multiple of {self.count}, such as {near}"
            )

    def shard(self, batch: T) -> T:
        """This process's part of a batch.

        Tensors have one row per example; objects that implement `Examples` are asked; `Noise` is
        sharded; tuples are sharded field by field; anything else is the same for all processes.

        Raises:
            ShareError: the examples cannot be divided evenly, or the tensors disagree on their
                number.
        """
        sizes = set(_sizes(batch))
        if len(sizes) > 1:
            raise ShareError(
                f"a batch of type {type(batch).__name__} cannot be sharded, because its tensors "
                f"have {' and '.join(map(str, sorted(sizes)))} rows: implement `examples` and "
                "`select` for the type of those that do not have one row per example"
            )
        for size in sizes:
            self.refuse_uneven(size, "a batch of trainer.batch_size")
            part = size // self.count
            rows = torch.arange(self.rank * part, (self.rank + 1) * part)
            return cast(T, self._shard(batch, rows))
        return batch

    def _shard(self, part: object, rows: Tensor) -> object:
        if isinstance(part, Examples):
            return part.select(rows)
        if isinstance(part, Tensor):
            return part[rows.to(part.device)] if part.ndim else part
        if isinstance(part, Noise):
            return replace(part, share=self)
        if isinstance(part, tuple):
            make = getattr(part, "_make", type(part))  # named tuples are made by _make
            return make([self._shard(field, rows) for field in part])
        return part


@dataclass(frozen=True)
class Noise:
    """Standard normal numbers for the rows of a batch, or of this process's share of it.

    Args:
        generator: A generator on the CPU, so that all devices get the same numbers; None for
            torch's global generator of the device that the numbers are for.
        share: The share of the batch that the numbers are for.
    """

    generator: torch.Generator | None = None
    share: Share = Share()

    def normal(self, shape: Sequence[int], *, rows: int, like: Tensor) -> Tensor:
        """Numbers of the given shape, in the dtype and on the device of `like`.

        They are drawn for the whole batch and cut along the dimension `rows`.
        """
        whole = list(shape)
        whole[rows] *= self.share.count
        device = like.device if self.generator is None else torch.device("cpu")
        numbers = torch.randn(whole, generator=self.generator, dtype=like.dtype, device=device)
        first = self.share.rank * shape[rows]
        return numbers.narrow(rows, first, shape[rows]).to(like.device)


def _sizes(part: object) -> Iterator[int]:
    """The number of examples of each part of a batch."""
    if isinstance(part, Examples):
        yield part.examples
    elif isinstance(part, Tensor):
        if part.ndim:
            yield len(part)
    elif isinstance(part, tuple):
        for field in part:
            yield from _sizes(field)
