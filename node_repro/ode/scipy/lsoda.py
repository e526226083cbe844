"""LSODA: Adams methods, and backward differentiation formulas where the problem turns stiff.

Petzold: Automatic selection of methods for solving stiff and nonstiff systems, SIAM J. Sci. Stat.
Comput. 4, 1983. scipy.integrate.odeint is LSODA.
"""

import math
from dataclasses import dataclass
from threading import Lock
from typing import Annotated, ClassVar

import scipy.integrate
from annotated_types import Gt

from node_repro.ode.norm import Norm
from node_repro.ode.scipy.flat import Flat, Weighted
from node_repro.ode.scipy.multistep import Multistep
from node_repro.ode.scipy.rates import Rates
from node_repro.ode.solution import SolverError

STIFF_ORDER = 5  # highest order of the backward differentiation formulas
LARGEST = 46_000  # n: LSODA counts its memory, n^2 + 9 n + 22 numbers, in 32 bits


@dataclass(frozen=True)
class Lsoda(Multistep):
    """LSODA: Adams methods, and backward differentiation formulas where the problem turns stiff.

    For small states: every Jacobian of the stiff formulas is computed by finite differences, with
    as many evaluations of f as the vector has elements. LSODA's norm is a maximum: a step is
    accepted when |e_i| <= tol_i for every element i. This bounds every mean, so the tolerances are
    used as given, and may be stricter than the requested norm. Integrals that the norm leaves out
    have no tolerance. LSODA does not report rejected steps: stats.rejected stays 0, and max_steps
    counts accepted steps. The stiff formulas have orders up to the smaller of 5 and max_order.

    Args:
        max_step: The longest step; infinity for no bound.

    Raises:
        SolverError: A number is out of its range, or, in a solve, the vector has more than 46,000
            elements (kind bad_input).

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> stiff = {"solver": ode.Lsoda(rtol=1e-5, atol=1e-5), "gradient": ode.Adjoint()}
        >>> y0, ts = torch.zeros(1), torch.tensor([0.0, 100.0])
        >>> _, stats = ode.odeint(lambda t, y: 1e4 * (1 - y), y0, ts, parameters=(), **stiff)
        >>> stats.accepted < 200  # an explicit method would need about 300,000 steps
        True
    """

    busy: ClassVar[Lock] = Lock()

    max_step: Annotated[float, Gt(0)] = math.inf

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.max_step > 0:
            raise SolverError("bad_input", f"max_step must be positive, not {self.max_step}")

    def _weighted(self, flat: Flat, norm: Norm) -> Weighted:
        if len(flat) > LARGEST:
            raise SolverError(
                "bad_input",
                f"LSODA allocates a Jacobian, and {len(flat)} elements (the state, its adjoint"
                f" and the parameters' gradients) are more than {LARGEST}: use VodeAdams",
            )
        counted = (flat.counts(norm) > 0).astype(float)
        return flat.tolerances(self._tolerances).times(counted)

    def _ode(self, rates: Rates, weighted: Weighted, first_step: float) -> scipy.integrate.ode:
        return scipy.integrate.ode(rates).set_integrator(
            "lsoda",
            rtol=weighted.rtol,
            atol=weighted.atol,
            max_order_ns=self.max_order,
            max_order_s=min(self.max_order, STIFF_ORDER),
            first_step=first_step,
            max_step=0.0 if math.isinf(self.max_step) else self.max_step,  # 0: no bound
        )
