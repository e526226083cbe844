"""A reversible residual network: its blocks are inverted in the backward pass (Gomez et al. 2017).

A block couples the halves x1, x2 of the channels, y1 = x1 + F(x2) and y2 = x2 + G(y1), and is
undone by x2 = y2 - G(y1), x1 = y1 - F(x2). Only the last block's output is kept for the backward
pass, so that the memory does not grow with the number of blocks. Parameters with 64 channels and
twelve blocks: 603,018 with the residual stem, as many as the ResNet of Table 1 within 0.3 %.

References:
    Gomez, Ren, Urtasun, Grosse: The reversible residual network: backpropagation without storing
    activations, 2017, algorithm 1.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from node_repro.models import Classifier
from node_repro.models.stem import STEMS, head

GROUPS = 32


def residual(inputs: int, outputs: int) -> nn.Sequential:
    """The function of a pre-activation residual block, without its shortcut."""
    return nn.Sequential(
        nn.GroupNorm(math.gcd(GROUPS, inputs), inputs),
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
        nn.GroupNorm(math.gcd(GROUPS, outputs), outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
    )


class ReversibleBlock(nn.Module):
    """Additive coupling of the two halves of the channels of x (B, channels, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        second = channels // 2
        first = channels - second
        self.f, self.g = residual(second, first), residual(first, second)

    def forward(self, x: Tensor) -> Tensor:
        x1, x2 = x.chunk(2, dim=1)  # of an odd number, the first half has one channel more
        y1 = x1 + self.f(x2)
        return torch.cat((y1, x2 + self.g(y1)), dim=1)

    def backpropagate(self, y: Tensor, dy: Tensor) -> "tuple[Tensor, Tensor, list[Tensor]]":
        """Undo the block and differentiate it, with one evaluation of each of its functions.

        Args:
            y: Its output.
            dy: The gradient with respect to y.

        Returns:
            Its input, the gradient with respect to it, and those with respect to the parameters.
        """
        (y1, y2), (dy1, dy2) = y.chunk(2, dim=1), dy.chunk(2, dim=1)
        g, by_y1, by_g = _differentiate(self.g, y1, dy2)
        dy1 = dy1 + by_y1
        x2 = y2 - g
        f, by_x2, by_f = _differentiate(self.f, x2, dy1)
        x = torch.cat((y1 - f, x2), dim=1)
        return x, torch.cat((dy1, dy2 + by_x2), dim=1), [*by_f, *by_g]


def _differentiate(
    f: nn.Module, x: Tensor, cotangent: Tensor
) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
    """f(x), and the gradients with respect to x and to the parameters of f."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = f(x)
    by_x, *by_parameters = torch.autograd.grad(value, (x, *f.parameters()), cotangent)
    return value.detach(), by_x, by_parameters


Context = Any
"""torch's context of an autograd function, which is not typed."""


class _Inverted(torch.autograd.Function):
    """Consecutive blocks whose inputs are recomputed in the backward pass."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, blocks: nn.ModuleList, *parameters: Tensor) -> Tensor:
        for block in blocks:
            x = block(x)
        ctx.blocks = blocks
        ctx.save_for_backward(x, *parameters)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, dy: Tensor) -> tuple[Tensor | None, ...]:
        y, *_ = ctx.saved_tensors
        gradients: list[Tensor] = []
        for block in reversed(ctx.blocks):
            y, dy, by_parameters = block.backpropagate(y, dy)
            gradients = [*by_parameters, *gradients]
        return dy, None, *gradients


class ReversibleBlocks(nn.Module):
    """Consecutive reversible blocks, of which the backward pass holds the last output alone."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ReversibleBlock(channels) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        return _Inverted.apply(x, self.blocks, *self.blocks.parameters())


class RevNet(Classifier):
    """A reversible residual network.

    Args:
        stem: Layers before the blocks.
        blocks: Number of reversible blocks.
        channels: Number of feature maps.
    """

    def __init__(
        self,
        *,
        stem: Literal["residual", "conv"],
        blocks: Annotated[int, Ge(1)],
        channels: Annotated[int, Ge(2)],
    ) -> None:
        super().__init__()
        self.stem = STEMS[stem](channels)
        self.blocks = ReversibleBlocks(channels, blocks)
        self.head = head(channels)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(images)))
