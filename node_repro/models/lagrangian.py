"""Motion by a Lagrangian network (Cranmer et al. 2020).

A learned function L(q, v) gives the accelerations by the equation of Euler and Lagrange,
dv/dt = (d2L/dv2)^-1 (dL/dq - (d2L/dv dq) v), which conserves the energy v . dL/dv - L.
"""

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from node_repro.models.motion import EnergyField, Potential, SolvedMotion
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.solver import Solver


class LagrangianField(EnergyField):
    """The field of L(q, v) = |v|^2 / 2 + S(q, v), where S is learned."""

    def __init__(self, dimensions: int, hidden: int) -> None:
        super().__init__()
        self.added = Potential(dimensions, hidden)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        v = y.chunk(2, dim=-1)[1]
        n = v.shape[-1]
        by_q, by_v = self.added.inner.weight.chunk(2, dim=1)  # (hidden, n) each
        slopes = self.added.unit_slopes(y)
        first, second = self.added.outer * slopes, self.added.outer * (1 - slopes.square())
        products = (by_v[:, :, None] * by_v[:, None, :]).flatten(1)  # (hidden, n^2)
        mass = torch.eye(n).to(v) + (second @ products).unflatten(-1, (n, n))
        force = first @ by_q - (second * (v @ by_q.T)) @ by_v
        return torch.cat((v, torch.linalg.solve(mass, force)), dim=-1)

    def energy(self, y: Tensor) -> Tensor:
        v = y.chunk(2, dim=-1)[1]
        by_v = self.added.gradient(y).chunk(2, dim=-1)[1]
        return v.square().sum(-1) / 2 + (v * by_v).sum(-1) - self.added(y)


class LagrangianMotion(SolvedMotion):
    """Motion with a learned Lagrangian of coordinates and velocities.

    Args:
        dimensions: Components of a state.
        hidden: Units in the hidden layer of the Lagrangian.
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
        super().__init__(LagrangianField(dimensions, hidden), solver=solver, gradient=gradient)
