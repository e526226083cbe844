"""Choice of the number of CPU threads: as configured, or for "auto" by the size of the kernels.

Threads share the work of one kernel, so the largest kernel of a forward pass decides. A core does
about 3e10 operations per second. For kernels shorter than a few milliseconds, waking other threads
costs as much time as they save, and far more on a busy machine.
"""

import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from node_repro.ode.solution import SolverError

LARGE = 100_000_000  # operations from which a kernel is shared by all threads
KERNELS = 5_000  # largest number examined; a solve repeats the same ones


class Threads(NamedTuple):
    """A number of threads and the reason for it, shown to the user ("" if it was configured)."""

    count: int
    reason: str


def choose(
    asked: int | str, forward: Callable[[], object], device: torch.device, *, parts: int = 1
) -> Threads:
    """Set torch's number of threads and return it.

    Args:
        asked: A number, or "auto": OMP_NUM_THREADS if it is set, else all cores if there is a large
            kernel, else one thread.
        forward: A forward pass of a whole training batch.
        device: The device of the run.
        parts: Number of processes that share the batch.
    """
    chosen = Threads(asked, "") if isinstance(asked, int) else _auto(forward, device, parts)
    torch.set_num_threads(chosen.count)
    return chosen


def _auto(forward: Callable[[], object], device: torch.device, parts: int) -> Threads:
    count = available_threads()
    if os.environ.get("OMP_NUM_THREADS"):
        return Threads(count, "set by OMP_NUM_THREADS")
    if device.type != "cpu":
        return Threads(count, "")
    if count == 1:
        return Threads(1, "the only one available")
    operations = largest_kernel(forward, LARGE * parts) // parts
    if operations >= LARGE:
        return Threads(count, f"since a kernel has {operations:,} operations, enough to share")
    return Threads(1, f"since no kernel has more than {operations:,} operations, too few to share")


@functools.cache
def available_threads() -> int:
    """torch's default number of threads, at most OMP_THREAD_LIMIT.

    Cached, so it must be called before the number is set.
    """
    limit = os.environ.get("OMP_THREAD_LIMIT", "")
    count = torch.get_num_threads()
    return min(count, int(limit)) if limit.isdecimal() and int(limit) else count


def largest_kernel(forward: Callable[[], object], enough: int) -> int:
    """Operations of the largest matrix product or convolution of a forward pass.

    The random state is not changed.

    Args:
        forward: The forward pass.
        enough: The search ends at the first kernel with as many operations.
    """
    meter = _Meter(enough)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), meter:
            forward()
    except (_Enough, SolverError):  # the same error occurs, and is reported, in training
        pass
    return meter.operations


class _Enough(Exception):
    """The search can end."""


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
