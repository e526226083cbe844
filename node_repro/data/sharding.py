"""Data-parallel sharding of a batch and of the noise drawn for it.

Every process makes the whole batch from its seed and keeps its own rows; noise is drawn for the
whole batch, too, and cut in the same way. A run on several processes is therefore the run on one
process, up to rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from node_repro.data.examples import example_counts, map_parts, select_examples

T = TypeVar("T")


class ShareError(Exception):
    """A batch cannot be divided evenly among the processes."""

    exit_code: ClassVar[int] = 2


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
        """This process's part of a batch of examples (see `data.examples`) and of its `Noise`.

        Raises:
            ShareError: the examples cannot be divided evenly, or the tensors disagree on their
                number.
        """
        sizes = set(example_counts(batch))
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
            return map_parts(batch, partial(self._shard, rows))
        return batch

    def _shard(self, rows: Tensor, part: object) -> object:
        if isinstance(part, Noise):
            return replace(part, share=self)
        return select_examples(part, rows)


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
