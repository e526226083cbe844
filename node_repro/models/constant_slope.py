"""The smallest neural ODE: dy/dx = a, with one parameter where y = a x + b has two."""

import torch
from torch import Tensor, nn

from node_repro.ode.block import ODEBlock
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.solver import Solver


class Slope(nn.Module):
    """f(x, y) = a. a starts at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.a * torch.ones_like(y)


class ConstantSlope(nn.Module):
    """The line through a given start."""

    def __init__(self, *, solver: Solver, gradient: GradientMethod) -> None:
        super().__init__()
        self.block = ODEBlock(Slope(), solver=solver, gradient=gradient)

    def forward(self, y0: Tensor, xs: Tensor) -> Tensor:
        """y at xs: (N,) float64, from y0: (1,) at xs[0], as (N, 1)."""
        return self.block.along(y0, xs)

    @property
    def slope(self) -> float:
        """a."""
        return float(self.block.f.a.detach())  # pyright: ignore[reportArgumentType, reportCallIssue, reportAttributeAccessIssue]
