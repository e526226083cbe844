"""Processes that torchrun started, joined by torch.distributed: gloo between hosts' memories, NCCL
between CUDA devices. Gradients are averaged by DistributedDataParallel.
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
"""How long the others are waited for, as while the first one draws or downloads."""

_FAILURE = "failure"
_OF_CONNECTIONS = ("gloo", "nccl", "connection", "process group", "timed out")


class LostProcessError(Exception):
    """Another process ended without a word, or does not answer any more."""

    exit_code: ClassVar[int] = 5


class UnusedParameterError(Exception):
    """A parameter has no gradient, so its processes cannot average it."""

    exit_code: ClassVar[int] = 2


class _LossOf(nn.Module):
    """A task's loss as a module's forward, which is what DistributedDataParallel differentiates: a
    task may call any method of a model.
    """

    def __init__(self, task: Task, model: nn.Module) -> None:
        super().__init__()
        self.task, self.model = task, model

    def forward(self, batch: Batch) -> Loss:
        return self.task.loss(self.model, batch)


class SharedBatch:
    """The loss of a share of the batch, and the mean of all processes' gradients."""

    def __init__(self, share: Share, task: Task, model: nn.Module) -> None:
        self.share, self.model = share, model
        self.averaged = DistributedDataParallel(_LossOf(task, model))

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
    """store: the memory that the processes share as long as their launcher lives."""

    rank: int
    count: int
    local_rank: int
    store: Store

    @classmethod
    @contextmanager
    def joined(cls, local_rank: int, patience: timedelta = PATIENCE) -> Iterator["Group"]:
        """The processes that the environment names, until the end of the block, which all leave
        together. An error inside is every process' (see `propagate_errors`).
        """
        store, rank, count = next(rendezvous("env://", timeout=patience))
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=patience)
        group = cls(rank, count, local_rank, PrefixStore("node_repro", store))
        with group.propagate_errors():
            yield group
            group.all_reduce_max(0)  # all have written what they write: none ends before
            dist.destroy_process_group()

    @property
    def device_index(self) -> int:
        return self.local_rank

    def objective(self, task: Task, model: nn.Module) -> SharedBatch:
        return SharedBatch(Share(self.rank, self.count), task, model)

    def reduce_metrics(self, measured: Mapping[str, float]) -> dict[str, float]:
        mine = torch.tensor(list(measured.values()), dtype=torch.float64)
        every = [torch.empty_like(mine) for _ in range(self.count)]
        dist.all_gather(every, mine)
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
        """The first process to fail tells its sentence to the others, whose connections break."""
        try:
            yield
        except FailedElsewhereError:
            raise
        except Exception as error:
            own = _lost(error) if _of_connections(error) else error
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
        """The first failure of any process; it is this one, if nobody has told of one before."""
        mine = {
            "rank": self.rank,
            "exit_code": getattr(error, "exit_code", 1),
            "sentence": " ".join(f"{error}".split()) or type(error).__name__,
        }
        with suppress(RuntimeError):  # the store may be gone with the process that kept it
            return json.loads(self.store.compare_set(_FAILURE, "", json.dumps(mine)))
        return mine


def _of_connections(error: Exception) -> bool:
    if not isinstance(error, RuntimeError):
        return False
    text = str(error).lower()
    return isinstance(error, dist.DistError) or any(word in text for word in _OF_CONNECTIONS)


def _lost(error: Exception) -> LostProcessError:
    reason = " ".join(str(error).split())
    return LostProcessError(
        "another process of this run ended without a word or does not answer any more (look for a "
        f"kill, as by the system for want of memory); the last checkpoint is intact: {reason[:300]}"
    )
