"""Interface of the processes that train one run together.

Every process trains on its shard of a batch; only rank 0 reads and writes files. The methods of
`Processes` are collective operations: all processes must call them in the same order.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from torch import Tensor, nn

from node_repro.tasks import Batch, Loss, Task

T = TypeVar("T")


class Objective(Protocol):
    """The loss of one training iteration and its gradient."""

    def loss(self, batch: Batch) -> Loss:
        """Return the loss of this process's shard of the batch."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Store in every parameter the gradient of the mean of all processes' losses."""
        ...


class Processes(Protocol):
    """The processes that train one run together.

    Attributes:
        rank: Rank of this process, from 0.
        count: Number of processes.
        device_index: Index of the CUDA device that this process must use; None for any.
    """

    @property
    def rank(self) -> int: ...

    @property
    def count(self) -> int: ...

    @property
    def device_index(self) -> int | None: ...

    def objective(self, task: Task, model: nn.Module) -> Objective: ...

    def reduce_metrics(self, measured: Mapping[str, float]) -> dict[str, float]:
        """Combine the values of all processes by each metric's `reduction`."""
        ...

    def all_reduce_max(self, value: int) -> int:
        """Return the largest of all processes' values."""
        ...

    def all_gather(self, value: T) -> list[T]:
        """Return the values of all processes, by rank."""
        ...

    def broadcast_from_rank0(self, make: Callable[[], T]) -> T:
        """Call `make` on rank 0 only and return its result on all ranks."""
        ...

    def rank0_first(self, make: Callable[[], T]) -> T:
        """Call `make` on every rank, on the first rank of each machine before the others.

        The other ranks of a machine then find the files that its first rank wrote.
        """
        ...

    def propagate_errors(self) -> AbstractContextManager[None]:
        """Context manager inside which an error of any process is raised in all processes."""
        ...


class FailedElsewhereError(Exception):
    """Another process of the run failed and printed why; this one exits with the same code."""

    def __init__(self, sentence: str, exit_code: int) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code
