"""The elementary controller: the next step from the last error alone (HNW I, eq. (4.13))."""

from dataclasses import dataclass

from node_repro.ode.controllers import Verdict
from node_repro.ode.controllers.tolerance import Tolerance
from node_repro.ode.methods import Method, State, Step
from node_repro.ode.norm import Norm, error_ratio

REJECTED = 1.0


@dataclass(frozen=True, kw_only=True)
class Integral(Tolerance):
    """h_next = h safety ratio^(-1/q), where the error falls as h^q; no growth after a rejection."""

    def judge(
        self, before: State, step: Step, h: float, method: Method, memory: float, norm: Norm
    ) -> Verdict:
        ratio = float(error_ratio(before, step, self.tolerances, norm))
        accept = self.acceptable(ratio, h)
        factor = (
            self.factor_max if ratio == 0.0 else self.safety * ratio ** (-1.0 / method.error_order)
        )
        grow = accept and memory != REJECTED
        return Verdict(
            accept, self.bounded(h, factor, grow=grow), 0.0 if accept else REJECTED, ratio
        )
