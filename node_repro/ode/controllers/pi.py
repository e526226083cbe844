"""The proportional-integral controller: the last two errors damp each other's swings.

K. Gustafsson: Control theoretic techniques for stepsize selection in explicit Runge-Kutta methods,
ACM Transactions on Mathematical Software 17, 1991; HNW II, section IV.2, eq. (2.43c).
"""

from dataclasses import dataclass

from node_repro.ode.controllers import Verdict
from node_repro.ode.controllers.tolerance import Tolerance
from node_repro.ode.methods import Method, State, Step
from node_repro.ode.norm import Norm, error_ratio
from node_repro.ode.solution import SolverError

SMALLEST = 1e-4  # an error that is nearly zero says nothing about the next one


@dataclass(frozen=True, kw_only=True)
class PI(Tolerance):
    """h_next = h safety ratio^-(kI + kP)/q last^(kP/q), with kI = integral and kP = proportional.

    last is the ratio of the last accepted step; memory holds it, negative after a rejection, where
    the elementary rule takes over and the step may not grow.
    """

    integral: float = 0.3
    proportional: float = 0.4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 <= self.proportional <= 1 and 0 < self.integral <= 1):
            raise SolverError("bad_input", "integral must lie in (0, 1] and proportional in [0, 1]")

    def judge(
        self, before: State, step: Step, h: float, method: Method, memory: float, norm: Norm
    ) -> Verdict:
        ratio = float(error_ratio(before, step, self.tolerances, norm))
        q = method.error_order
        accept = self.acceptable(ratio, h)
        rejected_before, last = memory < 0, abs(memory) or 1.0
        if not accept:
            return Verdict(
                False, self.bounded(h, self.safety * ratio ** (-1.0 / q), grow=False), -last, ratio
            )
        if ratio == 0.0:
            return Verdict(
                True, self.bounded(h, self.factor_max, grow=not rejected_before), 1.0, 0.0
            )
        now = max(ratio, SMALLEST)
        factor = (
            self.safety
            * now ** (-(self.integral + self.proportional) / q)
            * last ** (self.proportional / q)
        )
        return Verdict(True, self.bounded(h, factor, grow=not rejected_before), now, ratio)
