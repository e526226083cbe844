"""The contract of the processes that train one run together, and what one process can do alone.

Every process does the same with its share of a batch, in step with the others; the first one alone
reads and writes files. What is said here of all of them is a collective: all have to call it, in
the same order.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from torch import Tensor, nn

from node_repro.tasks import Batch, Loss, Task

T = TypeVar("T")


class Objective(Protocol):
    """What is differentiated in an iteration."""

    def loss(self, batch: Batch) -> Loss:
        """Of this process' share of the batch."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Leaves in every parameter the gradient of the mean of all processes' losses."""
        ...


class Processes(Protocol):
    """rank: of this process, from 0. count: of all. device_index: which of its machine's CUDA
    devices is its own, None for any.
    """

    @property
    def rank(self) -> int: ...

    @property
    def count(self) -> int: ...

    @property
    def device_index(self) -> int | None: ...

    def objective(self, task: Task, model: nn.Module) -> Objective: ...

    def reduce_metrics(self, measured: Mapping[str, float]) -> dict[str, float]:
        """One number of each name, from those of all processes, as the metric says."""
        ...

    def all_reduce_max(self, value: int) -> int:
        """The largest of all processes' values."""
        ...

    def all_gather(self, value: T) -> list[T]:
        """The values of all processes, by rank."""
        ...

    def broadcast_from_rank0(self, make: Callable[[], T]) -> T:
        """What the first process makes, for all; the others do not call `make`."""
        ...

    def rank0_first(self, make: Callable[[], T]) -> T:
        """What each process makes for itself; the first one of every machine before the others, who
        find what it put into folders that they share.
        """
        ...

    def propagate_errors(self) -> AbstractContextManager[None]:
        """Inside, an error of another process is raised here, too, with that one's sentence."""
        ...


class FailedElsewhereError(Exception):
    """Another process of the run failed. It has told why; its exit code is this one's, too."""

    def __init__(self, sentence: str, exit_code: int) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code
