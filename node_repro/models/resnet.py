"""The residual network of Table 1: a stem, six residual blocks, a head.

Parameters with 64 channels: 601,482 with the residual stem, 576,778 with the convolutional one.
"""

from typing import Annotated, Literal

from annotated_types import Ge
from torch import Tensor, nn

from node_repro.models import Classifier
from node_repro.models.stem import STEMS, ResidualBlock, head


class ResNet(Classifier):
    """A residual network.

    Args:
        stem: Layers before the blocks.
        blocks: Number of residual blocks.
        channels: Number of feature maps.
    """

    def __init__(
        self,
        *,
        stem: Literal["residual", "conv"],
        blocks: Annotated[int, Ge(1)],
        channels: Annotated[int, Ge(1)],
    ) -> None:
        super().__init__()
        self.stem = STEMS[stem](channels)
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))
        self.head = head(channels)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(images)))
