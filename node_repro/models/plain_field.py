"""Motion by a plain neural ODE: any vector may be added to the field of a free particle."""

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from node_repro.models.motion import EnergyField, SolvedMotion, hidden_layer, near_zero
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.solver import Solver


class PlainField(EnergyField):
    """f(y) = (v, 0) + V tanh(W y + b) + c."""

    def __init__(self, dimensions: int, hidden: int) -> None:
        super().__init__()
        self.inner, self.outer = hidden_layer(dimensions, hidden), nn.Linear(hidden, dimensions)
        near_zero(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        v = y.chunk(2, dim=-1)[1]
        free = torch.cat((v, torch.zeros_like(v)), dim=-1)
        return free + self.outer(torch.tanh(self.inner(y)))


class PlainMotion(SolvedMotion):
    """Motion by a neural ODE without physical structure.

    Args:
        dimensions: Components of a state.
        hidden: Units in the hidden layer of the field.
        solver: Solver of the ODE.
        gradient: How the solution is differentiated.
    """

    def __init__(
        self,
        *,
        dimensions: int = 2,
        hidden: Annotated[int, Ge(1)],
        solver: Solver,
        gradient: GradientMethod,
    ) -> None:
        super().__init__(PlainField(dimensions, hidden), solver=solver, gradient=gradient)
