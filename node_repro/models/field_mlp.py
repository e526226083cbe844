"""A field learned from its trajectories: dy/dt = W2 tanh(W1 y^3), as in torchdiffeq's demo."""

import torch
from torch import Tensor, nn

from node_repro.ode.block import ODEBlock
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.solver import Solver


class CubicMLP(nn.Module):
    """f(y): one hidden layer on the cubes. y: (..., 2). Starts near zero, as the demo does."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(2, hidden), nn.Linear(hidden, 2)
        for layer in (self.inner, self.outer):
            nn.init.normal_(layer.weight, std=0.1)
            nn.init.zeros_(layer.bias)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.outer(torch.tanh(self.inner(y**3)))


class FieldMLP(nn.Module):
    """The solution of the learned field through given starts."""

    def __init__(self, *, hidden: int, solver: Solver, gradient: GradientMethod) -> None:
        super().__init__()
        self.block = ODEBlock(CubicMLP(hidden), solver=solver, gradient=gradient)

    def forward(self, y0: Tensor, ts: Tensor) -> Tensor:
        """y at the times ts: (T,) float64 from the starts y0: (B, 2), as (T, B, 2)."""
        return self.block.along(y0, ts)

    def field(self, y: Tensor) -> Tensor:
        """dy/dt at y: (B, 2)."""
        return self.block.f(y.new_zeros(()), y)
