"""Continuous normalizing flows (section 4 of the paper): z(0) ~ N(0, I), x = z(end).

By the instantaneous change of variables (Theorem 1), d log p(z(t))/dt = -tr(df/dz), so the log
density is integrated together with the point.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from node_repro.data.sharding import Noise
from node_repro.models import Flow, FlowSample, SolvesODE
from node_repro.models.gaussian import standard_normal_log_density
from node_repro.ode.field import VectorField
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.odeint import odeint
from node_repro.ode.solver import Solver


class Dynamics(nn.Module, ABC):
    """The dynamics of a flow, on states (D + 1, B): points as columns, log p in the last row."""

    @abstractmethod
    def bind(self, y: Tensor, noise: Noise | None) -> VectorField:
        """The field of one solve, f(t, y) = (dz/dt, -tr(df/dz)).

        Args:
            y: The states at which the solve starts.
            noise: For an estimate of the trace, the same throughout the solve; None for the exact
                trace.
        """


class ContinuousFlow(SolvesODE, Flow):
    """A flow whose points follow an ODE.

    Args:
        dynamics: The vector field of points and log density.
        solver: Solver of the ODE.
        gradient: How the solution is differentiated.
        end: Time at which the flow reaches the data.
    """

    def __init__(
        self, dynamics: Dynamics, *, solver: Solver, gradient: GradientMethod, end: float
    ) -> None:
        super().__init__(solver=solver, gradient=gradient)
        self.dynamics, self.end = dynamics, end

    def sample(self, z: Tensor, noise: Noise | None = None) -> FlowSample:
        y = self._solve(z, (0.0, self.end), noise)[-1]
        return FlowSample(y[:-1].T, standard_normal_log_density(z) + y[-1])

    def log_density(self, x: Tensor, fraction: float = 1.0, noise: Noise | None = None) -> Tensor:
        """Log densities (B,) of points x (B, D) at time fraction * end, solved back to time 0."""
        y = self._solve(x, (fraction * self.end, 0.0), noise)[-1]
        return standard_normal_log_density(y[:-1].T) - y[-1]

    def encode(self, x: Tensor) -> Tensor:
        """Map points x (B, D) of the data to the base."""
        return self._solve(x, (self.end, 0.0))[-1][:-1].T

    def path(self, z: Tensor, fractions: Sequence[float]) -> Tensor:
        times = (0.0, *(fraction * self.end for fraction in fractions))
        return self._solve(z, times)[1:, :-1].transpose(1, 2)

    def velocity(self, x: Tensor, fraction: float) -> Tensor:
        """dz/dt (B, D) at points x (B, D) and time fraction * end."""
        y = _columns(x)
        t = torch.tensor(fraction * self.end, dtype=x.dtype, device=x.device)
        return self.dynamics.bind(y, None)(t, y)[:-1].T

    def _solve(self, z: Tensor, times: Sequence[float], noise: Noise | None = None) -> Tensor:
        """The states (T, D + 1, B) from points z (B, D) with log p = 0."""
        y = _columns(z)
        solution = odeint(
            self.dynamics.bind(y, noise),
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
