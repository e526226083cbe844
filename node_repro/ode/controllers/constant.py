"""Steps of one size: every step is accepted."""

import math
from dataclasses import dataclass

from torch import Tensor

from node_repro.ode.controllers import Beginning, Verdict
from node_repro.ode.methods import Method, State, Step
from node_repro.ode.norm import Norm
from node_repro.ode.solution import SolverError


@dataclass(frozen=True)
class Constant:
    """step_size: |h|; the last step is cut to end exactly at t1."""

    step_size: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.step_size) and self.step_size > 0):
            raise SolverError(
                "bad_input", f"step_size must be a positive number, not {self.step_size}"
            )

    @property
    def adaptive(self) -> bool:
        return False

    def check(self, y: Tensor) -> None:
        """A constant step has no tolerance to check."""

    def with_tolerance(
        self, rtol: float | Tensor | None, atol: float | Tensor | None
    ) -> "Constant":
        """The same steps. Raises SolverError (bad_input) for a tolerance, as they have none."""
        if rtol is not None or atol is not None:
            raise SolverError(
                "bad_input",
                "steps of one size keep to no tolerance: remove rtol and atol, as step_size alone "
                "sets their accuracy, or take an error-controlled solver",
            )
        return self

    def first(self, start: Beginning, method: Method, norm: Norm) -> float:
        return math.copysign(self.step_size, start.end - start.t)

    def judge(
        self, before: State, step: Step, h: float, method: Method, memory: float, norm: Norm
    ) -> Verdict:
        return Verdict(True, math.copysign(self.step_size, h), memory, 0.0)

    def blame(self, before: State, step: Step) -> str:
        return ""
