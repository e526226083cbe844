"""`Processes` of a run with a single process."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, nn

from node_repro.tasks import Batch, Loss, Task

T = TypeVar("T")


@dataclass(frozen=True)
class WholeBatch:
    """The task's loss of a whole batch."""

    task: Task
    model: nn.Module

    def loss(self, batch: Batch) -> Loss:
        return self.task.loss(self.model, batch)

    def backward(self, loss: Tensor) -> None:
        loss.backward()


@dataclass(frozen=True)
class Alone:
    """The only process of a run."""

    rank = 0
    count = 1
    device_index = None

    def objective(self, task: Task, model: nn.Module) -> WholeBatch:
        return WholeBatch(task, model)

    def reduce_metrics(self, measured: Mapping[str, float]) -> dict[str, float]:
        return dict(measured)

    def all_reduce_max(self, value: int) -> int:
        return value

    def all_gather(self, value: T) -> list[T]:
        return [value]

    def broadcast_from_rank0(self, make: Callable[[], T]) -> T:
        return make()

    def rank0_first(self, make: Callable[[], T]) -> T:
        return make()

    def propagate_errors(self) -> AbstractContextManager[None]:
        return nullcontext()
