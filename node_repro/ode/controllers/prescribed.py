"""Steps between given times: every step is accepted."""

import math
from dataclasses import dataclass
from itertools import pairwise

from node_repro.ode.controllers import SolveStart, StepDecision
from node_repro.ode.solution import SolverError

SLACK = 1e-9  # allowed deviation of a step from the prescribed one, relative to it, plus
ULPS = 32  # units in the last place of the times, for accumulated rounding errors


@dataclass(frozen=True)
class Prescribed:
    """Steps that lead from each of the given times to the next.

    The points of another solve's mesh (`Mesh.points`) repeat its steps, for example for finite
    differences of the discrete solution. A solve over another span raises an error, also the
    backward solve of the adjoint method: pass a separate solver to Adjoint. The solver's max_steps
    must be at least the span divided by the length of the first step.

    Args:
        points: The times, rising or falling, from the start of the solve to its end.

    Raises:
        SolverError: There are fewer than two points, or they are not finite and sorted one way
            (kind bad_input).

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> solver = ode.RungeKutta(ode.RK4, ode.Prescribed((0.0, 0.1, 0.5, 2.0)), max_steps=100)
        >>> ts = torch.tensor([0.0, 2.0])
        >>> ys, stats = ode.odeint(
        ...     lambda t, y: -y, torch.ones(1), ts, solver=solver, gradient=ode.Direct()
        ... )
        >>> stats.accepted
        3
    """

    points: tuple[float, ...]

    def __post_init__(self) -> None:
        sizes = [b - a for a, b in pairwise(self.points)]
        if not sizes or not (
            all(0 < h < math.inf for h in sizes) or all(-math.inf < h < 0 for h in sizes)
        ):
            raise SolverError(
                "bad_input",
                "points must be at least two finite times in strictly rising or falling order",
            )

    @property
    def tolerances(self) -> None:
        """None: no error is controlled."""

    def first(self, start: SolveStart) -> float:
        """The size of the first step. Raises SolverError (bad_input) for another span."""
        ends = self.points[0], self.points[-1]
        if abs(start.t - ends[0]) > self._rounding or abs(start.end - ends[1]) > self._rounding:
            raise self._elsewhere(f"a solve from t = {start.t:g} to {start.end:g}")
        return self._size(0)

    def judge(
        self, error: float, h: float, error_order: int, state: int | None
    ) -> StepDecision[int]:
        """Accept the step and continue to the next point. The state counts the steps.

        Raises:
            SolverError: The step is not the prescribed one (kind bad_input).
        """
        n = state or 0
        size = self._size(n)
        if not abs(h - size) <= SLACK * abs(size) + self._rounding:
            raise self._elsewhere(f"step {n + 1} of size {h:g}")
        return StepDecision(True, self._size(n + 1) or size, n + 1)

    def _size(self, n: int) -> float:
        """The signed size of a step, 0 beyond the last."""
        return self.points[n + 1] - self.points[n] if n + 1 < len(self.points) else 0.0

    @property
    def _rounding(self) -> float:
        return ULPS * math.ulp(max(abs(self.points[0]), abs(self.points[-1])))

    def _elsewhere(self, what: str) -> SolverError:
        return SolverError(
            "bad_input",
            f"{what} is not among the prescribed steps, which lead from {self.points[0]:g} to "
            f"{self.points[-1]:g}: prescribe the steps of this solve, and pass a separate solver "
            "to Adjoint for the backward solve",
        )
