"""A stand-in for CUDA graphs, for tests on machines without a GPU.

A recorded graph repeats operations with the same tensors, as a captured one does: it writes its
results where they were, and a Python value that decided something is as it was at the capture.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

Argument = Any
"""An operation, or an argument or a result of one."""


class RecordedGraph(TorchDispatchMode):
    """The operations between capture_begin and capture_end."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Argument] = []
        self.replays = 0

    def capture_end(self) -> None:
        """End the recording."""
        self.__exit__(None, None, None)

    def replay(self) -> None:
        """Repeat the operations."""
        self.replays += 1
        for func, args, kwargs, out in self.calls:
            again = func(*args, **kwargs)
            if not func._schema.is_mutable:
                for old, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
                    old.copy_(new)

    def __torch_dispatch__(
        self, func: Argument, types: Argument, args: Argument = (), kwargs: Argument = None
    ) -> Argument:
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing")
        kwargs = dict(kwargs or {})
        out = func(*args, **kwargs)
        views = [result.alias_info for result in func._schema.returns if result.alias_info]
        shape_only = torch.Tag.inplace_view in func.tags
        if not shape_only and (func._schema.is_mutable or not views):  # views stay as they are
            self.calls.append(tree_map(_as_now, (func, args, kwargs, out)))
        return out


def _as_now(x: Argument) -> Argument:
    """A tensor with the same memory and its present shape, which a later operation may change."""
    return x.detach() if isinstance(x, Tensor) else x


class RecordedSide:
    """Takes the place of `captured.Side`."""

    graphs: ClassVar[list[RecordedGraph]] = []
    """The graphs of all sides so far, three for every run that was captured."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @contextmanager
    def used(self) -> Iterator[None]:
        """The host reads nothing inside of this context."""
        with _NoReads():
            yield

    def begin(self) -> RecordedGraph:
        """Begin to record."""
        graph = RecordedGraph()
        self.graphs.append(graph)
        graph.__enter__()
        return graph


class _NoReads(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Argument, types: Argument, args: Argument = (), kwargs: Argument = None
    ) -> Argument:
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("called a synchronizing CUDA operation")
        return func(*args, **(kwargs or {}))
