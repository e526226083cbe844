"""Motion by a Hamiltonian network (Greydanus, Dzamba, Yosinski 2019).

A learned energy H(q, p) gives the field dq/dt = dH/dp, dp/dt = -dH/dq, which conserves it.
"""

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from node_repro.models.motion import EnergyField, Potential, SolvedMotion
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.solver import Solver


class HamiltonianField(EnergyField):
    """The field of H(q, p) = |p|^2 / 2 + S(q, p), where S is learned."""

    def __init__(self, dimensions: int, hidden: int) -> None:
        super().__init__()
        self.added = Potential(dimensions, hidden)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        p = y.chunk(2, dim=-1)[1]
        dq, dp = self.added.gradient(y).chunk(2, dim=-1)
        return torch.cat((p + dp, -dq), dim=-1)

    def energy(self, y: Tensor) -> Tensor:
        p = y.chunk(2, dim=-1)[1]
        return p.square().sum(-1) / 2 + self.added(y)


class HamiltonianMotion(SolvedMotion):
    """Motion with a learned Hamiltonian of coordinates and momenta.

    The states of the data serve as (q, p), which is right for unit masses.

    Args:
        dimensions: Components of a state.
        hidden: Units in the hidden layer of the Hamiltonian.
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
        super().__init__(HamiltonianField(dimensions, hidden), solver=solver, gradient=gradient)
