"""The proportional-integral controller: the next step depends on the last two errors.

K. Gustafsson: Control theoretic techniques for stepsize selection in explicit Runge-Kutta methods,
ACM Transactions on Mathematical Software 17, 1991; Hairer, Wanner: Solving ODEs II, IV.2, eq.
(2.43c).
"""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le

from node_repro.ode.controllers import StepDecision
from node_repro.ode.controllers.adaptive import AdaptiveController, StepHistory
from node_repro.ode.floats import namespace
from node_repro.ode.solution import SolverError

SMALLEST = 1e-4  # smaller errors count as this one, as they do not predict the next error


@dataclass(frozen=True, kw_only=True)
class PI(AdaptiveController[StepHistory]):
    """h_next = h safety error^-(kI + kP)/q last^(kP/q), where the error estimate falls as h^q.

    last is the error of the last accepted step, kI is integral and kP proportional. After a
    rejection the rule of `Integral` is used, and the step does not grow.

    Args:
        integral: Weight kI of the error.
        proportional: Weight kP of the error's change since the last accepted step.

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> solver = ode.RungeKutta(ode.DOPRI5, ode.PI(rtol=1e-5, atol=1e-5, proportional=0.2))
        >>> ts = torch.tensor([0.0, 2.0])
        >>> ys, stats = ode.odeint(
        ...     lambda t, y: -y, torch.ones(1), ts, solver=solver, gradient=ode.Direct()
        ... )
        >>> torch.allclose(ys[-1], torch.exp(-ts[-1]), rtol=1e-3)
        True
    """

    integral: Annotated[float, Gt(0), Le(1)] = 0.3
    proportional: Annotated[float, Ge(0), Le(1)] = 0.4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 <= self.proportional <= 1 and 0 < self.integral <= 1):
            raise SolverError("bad_input", "integral must lie in (0, 1] and proportional in [0, 1]")

    def judge(
        self, error: float, h: float, error_order: int, state: StepHistory | None
    ) -> StepDecision[StepHistory]:
        """See Controller.judge."""
        xp = namespace(error)
        last, rejected = state or StepHistory()
        accept, exact = self.acceptable(error, h), error == 0.0
        now = xp.clip(error, SMALLEST)
        factor = (
            self.safety
            * now ** (-(self.integral + self.proportional) / error_order)
            * last ** (self.proportional / error_order)
        )
        factor = xp.where(exact, self.factor_max, factor)
        factor = xp.where(accept, factor, self.elementary_factor(error, error_order))
        size = self.bounded(h, factor, grow=accept & xp.logical_not(rejected))
        kept = xp.where(accept, xp.where(exact, 1.0, now), last)
        return StepDecision(accept, size, StepHistory(kept, xp.logical_not(accept)))
