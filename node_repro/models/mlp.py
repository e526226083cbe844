"""One hidden layer: the paper's baseline, 784-300-10 (LeCun et al. 1998)."""

from torch import Tensor, nn


class MLP(nn.Module):
    """images (B, 1, 28, 28) -> scores (B, 10). 238,510 parameters with 300 hidden units."""

    def __init__(self, *, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(28 * 28, hidden), nn.ReLU(), nn.Linear(hidden, 10)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)
