"""A vector field learned from trajectories, as in torchdiffeq's demo: f(y) = W2 tanh(W1 y^3)."""

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from node_repro.models import TrajectoryModel
from node_repro.ode.block import ODEBlock
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.solver import Solver


class CubicMLP(nn.Module):
    """f(y): one hidden layer on the cubes of y (..., 2), initialised near zero as in the demo."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(2, hidden), nn.Linear(hidden, 2)
        for layer in (self.inner, self.outer):
            nn.init.normal_(layer.weight, std=0.1)
            nn.init.zeros_(layer.bias)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.outer(torch.tanh(self.inner(y**3)))


class FieldMLP(TrajectoryModel):
    """Solutions of a learned vector field.

    Args:
        hidden: Units in the hidden layer of the field.
        solver: Solver of the ODE.
        gradient: How the solution is differentiated.
    """

    def __init__(
        self, *, hidden: Annotated[int, Ge(1)], solver: Solver, gradient: GradientMethod
    ) -> None:
        super().__init__()
        self.block = ODEBlock(CubicMLP(hidden), solver=solver, gradient=gradient)

    def forward(self, y0: Tensor, ts: Tensor) -> Tensor:
        return self.block.along(y0, ts)

    def field(self, y: Tensor) -> Tensor:
        return self.block.f(y.new_zeros(()), y)
