"""The ablation for Table 1: the stem and the head of the networks without anything in between."""

from typing import Annotated, Literal

from annotated_types import Ge
from torch import Tensor

from node_repro.models import Classifier
from node_repro.models.stem import STEMS, head


class StemOnly(Classifier):
    """Stem and head alone.

    Args:
        stem: Layers before the head.
        channels: Number of feature maps.
    """

    def __init__(
        self, *, stem: Literal["residual", "conv"], channels: Annotated[int, Ge(1)]
    ) -> None:
        super().__init__()
        self.stem = STEMS[stem](channels)
        self.head = head(channels)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.stem(images))
