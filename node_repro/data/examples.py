"""Batches and splits of examples: counting, selecting and moving them.

Examples are a tensor with one row per example, an object that implements `Examples`, or a tuple of
such parts. Everything else in a tuple, such as a number, belongs to all examples.
"""

from collections.abc import Callable, Iterator
from typing import Protocol, Self, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor

T = TypeVar("T")


@runtime_checkable
class Examples(Protocol):
    """Examples whose tensors do not all have one row per example."""

    @property
    def examples(self) -> int:
        """Number of examples."""
        ...

    def select(self, indices: Tensor) -> Self:
        """The examples at the indices, an int64 tensor (b,)."""
        ...


@runtime_checkable
class Movable(Protocol):
    """An object that moves its own tensors, as `torch.Tensor.to` does."""

    def to(self, device: torch.device, dtype: torch.dtype) -> Self: ...


def example_counts(part: object) -> Iterator[int]:
    """The number of examples in each part of a batch or split; they should be equal."""
    if isinstance(part, Examples):
        yield part.examples
    elif isinstance(part, Tensor):
        if part.ndim:
            yield len(part)
    elif isinstance(part, tuple):
        for field in part:
            yield from example_counts(field)


def count_examples(part: object) -> int:
    """The number of examples in a batch or split."""
    return next(example_counts(part))


def select_examples(part: T, indices: Tensor) -> T:
    """The examples at the indices, an int64 tensor (b,) on any device."""

    def select(leaf: object) -> object:
        if isinstance(leaf, Examples):
            return leaf.select(indices)
        return leaf[indices.to(leaf.device)] if isinstance(leaf, Tensor) and leaf.ndim else leaf

    return map_parts(part, select)


def move_examples(part: T, device: torch.device, dtype: torch.dtype) -> T:
    """A copy on the device, with floating-point tensors in the dtype."""

    def move(leaf: object) -> object:
        if isinstance(leaf, Tensor):
            return leaf.to(device, dtype if leaf.is_floating_point() else leaf.dtype)
        return leaf.to(device, dtype) if isinstance(leaf, Movable) else leaf

    return map_parts(part, move)


def map_parts(part: T, change: Callable[[object], object]) -> T:
    """Apply a function to every part of a tuple, at any depth, or to a part that is no tuple."""
    if isinstance(part, tuple) and not isinstance(part, Examples):
        make = getattr(part, "_make", type(part))  # named tuples are made by _make
        return cast(T, make([map_parts(field, change) for field in part]))
    return cast(T, change(part))
