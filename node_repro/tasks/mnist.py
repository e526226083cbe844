"""Classification of digits (section 3 of the paper): cross-entropy on randomly cropped images."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from node_repro.data import Batch, ImageData, holdout, split_to
from node_repro.data.batches import batches_per_epoch, evaluation_batches, training_batches
from node_repro.tasks import Loss, Picture

HELD_OUT = 5_000
HELD_OUT_EMBEDDED = 500
SPLIT_SEED = 0  # the validation digits are the same for every seed of a run


class MNIST:
    """data: verified digits. validation: how many training digits select the model instead of
    training it; None for 5,000, of the embedded digits 500.

    Images: (B, 1, 28, 28) in [0, 1]; labels: (B,).
    """

    loss_metric = "loss_nats"
    selected_by = "error"

    def __init__(
        self,
        *,
        data: ImageData,
        crop_padding: int,
        validation: int | None,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        if validation is None:
            held = HELD_OUT if data.complete else HELD_OUT_EMBEDDED
            validation = min(held, len(data.train.labels) // 8)  # a limited set keeps its most
        train, held_out = holdout(data.train, validation, SPLIT_SEED)
        self.train = split_to(train, device)
        self.splits = {
            "validation": split_to(held_out, device),
            "test": split_to(data.test, device),
        }
        self.crop_padding = crop_padding
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.seed, self.dtype = seed, dtype

    @property
    def iterations_per_epoch(self) -> int:
        return batches_per_epoch(self.train, self.batch_size)

    @property
    def sizes(self) -> Mapping[str, int]:
        return {}

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

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        logits = model(batch.images)
        wrong = (logits.detach().argmax(1) != batch.labels).to(torch.float32).mean()
        return Loss(F.cross_entropy(logits, batch.labels), {"error": wrong})

    def evaluation_batches(self, split: str) -> Iterator[Batch]:
        return evaluation_batches(
            self.splits[split], batch_size=self.eval_batch_size, dtype=self.dtype
        )

    def scores(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        logits = model(batch.images)
        return {
            "loss_nats": F.cross_entropy(logits, batch.labels, reduction="none"),
            "error": logits.argmax(1) != batch.labels,
        }

    def concluded(self, means: Mapping[str, float]) -> Mapping[str, float]:
        return means

    def findings(self, model: nn.Module) -> Mapping[str, object]:
        return {}

    def pictures(self, model: nn.Module, *, final: bool) -> Iterator[Picture]:
        return iter(())
