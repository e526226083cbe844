"""The contract of a task: its data, its loss, its scores, its pictures.

A task knows no model and no solver. It is built with its options, its data (of the kind that its
yaml names) and batch_size, eval_batch_size, seed, device, dtype.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

Batch = Any
"""What a batch is, is between a task's batches, its loss and its scores; but that it can be shared
(`share.Share.of`): each of its tensors has a row an example, or its type says how it is divided."""


class Loss(NamedTuple):
    """loss: () with a graph. metrics: other numbers of the batch, by declared name, as scalars.

    All are means over the batch's examples, so that the mean of equal parts' is the whole's.
    """

    loss: Tensor
    metrics: Mapping[str, Tensor]


class Picture(NamedTuple):
    """A file for the run's folder pictures/. file: "density.png"; .png and .gif are shown in
    TensorBoard, too, .npz holds the arrays behind a picture.
    """

    file: str
    content: bytes


class Task(Protocol):
    """loss_metric: the declared name of the loss. selected_by: the validation metric, the smaller
    the better, that selects a model. iterations_per_epoch: None for data without end.
    """

    @property
    def loss_metric(self) -> str: ...

    @property
    def selected_by(self) -> str: ...

    @property
    def iterations_per_epoch(self) -> int | None: ...

    @property
    def sizes(self) -> Mapping[str, int]:
        """What the data decide of a model: arguments for its constructor, by name."""
        ...

    def training_batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """The epoch's batches from index start on: a pure function of seed, epoch and index.

        Without epochs, epoch is 0 and there is always a next batch.
        """
        ...

    def loss(self, model: nn.Module, batch: Batch) -> Loss: ...

    def evaluation_batches(self, split: str) -> Iterator[Batch]:
        """split: "validation" or "test"; every example once."""
        ...

    def scores(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """The value of each example, (B,), by metric. Runs without gradients."""
        ...

    def concluded(self, means: Mapping[str, float]) -> Mapping[str, float]:
        """The scores from the means over all examples: the same, or what is made of them."""
        ...

    def findings(self, model: nn.Module) -> Mapping[str, object]:
        """What else the finished, selected model shows, in plain values; goes into result.json."""
        ...

    def pictures(self, model: nn.Module, *, final: bool) -> Iterator[Picture]:
        """What there is to see of the model after an evaluation. final: all of that and what is
        drawn once, of the selected model.

        Runs without gradients. Draws from generators of its own only.
        """
        ...
