"""The ablation that Table 1 needs: the stem and the head with nothing between them."""

from torch import Tensor, nn

from node_repro.models.stem import STEMS, head


class StemOnly(nn.Module):
    """images (B, 1, 28, 28) -> scores (B, 10)."""

    def __init__(self, *, stem: str, channels: int) -> None:
        super().__init__()
        self.stem = STEMS[stem](channels)
        self.head = head(channels)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.stem(images))
