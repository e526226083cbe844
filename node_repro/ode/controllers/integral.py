"""The elementary controller: the next step follows from the last error alone.

Hairer, Norsett, Wanner: Solving ODEs I, II.4, eq. (4.13).
"""

from dataclasses import dataclass

from node_repro.ode.controllers import StepDecision
from node_repro.ode.controllers.adaptive import AdaptiveController


@dataclass(frozen=True, kw_only=True)
class Integral(AdaptiveController[bool]):
    """h_next = h safety error^(-1/q), where the error estimate falls as h^q.

    The step after a rejection does not grow. The state is whether the previous step was rejected.

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
        self, error: float, h: float, error_order: int, state: bool | None
    ) -> StepDecision[bool]:
        """See Controller.judge."""
        accept = self.acceptable(error, h)
        factor = self.factor_max if error == 0.0 else self.safety * error ** (-1.0 / error_order)
        grow = accept and not state
        return StepDecision(accept, self.bounded(h, factor, grow=grow), not accept)
