"""Two stems (image to the state of the blocks), and the head (state to ten scores).

Both stems halve the resolution twice. The paper does not say which one it used: the residual stem
gives the 0.60 M parameters of its ResNet, the convolutional one is what most reproductions use.
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 10


def norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with 32 groups, or with one group per channel if there are fewer channels."""
    return nn.GroupNorm(min(32, channels), channels)


class ResidualBlock(nn.Module):
    """A pre-activation residual block (He et al. 2016, "Identity Mappings").

    Maps x (B, channels, H, W) to (B, channels, H / stride, W / stride).
    """

    def __init__(self, channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.norm1 = norm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.norm2 = norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.shortcut = (
            nn.Identity() if stride == 1 else nn.Conv2d(channels, channels, 1, stride, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm1(x))
        # A shortcut that changes the resolution starts from the normalised activation.
        skipped = x if isinstance(self.shortcut, nn.Identity) else self.shortcut(h)
        return skipped + self.conv2(F.relu(self.norm2(self.conv1(h))))


def residual_stem(channels: int) -> nn.Module:
    """A convolution and two residual blocks of stride 2: (B, 1, 28, 28) -> (B, channels, 7, 7)."""
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, 1),
        ResidualBlock(channels, stride=2),
        ResidualBlock(channels, stride=2),
    )


def conv_stem(channels: int) -> nn.Module:
    """Three convolutions, the last two of stride 2: (B, 1, 28, 28) -> (B, channels, 6, 6)."""
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, 1),
        norm(channels),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 4, 2, 1),
        norm(channels),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 4, 2, 1),
    )


STEMS: dict[str, Callable[[int], nn.Module]] = {"residual": residual_stem, "conv": conv_stem}


def head(channels: int) -> nn.Module:
    """The mean of every channel, then one linear layer: (B, channels, H, W) -> (B, 10)."""
    return nn.Sequential(
        norm(channels),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, CLASSES),
    )
