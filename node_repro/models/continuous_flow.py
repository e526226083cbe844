"""A continuous normalizing flow (section 4 of the paper): z(0) ~ N(0, I), x = z(end).

By the instantaneous change of variables, d log p(z(t))/dt = -tr(df/dz) (Theorem 1), so that the
density is solved for along with the point.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from node_repro.models.gaussian import log_normal
from node_repro.ode.field import VectorField
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.odeint import odeint
from node_repro.ode.solution import Stats
from node_repro.ode.solver import Solver


class Drawn(NamedTuple):
    """x: (B, D). log_density: (B,), of x under the model."""

    x: Tensor
    log_density: Tensor


class Dynamics(Protocol):
    """A module that moves points. Its states: (D + 1, B), points as columns, log p below."""

    def drawn(self, y: Tensor) -> VectorField:
        """The field of one solve that starts at y: f(t, y) = (dz/dt, -tr(df/dz)).

        What it estimates the trace with is drawn here, once.
        """
        ...


class ContinuousFlow(nn.Module):
    """dynamics: an nn.Module and a `Dynamics`. end: the time at which the data are. stats: what the
    last solve cost.
    """

    def __init__(
        self, dynamics: nn.Module, *, solver: Solver, gradient: GradientMethod, end: float
    ) -> None:
        super().__init__()
        self.dynamics, self.end = dynamics, end
        self.solver, self.gradient = solver, gradient
        self.stats = Stats()

    def sample(self, z: Tensor) -> Drawn:
        """Points of the base (B, D) carried to the data, and log p there."""
        y = self._solve(z, (0.0, self.end))[-1]
        return Drawn(y[:-1].T, log_normal(z) + y[-1])

    def log_density(self, x: Tensor, fraction: float = 1.0) -> Tensor:
        """log p_t(x), (B, D) -> (B,), at t = fraction * end: the points are placed at t and taken
        back to the base."""
        y = self._solve(x, (fraction * self.end, 0.0))[-1]
        return log_normal(y[:-1].T) - y[-1]

    def encode(self, x: Tensor) -> Tensor:
        """Points of the data (B, D) taken back to the base."""
        return self._solve(x, (self.end, 0.0))[-1][:-1].T

    def path(self, z: Tensor, fractions: Sequence[float]) -> Tensor:
        """Where points of the base (B, D) are at rising fractions of the time: (T, B, D)."""
        times = (0.0, *(fraction * self.end for fraction in fractions))
        return self._solve(z, times)[1:, :-1].transpose(1, 2)

    def velocity(self, x: Tensor, fraction: float) -> Tensor:
        """dz/dt at points (B, D)."""
        y = _columns(x)
        t = torch.tensor(fraction * self.end, dtype=x.dtype, device=x.device)
        return self._field(y)(t, y)[:-1].T

    def _field(self, y: Tensor) -> VectorField:
        dynamics: Dynamics = self.dynamics  # pyright: ignore[reportAssignmentType]
        return dynamics.drawn(y)

    def _solve(self, z: Tensor, times: Sequence[float]) -> Tensor:
        """The states (T, D + 1, B) from points (B, D); log p starts at 0."""
        y = _columns(z)
        solution = odeint(
            self._field(y),
            y,
            torch.tensor(times, dtype=torch.float64),
            solver=self.solver,
            gradient=self.gradient,
            parameters=[p for p in self.dynamics.parameters() if p.requires_grad],
        )
        self.stats = solution.stats
        return solution.ys


def _columns(z: Tensor) -> Tensor:
    return torch.cat((z.T, z.new_zeros(1, len(z))))
