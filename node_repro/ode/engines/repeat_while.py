"""A while loop of tensor functions, which is compiled, captured, or run step by step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor
from torch._higher_order_ops.while_loop import while_loop

Repeat = Callable[
    [Callable[..., Tensor], Callable[..., tuple[Tensor, ...]], tuple[Tensor, ...]],
    tuple[Tensor, ...],
]
"""repeat(condition, body, carried): see `repeat_while`."""


def _read_and_repeat(
    condition: Callable[..., Tensor],
    body: Callable[..., tuple[Tensor, ...]],
    carried: tuple[Tensor, ...],
) -> tuple[Tensor, ...]:
    while bool(condition(*carried)):
        carried = body(*carried)
    return carried


_repeat: ContextVar[Repeat] = ContextVar("repeat", default=_read_and_repeat)


@contextmanager
def repeated_by(repeat: Repeat) -> Iterator[None]:
    """Inside the block, let a function run the loops that are not compiled."""
    token = _repeat.set(repeat)
    try:
        yield
    finally:
        _repeat.reset(token)


def repeat_while(
    condition: Callable[..., Tensor],
    body: Callable[..., tuple[Tensor, ...]],
    carried: tuple[Tensor, ...],
) -> tuple[Tensor, ...]:
    """Repeat `carried = body(*carried)` while condition(*carried) holds; returns the last one.

    In compiled code this is one loop. Otherwise `repeated_by` decides who runs it.
    """
    if torch.compiler.is_compiling():
        return while_loop(condition, body, carried)
    return _repeat.get()(condition, body, carried)
