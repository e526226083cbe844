"""The contract of a gradient method: it solves, and knows how to differentiate what it solved."""

from typing import Protocol

from torch import Tensor

from node_repro.ode.field import VectorField
from node_repro.ode.solution import Solution
from node_repro.ode.solver import Solver

Parameters = tuple[Tensor, ...] | None
"""What f depends on besides t and y; None where that is unknown."""


class GradientMethod(Protocol):
    """Gives dL/dy0, dL/dtheta and dL/dt for every requested time."""

    def solve(
        self, f: VectorField, y0: Tensor, ts: Tensor, solver: Solver, parameters: Parameters
    ) -> Solution:
        """ts: (T,) float64 on the host. solution.stats.backward is filled by the backward pass."""
        ...
