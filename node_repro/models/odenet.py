"""The ODE-Net of Table 1: one ODE, dy/dt = f(t, y) on [0, 1], in place of six residual blocks.

With gradient=direct the same network is the paper's RK-Net. Parameters with 64 channels: 232,970
with the residual stem, 208,266 with the convolutional one.
"""

import copy
import math
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional as F

from node_repro.models import Classifier
from node_repro.models.augmentation import Augmentation
from node_repro.models.stem import STEMS, head, norm
from node_repro.ode.block import ODEBlock
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.solver import Solver

Activation = Literal["relu", "softplus"]
ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "softplus": F.softplus,
}


class TimeConv(nn.Module):
    """A 3x3 convolution of x and one more channel that is t everywhere.

    Equal to a convolution of the concatenated tensor, with the same parameters, but computed as
    conv(x) + t M, where M is the response to a channel of ones. This copies nothing and keeps the
    number of channels a power of two.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        self.time_weight = nn.Parameter(torch.empty(channels, 1, 3, 3))
        self.bias = nn.Parameter(torch.empty(channels))
        bound = 1 / math.sqrt((channels + 1) * 9)  # as nn.Conv2d(channels + 1, ...) is initialised
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """The convolution (B, C, H, W) at time t () of x (B, C, H, W)."""
        ones = x.new_ones(1, 1, *x.shape[2:])
        response = F.conv2d(ones, self.time_weight, padding=1)
        return F.conv2d(x, self.weight, self.bias, padding=1) + t * response


class ConvField(nn.Module):
    """f(t, y) of torchdiffeq's ODE-Net: norm, relu, conv, norm, relu, conv, norm, also of t.

    Args:
        channels: Number of feature maps.
        activation: "relu", or "softplus" for a smooth field.
    """

    def __init__(self, channels: int, activation: Activation = "relu") -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.norm1 = norm(channels)
        self.conv1 = TimeConv(channels)
        self.norm2 = norm(channels)
        self.conv2 = TimeConv(channels)
        self.norm3 = norm(channels)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """dy/dt (B, C, H, W) at time t () and state y (B, C, H, W)."""
        h = self.conv1(t, self.activation(self.norm1(y)))
        h = self.conv2(t, self.activation(self.norm2(h)))
        return self.norm3(h)

    def smooth_twin(self) -> nn.Module | None:
        """A copy with softplus and the same weights; None if the field is smooth itself."""
        if self.activation is F.softplus:
            return None
        twin = copy.deepcopy(self)
        twin.activation = F.softplus
        return twin


class ODENet(Classifier):
    """Stem, one ODE block, head.

    Args:
        stem: Layers before the ODE.
        channels: Number of feature maps.
        activation: Activation of the ODE's field; with softplus the field has no kinks.
        augment: Feature maps of zeros that are appended to the state before the ODE.
        solver: Solver of the ODE.
        gradient: How the solution is differentiated.
    """

    def __init__(
        self,
        *,
        stem: Literal["residual", "conv"],
        channels: Annotated[int, Ge(1)],
        activation: Activation = "relu",
        augment: Annotated[int, Ge(0)] = 0,
        solver: Solver,
        gradient: GradientMethod,
    ) -> None:
        super().__init__()
        self.stem = STEMS[stem](channels)
        self.augmentation = Augmentation(augment)
        field = ConvField(channels + augment, activation)
        self.block = ODEBlock(field, solver=solver, gradient=gradient)
        self.head = head(channels + augment)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.block(self.augmentation(self.stem(images))))
