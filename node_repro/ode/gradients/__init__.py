"""The contract of a gradient method: it solves, and knows how to differentiate what it solved."""

from typing import Protocol

import torch
from torch import Tensor

from node_repro.ode.field import VectorField
from node_repro.ode.solution import Solution, SolverError
from node_repro.ode.solver import Solver

Parameters = tuple[Tensor, ...] | None
"""What f depends on besides t and y; None where that is unknown."""


def refuse_second_derivative(method: str) -> None:
    """Raises SolverError (bad_input) in a backward pass that is itself to be differentiated."""
    if torch.is_grad_enabled():
        raise SolverError(
            "bad_input",
            f"gradient={method} gives first derivatives only: for create_graph=True take "
            "gradient=direct",
        )


class GradientMethod(Protocol):
    """Gives dL/dy0, dL/dtheta and dL/dt for every requested time."""

    def solve(
        self, f: VectorField, y0: Tensor, ts: Tensor, solver: Solver, parameters: Parameters
    ) -> Solution:
        """ts: (T,) float64 on the host. solution.stats.backward is filled by the backward pass."""
        ...
