"""Which rows of every batch are here: all of them, or the part of one process of several.

A batch is what it is, however many processes there are: it is made whole, from its seed, and each
process takes the rows that are its own. What a model draws for its rows is drawn for the whole
batch, too. So a run on several processes is the run on one, but for rounding.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor


class ShareError(Exception):
    """A batch cannot be shared evenly."""

    exit_code: ClassVar[int] = 2


@runtime_checkable
class Examples(Protocol):
    """A type whose tensors are not all of one row an example says how it is divided."""

    @property
    def examples(self) -> int:
        """How many there are."""
        ...

    def of(self, chosen: Tensor) -> Any:  # noqa: ANN401
        """Those at the indices chosen: (b,)."""
        ...


@dataclass(frozen=True)
class Share:
    """Part `rank` of `count`: of B examples those from rank B / count to (rank + 1) B / count."""

    rank: int = 0
    count: int = 1

    def refuse_uneven(self, size: int, name: str) -> None:
        """Raises ShareError for a batch of a size that the parts cannot share evenly."""
        if size % self.count:
            below = size - size % self.count
            near = f"{below} or {below + self.count}" if below else f"{self.count}"
            raise ShareError(
                f"{name}={size} cannot be shared evenly by {self.count} processes, which together "
                f"take one batch: take a multiple of {self.count}, as {near}"
            )

    def of(self, batch: Any) -> Any:  # noqa: ANN401
        """The part of a batch: a tensor has a row an example; a type with `examples` and `of` is
        asked; a named tuple is divided field by field; anything else is for all.

        Raises ShareError, where the examples cannot be shared evenly or are not equally many.
        """
        sizes = set(_sizes(batch))
        if len(sizes) > 1:
            raise ShareError(
                f"a batch of type {type(batch).__name__} cannot be shared, as its tensors have "
                f"{' and '.join(map(str, sorted(sizes)))} rows: give the type of those that do not "
                "have a row an example `examples` and `of`"
            )
        for size in sizes:
            self.refuse_uneven(size, "a batch of trainer.batch_size")
            part = size // self.count
            return _chosen(batch, torch.arange(self.rank * part, (self.rank + 1) * part))
        return batch

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Inside, `drawn` knows that the rows at hand are this part of a batch."""
        token = _here.set(self)
        try:
            yield
        finally:
            _here.reset(token)


_here: ContextVar[Share] = ContextVar("share", default=Share())  # noqa: B039


def drawn(shape: Sequence[int], rows: int, draw: Callable[[Sequence[int]], Tensor]) -> Tensor:
    """Random numbers for the rows that are here: draw(shape) makes those of the whole batch, of
    which the part is taken along the dimension `rows`.
    """
    share, whole = _here.get(), list(shape)
    whole[rows] *= share.count
    return draw(whole).narrow(rows, share.rank * shape[rows], shape[rows])


def _sizes(part: Any) -> Iterator[int]:  # noqa: ANN401
    """How many examples each of the parts of a batch has."""
    if isinstance(part, Examples):
        yield part.examples
    elif isinstance(part, Tensor):
        if part.ndim:
            yield len(part)
    elif isinstance(part, tuple):
        for one in part:
            yield from _sizes(one)


def _chosen(part: Any, indices: Tensor) -> Any:  # noqa: ANN401
    if isinstance(part, Examples):
        return part.of(indices.cpu())
    if isinstance(part, Tensor):
        return part[indices.to(part.device)] if part.ndim else part
    if isinstance(part, tuple):
        fields = [_chosen(one, indices) for one in part]
        return type(part)(*fields) if hasattr(part, "_fields") else type(part)(fields)
    return part
