"""Classification of digits (section 3 of the paper): cross-entropy on randomly cropped images."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Unpack

from annotated_types import Ge, Le
from torch import Tensor

from node_repro.data import Batch, ImageData, holdout, split_to
from node_repro.data.image_batches import batches_per_epoch, evaluation_batches, training_batches
from node_repro.models import Classifier
from node_repro.tasks import Loss, Task, TaskSettings
from node_repro.tasks.likelihood import classification_loss, classification_scores

HELD_OUT = 5_000
HELD_OUT_EMBEDDED = 500
SPLIT_SEED = 0  # the validation digits are the same for every seed of a run


class MNIST(Task[Classifier, Batch]):
    """Classification of images.

    Args:
        data: The images.
        crop_padding: Pixels of zero padding on each side, before a random crop.
        validation: Training images that are held out to select the model. None holds out 5,000, or
            500 of the embedded digits.
        settings: Settings of the run.
    """

    loss_metric = "loss_nats"
    selection_metric = "error"

    def __init__(
        self,
        *,
        data: ImageData,
        crop_padding: Annotated[int, Ge(0), Le(28)],
        validation: Annotated[int, Ge(1)] | None,
        **settings: Unpack[TaskSettings],
    ) -> None:
        super().__init__(**settings)
        if validation is None:
            held = HELD_OUT if data.complete else HELD_OUT_EMBEDDED
            validation = min(held, len(data.train.labels) // 8)  # fewer of a limited set
        train, held_out = holdout(data.train, validation, SPLIT_SEED)
        self.train = split_to(train, self.device)
        self.splits = {
            "validation": split_to(held_out, self.device),
            "test": split_to(data.test, self.device),
        }
        self.crop_padding = crop_padding

    @property
    def iterations_per_epoch(self) -> int:
        return batches_per_epoch(self.train, self.batch_size)

    def training_batches(self, epoch: int, start: int) -> Iterator[Batch]:
        return training_batches(
            self.train,
            batch_size=self.batch_size,
            seed=self.seed,
            epoch=epoch,
            crop_padding=self.crop_padding,
            start=start,
            dtype=self.dtype,
        )

    def loss(self, model: Classifier, batch: Batch) -> Loss:
        return classification_loss(model(batch.images), batch.labels)

    def evaluation_batches(self, split: str) -> Iterator[Batch]:
        return evaluation_batches(
            self.splits[split], batch_size=self.eval_batch_size, dtype=self.dtype
        )

    def scores(self, model: Classifier, batch: Batch) -> Mapping[str, Tensor]:
        return classification_scores(model(batch.images), batch.labels)
