"""How many CPU threads a run uses: a given number, or for "auto" one if its kernels are small.

Threads share the work of one kernel, so what counts is the largest kernel of a forward pass. A core
does about 3e10 operations a second: below some milliseconds a kernel, waking other threads costs
as much as they save, and on a busy machine far more.
"""

import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from node_repro.ode.solution import SolverError

LARGE = 100_000_000  # operations of a kernel that is shared by all threads
KERNELS = 5_000  # looked at; a solve repeats the same ones


class Threads(NamedTuple):
    """reason: why so many, for a person; empty if the number was given."""

    count: int
    reason: str


def choose(
    asked: int | str, forward: Callable[[], object], device: torch.device, *, parts: int = 1
) -> Threads:
    """Sets and returns torch's threads. asked: a number, or "auto". forward: a forward pass of a
    training batch, of which this process does one of so many parts.

    "auto" is OMP_NUM_THREADS where that is set; else all cores if a kernel is large, or one thread.
    """
    chosen = Threads(asked, "") if isinstance(asked, int) else _auto(forward, device, parts)
    torch.set_num_threads(chosen.count)
    return chosen


def _auto(forward: Callable[[], object], device: torch.device, parts: int) -> Threads:
    count = most()
    if os.environ.get("OMP_NUM_THREADS"):
        return Threads(count, "as OMP_NUM_THREADS says")
    if device.type != "cpu":
        return Threads(count, "")
    if count == 1:
        return Threads(1, "as there are no more")
    operations = largest_kernel(forward, LARGE * parts) // parts
    if operations >= LARGE:
        return Threads(count, f"as a kernel has {operations:,} operations, enough to share")
    return Threads(1, f"as no kernel has more than {operations:,} operations, too few to share")


@functools.cache
def most() -> int:
    """The threads that torch starts with, at most OMP_THREAD_LIMIT. Asked before any are set."""
    limit = os.environ.get("OMP_THREAD_LIMIT", "")
    count = torch.get_num_threads()
    return min(count, int(limit)) if limit.isdecimal() and int(limit) else count


def largest_kernel(forward: Callable[[], object], enough: int) -> int:
    """The operations of the largest matrix product or convolution; no more is looked at once
    `enough` is found. Random numbers are as before.
    """
    meter = _Meter(enough)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), meter:
            forward()
    except (_Enough, SolverError):  # what fails here fails in training, which says where
        pass
    return meter.operations


class _Enough(Exception):
    """Nothing more has to be seen."""


class _Meter(TorchDispatchMode):
    def __init__(self, enough: int) -> None:
        super().__init__()
        self.enough, self.operations, self.kernels = enough, 0, 0

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.operations = max(self.operations, count(*args, **kwargs, out_val=out))
        self.kernels += 1
        if self.operations >= self.enough or self.kernels >= KERNELS:
            raise _Enough
        return out
