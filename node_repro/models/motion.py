"""What the learned fields of mechanical systems share: a solve, and a hidden layer on the state.

All three (`plain_field`, `hamiltonian`, `lagrangian`) start from a free particle of unit mass,
dq/dt = v and dv/dt = 0, and learn what is added to it. They differ in what they add: any vector, or
one that follows from a function S(y) = sum_i w_i log cosh(z_i), z = W y + b, whose gradient is
W^T (w tanh z).
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from node_repro.models import MotionField
from node_repro.ode.block import ODEBlock
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.solver import Solver


def hidden_layer(dimensions: int, hidden: int) -> nn.Linear:
    """The layer z = W y + b, with standard normal weights for states of about unit size."""
    layer = nn.Linear(dimensions, hidden)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    return layer


def near_zero(weight: Tensor) -> Tensor:
    """Initialise weights (..., hidden) behind the hidden layer so that little is added at first."""
    bound = 1 / weight.shape[-1]
    return nn.init.uniform_(weight, -bound, bound)


class Potential(nn.Module):
    """S(y), a function of states y (..., D) to be differentiated by hand.

    Args:
        dimensions: Components D of a state.
        hidden: Units of the hidden layer.
    """

    def __init__(self, dimensions: int, hidden: int) -> None:
        super().__init__()
        self.inner = hidden_layer(dimensions, hidden)
        self.outer = nn.Parameter(near_zero(torch.empty(hidden)))

    def forward(self, y: Tensor) -> Tensor:
        """S (...)."""
        z = self.inner(y).abs()
        return (z + F.softplus(-2 * z) - math.log(2)) @ self.outer

    def unit_slopes(self, y: Tensor) -> Tensor:
        """tanh z (..., hidden)."""
        return torch.tanh(self.inner(y))

    def gradient(self, y: Tensor) -> Tensor:
        """dS/dy (..., D)."""
        return (self.outer * self.unit_slopes(y)) @ self.inner.weight


class EnergyField(nn.Module, ABC):
    """A vector field that may conserve an energy of its own."""

    @abstractmethod
    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """dy/dt (..., D)."""

    def energy(self, y: Tensor) -> Tensor | None:
        """The energy (...) that the field conserves; None if it conserves none."""
        return None


class SolvedMotion(MotionField):
    """Solutions of a learned field.

    Args:
        f: The field.
        solver: Solver of the ODE.
        gradient: How the solution is differentiated.
    """

    def __init__(self, f: EnergyField, *, solver: Solver, gradient: GradientMethod) -> None:
        super().__init__()
        self.f = f
        self.block = ODEBlock(f, solver=solver, gradient=gradient)

    def forward(self, y0: Tensor, ts: Tensor) -> Tensor:
        return self.block.along(y0, ts)

    def field(self, y: Tensor) -> Tensor:
        return self.f(y.new_zeros(()), y)

    def energy(self, y: Tensor) -> Tensor | None:
        return self.f.energy(y)
