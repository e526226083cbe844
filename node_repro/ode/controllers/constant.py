"""Steps of constant size: every step is accepted."""

import math
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt

from node_repro.ode.controllers import Memory, SolveStart, StepDecision
from node_repro.ode.floats import namespace
from node_repro.ode.solution import SolverError


@dataclass(frozen=True)
class Constant:
    """Steps of constant size. No error is controlled.

    Args:
        step_size: Length of every step, in units of time; the last one is cut to end at t1.

    Raises:
        SolverError: step_size is not a positive number (kind bad_input).

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> solver = ode.RungeKutta(ode.RK4, ode.Constant(step_size=0.3))
        >>> ts = torch.tensor([0.0, 2.0])
        >>> ys, stats = ode.odeint(
        ...     lambda t, y: -y, torch.ones(1), ts, solver=solver, gradient=ode.Direct()
        ... )
        >>> stats.accepted
        7
    """

    step_size: Annotated[float, Gt(0)]

    def __post_init__(self) -> None:
        if not (math.isfinite(self.step_size) and self.step_size > 0):
            raise SolverError(
                "bad_input", f"step_size must be a positive number, not {self.step_size}"
            )

    @property
    def tolerances(self) -> None:
        """None: no error is controlled."""

    def first(self, start: SolveStart) -> float:
        """step_size, with the sign of the solve's direction."""
        return math.copysign(self.step_size, start.end - start.t)

    def judge(
        self, error: float, h: float, error_order: int, state: Memory
    ) -> StepDecision[Memory]:
        """Accept the step; the next one has step_size again."""
        xp = namespace(h)
        return StepDecision(True, xp.copysign(xp.full_like(h, self.step_size), h), state)
