"""Task interface: training and evaluation batches, loss, scores, diagnostics and pictures.

A task is built with its own options, its data and the settings of the run (`TaskSettings`). It does
not depend on models or solvers, only on the contract of the models that it trains (see `models`).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypedDict, TypeVar, Unpack

import torch
from torch import Tensor, nn

from node_repro.data.examples import count_examples, move_examples, select_examples
from node_repro.data.generated import shuffled_indices

Batch = Any
"""Opaque outside the task. So that several processes can share a batch, every tensor must have one
row per example, or its type must implement `data.examples.Examples`."""


class Loss(NamedTuple):
    """The differentiable loss () of a batch, and other metrics of it, by name.

    All are means over the batch's examples, so that the mean over equal parts of a batch is that of
    the whole.
    """

    loss: Tensor
    metrics: Mapping[str, Tensor]


class Picture(NamedTuple):
    """A file for the run's folder pictures/, such as "density.png".

    .png and .gif are also shown in TensorBoard; .npz holds the arrays behind a picture.
    """

    file: str
    content: bytes


class TaskSettings(TypedDict):
    """Arguments of every task's constructor besides its options and data."""

    batch_size: int
    eval_batch_size: int
    seed: int
    device: torch.device
    dtype: torch.dtype


ModelT = TypeVar("ModelT", bound=nn.Module)
BatchT = TypeVar("BatchT")
SplitT = TypeVar("SplitT")
SplitT_co = TypeVar("SplitT_co", covariant=True)


class Task(ABC, Generic[ModelT, BatchT]):
    """Base class of tasks.

    A subclass names the contract of its models and its type of batches, as in
    `Task[Classifier, Batch]`, and its data in its constructor, as in `data: ImageData`. It
    implements `training_batch`, `evaluation_batches`, `loss` and `scores`; everything else has a
    default.

    Attributes:
        loss_metric: Name of the loss among the metrics.
        selection_metric: Validation metric that selects the model; smaller is better.
        metrics: Metrics of this task that are not declared in `runs.metrics`, with their labels.
        evaluates_whole_split: Whether an evaluation takes all examples at once, so that
            eval_batch_size has no effect.
    """

    loss_metric: ClassVar[str]
    selection_metric: ClassVar[str]
    metrics: ClassVar[Mapping[str, str]] = {}
    evaluates_whole_split: ClassVar[bool] = False

    def __init__(self, **settings: Unpack[TaskSettings]) -> None:
        self.batch_size = settings["batch_size"]
        self.eval_batch_size = settings["eval_batch_size"]
        self.seed = settings["seed"]
        self.device = settings["device"]
        self.dtype = settings["dtype"]

    @property
    def iterations_per_epoch(self) -> int | None:
        """Training batches in an epoch; None for a task without epochs."""
        return None

    @property
    def sizes(self) -> Mapping[str, int]:
        """Arguments of the model's constructor that the data determine, by name."""
        return {}

    def training_batches(self, epoch: int, start: int) -> Iterator[BatchT]:
        """The training batches of an epoch from index `start` on.

        They are a function of seed, epoch and index. Without epochs, epoch is 0 and the batches
        never end.
        """
        return map(self.training_batch, count(start))

    def training_batch(self, step: int) -> BatchT:
        """The training batch of a step, a function of seed and step.

        A task with epochs overrides `training_batches` instead.
        """
        raise NotImplementedError(f"{type(self).__name__} has no training_batch")

    @abstractmethod
    def evaluation_batches(self, split: str) -> Iterator[BatchT]:
        """The batches of split "validation" or "test", with every example once."""

    @abstractmethod
    def loss(self, model: ModelT, batch: BatchT) -> Loss:
        """The loss of a training batch."""

    @abstractmethod
    def scores(self, model: ModelT, batch: BatchT) -> Mapping[str, Tensor]:
        """Metrics of each example (B,), by name. Runs without gradients."""

    def finalize_scores(self, means: Mapping[str, float]) -> Mapping[str, float]:
        """Final scores, computed from the means of `scores` over all examples."""
        return means

    def diagnostics(self, model: ModelT) -> Mapping[str, object]:
        """Further results of the selected model, as plain values for result.json ("findings")."""
        return {}

    def pictures(self, model: ModelT, *, final: bool) -> Iterator[Picture]:
        """Pictures of the model after an evaluation; with `final`, all those of the selected model.

        Runs without gradients. Random numbers must come from separate generators.
        """
        return iter(())


class SplitData(Protocol[SplitT_co]):
    """Data with three splits of examples (see `data.examples`)."""

    @property
    def train(self) -> SplitT_co: ...

    @property
    def validation(self) -> SplitT_co: ...

    @property
    def test(self) -> SplitT_co: ...


class SplitTask(Task[ModelT, BatchT], Generic[ModelT, BatchT, SplitT]):
    """Base class of tasks on a fixed number of examples, which are moved to the run's device.

    Attributes:
        train: The training examples.
        splits: The examples of "validation" and "test".
    """

    def __init__(self, data: SplitData[SplitT], **settings: Unpack[TaskSettings]) -> None:
        super().__init__(**settings)
        self.train = move_examples(data.train, self.device, self.dtype)
        self.splits = {
            "validation": move_examples(data.validation, self.device, self.dtype),
            "test": move_examples(data.test, self.device, self.dtype),
        }

    def training_examples(self, step: int) -> SplitT:
        """The examples of the training batch of a step, shuffled pass by pass."""
        count = count_examples(self.train)
        indices = shuffled_indices(count, self.batch_size, self.seed, step)
        return select_examples(self.train, indices)

    def evaluation_examples(self, split: str) -> Iterator[SplitT]:
        """The examples of a split in parts of eval_batch_size."""
        examples = self.splits[split]
        for indices in torch.arange(count_examples(examples)).split(self.eval_batch_size):
            yield select_examples(examples, indices)

    def first_test_examples(self, number: int) -> SplitT:
        """The first `number` test examples, or all if there are fewer."""
        test = self.splits["test"]
        return select_examples(test, torch.arange(min(number, count_examples(test))))
