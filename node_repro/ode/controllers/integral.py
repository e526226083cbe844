"""The elementary controller: the next step follows from the last error alone.

Hairer, Norsett, Wanner: Solving ODEs I, II.4, eq. (4.13).
"""

from dataclasses import dataclass

from node_repro.ode.controllers import StepDecision
from node_repro.ode.controllers.adaptive import AdaptiveController, StepHistory
from node_repro.ode.floats import namespace


@dataclass(frozen=True, kw_only=True)
class Integral(AdaptiveController[StepHistory]):
    """h_next = h safety error^(-1/q), where the error estimate falls as h^q.

    The step after a rejection does not grow.

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> controller = ode.Integral(rtol=1e-5, atol=1e-5, first_step=0.1)
        >>> solver = ode.RungeKutta(ode.DOPRI5, controller)
        >>> ts = torch.tensor([0.0, 2.0])
        >>> ys, stats = ode.odeint(
        ...     lambda t, y: -y, torch.ones(1), ts, solver=solver, gradient=ode.Direct()
        ... )
        >>> torch.allclose(ys[-1], torch.exp(-ts[-1]), rtol=1e-3)
        True
    """

    def judge(
        self, error: float, h: float, error_order: int, state: StepHistory | None
    ) -> StepDecision[StepHistory]:
        """See Controller.judge."""
        xp = namespace(error)
        last, rejected = state or StepHistory()
        accept = self.acceptable(error, h)
        factor = self.elementary_factor(error, error_order)
        size = self.bounded(h, factor, grow=accept & xp.logical_not(rejected))
        return StepDecision(accept, size, StepHistory(last, xp.logical_not(accept)))
