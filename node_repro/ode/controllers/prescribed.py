"""Steps of a given mesh: every step is accepted."""

import math
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from node_repro.ode.controllers import Beginning, Verdict
from node_repro.ode.methods import Method, State, Step
from node_repro.ode.norm import Norm
from node_repro.ode.solution import SolverError

SLACK = 1e-9  # of a step, and
ULPS = 32  # units in the last place of the times: what rounding may add up to along the way


@dataclass(frozen=True)
class Prescribed:
    """points: the times from the solve's start to its end between which the steps lead, rising or
    falling. Mesh.points of another solve repeats its steps, as for a derivative of the discrete
    solution by differences.

    The solver's max_steps must be at least the span over the first step. A solve over another span
    is refused, and so is the adjoint's way back: give Adjoint a solver of its own.

    Raises:
        SolverError: fewer than two points, or points that are not finite and sorted one way (kind
            bad_input).
    """

    points: tuple[float, ...]

    def __post_init__(self) -> None:
        sizes = [b - a for a, b in pairwise(self.points)]
        if not sizes or not (
            all(0 < h < math.inf for h in sizes) or all(-math.inf < h < 0 for h in sizes)
        ):
            raise SolverError(
                "bad_input",
                "points must be at least two finite times, each beyond the one before it",
            )

    @property
    def adaptive(self) -> bool:
        return False

    def check(self, y: Tensor) -> None:
        """Prescribed steps have no tolerance to check."""

    def with_tolerance(
        self, rtol: float | Tensor | None, atol: float | Tensor | None
    ) -> "Prescribed":
        """The same steps. Raises SolverError (bad_input) for a tolerance, as they have none."""
        if rtol is not None or atol is not None:
            raise SolverError(
                "bad_input",
                "prescribed steps keep to no tolerance: remove rtol and atol, as the points alone "
                "set their accuracy, or take an error-controlled solver",
            )
        return self

    def first(self, start: Beginning, method: Method, norm: Norm) -> float:
        ends = self.points[0], self.points[-1]
        if abs(start.t - ends[0]) > self._rounding or abs(start.end - ends[1]) > self._rounding:
            raise self._elsewhere(f"a solve from t = {start.t:g} to {start.end:g}")
        return self._size(0)

    def judge(
        self, before: State, step: Step, h: float, method: Method, memory: float, norm: Norm
    ) -> Verdict:
        """memory: how many steps were judged before."""
        n = int(memory)
        size = self._size(n)
        if not abs(h - size) <= SLACK * abs(size) + self._rounding:
            raise self._elsewhere(f"step {n + 1} of size {h:g}")
        return Verdict(True, self._size(n + 1) or size, memory + 1.0, 0.0)

    def blame(self, before: State, step: Step) -> str:
        return ""

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
            f"{self.points[-1]:g}: prescribe those of this solve, and give Adjoint a solver of its "
            "own for the way back",
        )
