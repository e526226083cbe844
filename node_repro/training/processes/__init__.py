"""Interface of the processes that train one run together.

Every process does the same with its shard of a batch; rank 0 alone reads and writes files. Methods
of `Processes` are collectives: all processes have to call them, in the same order.
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
        """The loss of this process' shard of the batch."""
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
        """What rank 0 makes, on all ranks; the others do not call `make`."""
        ...

    def rank0_first(self, make: Callable[[], T]) -> T:
        """What each process makes for itself, the first one of every machine before the others, so
        that these find the files that it wrote.
        """
        ...

    def propagate_errors(self) -> AbstractContextManager[None]:
        """Inside the block, an error of any process is raised in all of them."""
        ...


class FailedElsewhereError(Exception):
    """Another process of the run failed and printed why; this one leaves with its exit code."""

    def __init__(self, sentence: str, exit_code: int) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code
