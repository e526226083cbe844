"""One hidden layer: the paper's baseline, 784-300-10 (LeCun et al. 1998)."""

from typing import Annotated

from annotated_types import Ge
from torch import Tensor, nn

from node_repro.models import Classifier


class MLP(Classifier):
    """A perceptron on the pixels; 238,510 parameters with 300 hidden units.

    Args:
        hidden: Units in the hidden layer.
    """

    def __init__(self, *, hidden: Annotated[int, Ge(1)]) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(28 * 28, hidden), nn.ReLU(), nn.Linear(hidden, 10)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)
