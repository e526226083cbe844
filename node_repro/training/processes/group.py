"""`Processes` of a run started by torchrun, on top of torch.distributed.

CPU tensors are sent by gloo, CUDA tensors by NCCL. DistributedDataParallel averages gradients.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from node_repro.data.sharding import Share
from node_repro.tasks import Batch, Loss, Task
from node_repro.training.cost import reduce_over_processes
from node_repro.training.processes import FailedElsewhereError

T = TypeVar("T")

PATIENCE = timedelta(minutes=30)
"""Longest wait for another process, for example while rank 0 draws pictures or downloads data."""

_FAILURE = "failure"
_CONNECTION_WORDS = ("gloo", "nccl", "connection", "process group", "timed out")


class LostProcessError(Exception):
    """Another process ended without an error message, or does not respond."""

    exit_code: ClassVar[int] = 5


class UnusedParameterError(Exception):
    """A parameter has no gradient, so the processes cannot average it."""

    exit_code: ClassVar[int] = 2


class _TaskLoss(nn.Module):
    """A task's loss as the forward method of a module.

    DistributedDataParallel wraps a module's forward, but a task may call any method of its model.
    """

    def __init__(self, task: Task, model: nn.Module) -> None:
        super().__init__()
        self.task, self.model = task, model

    def forward(self, batch: Batch) -> Loss:
        return self.task.loss(self.model, batch)


class SharedBatch:
    """The loss of one shard of a batch, and the mean of all processes' gradients."""

    def __init__(self, share: Share, task: Task, model: nn.Module) -> None:
        self.share, self.model = share, model
        self.averaged = DistributedDataParallel(_TaskLoss(task, model))

    def loss(self, batch: Batch) -> Loss:
        return self.averaged(self.share.shard(batch))

    def backward(self, loss: Tensor) -> None:
        loss.backward()
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad and parameter.grad is None:
                raise UnusedParameterError(
                    f"the loss does not depend on the parameter {name}, so {self.share.count} "
                    "processes cannot average its gradient: train in one process, or leave the "
                    "parameter out of the model"
                )


@dataclass(frozen=True)
class Group:
    """The processes started by torchrun.

    Args:
        rank: Rank of this process, from 0.
        count: Number of processes.
        local_rank: Rank among the processes of this machine.
        store: Key-value store shared by the processes until the launcher ends.
    """

    rank: int
    count: int
    local_rank: int
    store: Store

    @classmethod
    @contextmanager
    def joined(cls, local_rank: int, patience: timedelta = PATIENCE) -> Iterator["Group"]:
        """Context manager that joins the processes named by the environment variables.

        All processes leave the block together. An error inside is raised in all processes (see
        `propagate_errors`).

        Args:
            local_rank: Rank among the processes of this machine.
            patience: Longest wait for another process.
        """
        store, rank, count = next(rendezvous("env://", timeout=patience))
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=patience)
        group = cls(rank, count, local_rank, PrefixStore("node_repro", store))
        with group.propagate_errors():
            yield group
            group.all_reduce_max(0)  # barrier: no process ends before all have written their files
            dist.destroy_process_group()

    @property
    def device_index(self) -> int:
        return self.local_rank

    def objective(self, task: Task, model: nn.Module) -> SharedBatch:
        return SharedBatch(Share(self.rank, self.count), task, model)

    def reduce_metrics(self, measured: Mapping[str, float]) -> dict[str, float]:
        local = torch.tensor(list(measured.values()), dtype=torch.float64)
        every = [torch.empty_like(local) for _ in range(self.count)]
        dist.all_gather(every, local)
        columns = torch.stack(every, dim=1).tolist()
        named = zip(measured, columns, strict=True)
        return {name: reduce_over_processes(name, values) for name, values in named}

    def all_reduce_max(self, value: int) -> int:
        shared = torch.tensor(value)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return int(shared)

    def all_gather(self, value: T) -> list[T]:
        every: list[Any] = [None] * self.count
        dist.all_gather_object(every, value)
        return every

    def broadcast_from_rank0(self, make: Callable[[], T]) -> T:
        shared: list[Any] = [make() if self.rank == 0 else None]
        dist.broadcast_object_list(shared, src=0)
        return shared[0]

    def rank0_first(self, make: Callable[[], T]) -> T:
        if self.local_rank == 0:
            made = make()
            self.all_reduce_max(0)
            return made
        self.all_reduce_max(0)
        return make()

    @contextmanager
    def propagate_errors(self) -> Iterator[None]:
        """The first process to fail stores its message; the others read it when they fail too."""
        try:
            yield
        except FailedElsewhereError:
            raise
        except Exception as error:
            own = _lost_process(error) if _is_connection_error(error) else error
            failure = self._first_failure(own)
            if failure["rank"] != self.rank:
                raise FailedElsewhereError(
                    f"process {failure['rank']} of {self.count} failed: {failure['sentence']}",
                    failure["exit_code"],
                ) from error
            if own is error:
                raise
            raise own from error

    def _first_failure(self, error: Exception) -> dict:
        """The failure that was stored first; this process's own if there was none before."""
        local = {
            "rank": self.rank,
            "exit_code": getattr(error, "exit_code", 1),
            "sentence": " ".join(f"{error}".split()) or type(error).__name__,
        }
        with suppress(RuntimeError):  # the store ends with the process that hosts it
            return json.loads(self.store.compare_set(_FAILURE, "", json.dumps(local)))
        return local


def _is_connection_error(error: Exception) -> bool:
    if not isinstance(error, RuntimeError):
        return False
    text = str(error).lower()
    return isinstance(error, dist.DistError) or any(word in text for word in _CONNECTION_WORDS)


def _lost_process(error: Exception) -> LostProcessError:
    reason = " ".join(str(error).split())
    return LostProcessError(
        "another process of this run was killed or does not respond (check whether the system ran "
        f"out of memory); the last checkpoint is intact: {reason[:300]}"
    )
