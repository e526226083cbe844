"""The residual network of Table 1: a stem, six residual blocks, a head.

Parameters with 64 channels: 601,482 with the residual stem, 576,778 with the convolutional one.
"""

from torch import Tensor, nn

from node_repro.models.stem import STEMS, ResidualBlock, head


class ResNet(nn.Module):
    """images (B, 1, 28, 28) -> scores (B, 10)."""

    def __init__(self, *, stem: str, blocks: int, channels: int) -> None:
        super().__init__()
        self.stem = STEMS[stem](channels)
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))
        self.head = head(channels)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(images)))
