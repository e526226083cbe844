"""The ODE-Net of Table 1: the six residual blocks become one ODE, dy/dt = f(t, y) on [0, 1].

With gradient=direct the same network is the paper's RK-Net. Parameters with 64 channels: 232,970
with the residual stem, 208,266 with the convolutional one.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from node_repro.models.stem import STEMS, head, norm
from node_repro.ode.block import ODEBlock
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.solver import Solver


class TimeConv(nn.Module):
    """A 3x3 convolution of x with a channel that holds t everywhere.

    The same map as a convolution of the concatenated tensor, and the same parameters, written as
    conv(x) + t M, where M is the response to a channel of ones: the number of channels stays a
    power of two, and nothing is copied.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        self.time_weight = nn.Parameter(torch.empty(channels, 1, 3, 3))
        self.bias = nn.Parameter(torch.empty(channels))
        bound = 1 / math.sqrt((channels + 1) * 9)  # what nn.Conv2d(channels + 1, ...) draws from
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """t: (), x: (B, C, H, W) -> (B, C, H, W)."""
        ones = x.new_ones(1, 1, *x.shape[2:])
        response = F.conv2d(ones, self.time_weight, padding=1)
        return F.conv2d(x, self.weight, self.bias, padding=1) + t * response


class ConvField(nn.Module):
    """f(t, y) of the public ODE-Net: norm, relu, conv, norm, relu, conv, norm; both convs see t."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = norm(channels)
        self.conv1 = TimeConv(channels)
        self.norm2 = norm(channels)
        self.conv2 = TimeConv(channels)
        self.norm3 = norm(channels)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """t: (), y: (B, C, H, W) -> dy/dt (B, C, H, W)."""
        h = self.conv1(t, F.relu(self.norm1(y)))
        h = self.conv2(t, F.relu(self.norm2(h)))
        return self.norm3(h)


class ODENet(nn.Module):
    """images (B, 1, 28, 28) -> scores (B, 10)."""

    def __init__(
        self, *, stem: str, channels: int, solver: Solver, gradient: GradientMethod
    ) -> None:
        super().__init__()
        self.stem = STEMS[stem](channels)
        self.block = ODEBlock(ConvField(channels), solver=solver, gradient=gradient)
        self.head = head(channels)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.block(self.stem(images)))
