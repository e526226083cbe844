"""The two ways from a digit to the state of the blocks, and the way from there to ten scores.

Both stems halve the image twice. The paper does not say which one it used: the residual stem gives
its ResNet's 0.60 M parameters, the convolutional one is what most reproductions take (see
docs/architecture.md).
"""

from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 10


def norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with 32 groups, or one a channel where there are fewer channels."""
    return nn.GroupNorm(min(32, channels), channels)


class ResidualBlock(nn.Module):
    """A pre-activation residual block (He et al. 2016, Identity mappings in residual networks).

    x: (B, channels, H, W) -> (B, channels, H / stride, W / stride).
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
        # a shortcut that changes the size starts from the normalised activation
        kept = x if isinstance(self.shortcut, nn.Identity) else self.shortcut(h)
        return kept + self.conv2(F.relu(self.norm2(self.conv1(h))))


def residual_stem(channels: int) -> nn.Module:
    """(B, 1, 28, 28) -> (B, channels, 7, 7): a convolution and two residual blocks of stride 2."""
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, 1),
        ResidualBlock(channels, stride=2),
        ResidualBlock(channels, stride=2),
    )


def conv_stem(channels: int) -> nn.Module:
    """(B, 1, 28, 28) -> (B, channels, 6, 6): three convolutions, the last two of stride 2."""
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, 1),
        norm(channels),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 4, 2, 1),
        norm(channels),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 4, 2, 1),
    )


STEMS = {"residual": residual_stem, "conv": conv_stem}


def head(channels: int) -> nn.Module:
    """(B, channels, H, W) -> (B, 10): the mean of every channel, then one linear layer."""
    return nn.Sequential(
        norm(channels),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, CLASSES),
    )
