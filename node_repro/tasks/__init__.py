"""The contract of a task: its data, its loss, its scores. A task knows no model and no solver."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

Batch = Any
"""What a batch is, is between a task's data and its loss; len(batch.labels) is its size."""


class Loss(NamedTuple):
    """loss: () with a graph. metrics: other numbers of the batch, by declared name, as scalars."""

    loss: Tensor
    metrics: Mapping[str, Tensor]


class Task(Protocol):
    """selected_by: the validation metric, the smaller the better, that selects a model."""

    @property
    def selected_by(self) -> str: ...

    @property
    def iterations_per_epoch(self) -> int: ...

    def training_batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """The epoch's batches from index start on: a pure function of seed, epoch and index."""
        ...

    def loss(self, model: nn.Module, batch: Batch) -> Loss: ...

    def evaluation_batches(self, split: str) -> Iterator[Batch]:
        """split: "validation" or "test"; every example once."""
        ...

    def scores(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Sums over the batch, by metric; divided by the number of examples when all are in."""
        ...
