"""The smallest neural ODE: dy/dx = a, with one parameter where y = a x + b has two."""

import torch
from torch import Tensor, nn

from node_repro.models import LineModel
from node_repro.ode.block import ODEBlock
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.solver import Solver


class ConstantField(nn.Module):
    """f(x, y) = a, where a is initialised to zero."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.a * torch.ones_like(y)


class ConstantSlope(LineModel):
    """The line through a known point, as the solution of dy/dx = a."""

    def __init__(self, *, solver: Solver, gradient: GradientMethod) -> None:
        super().__init__()
        self.block = ODEBlock(ConstantField(), solver=solver, gradient=gradient)

    def forward(self, y0: Tensor, xs: Tensor) -> Tensor:
        return self.block.along(y0, xs)

    @property
    def slope(self) -> float:
        return float(self.block.f.get_parameter("a").detach())
