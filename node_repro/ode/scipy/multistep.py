"""Base class of the adapters of scipy's multistep integrators, VODE and LSODA.

The integrator is that of scipy.integrate.ode. It takes single steps that do not pass a critical
time, t1 (ITASK = 5 in the documentation of ODEPACK and VODE), so f is never evaluated outside of
[t0, t1]. `ode` has no argument for this task; it is set as in scipy.integrate.LSODA.
Outputs are the integrator's own interpolation at the order of the step.
"""

import math
import warnings
from dataclasses import dataclass
from threading import Lock
from typing import Annotated, ClassVar

import numpy as np
import scipy.integrate
from annotated_types import Ge, Le

from node_repro.ode.scipy.flat import Vector, Weighted
from node_repro.ode.scipy.host_solver import ULPS, HostSolver, Integrator, largest
from node_repro.ode.scipy.rates import Rates
from node_repro.ode.solution import SolverError

MAX_ORDER = 12  # highest order of the Adams methods in both integrators
NEXT_WITHIN, INTERPOLATED = 5, 1  # ITASK: one step up to the critical time; interpolation at t
TASK, CRITICAL, LAST_STEP = 2, 0, 10  # indices in call_args and rwork


@dataclass(frozen=True)
class Multistep(HostSolver):
    """Base class of VodeAdams and Lsoda. Every solve starts at order one.

    Args:
        max_order: Highest order of the formulas.

    Raises:
        SolverError: A number is out of its range (kind bad_input).
    """

    busy: ClassVar[Lock]
    """Held during a step, because scipy's code stores the current f globally."""

    max_order: Annotated[int, Ge(1), Le(MAX_ORDER)] = MAX_ORDER

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.max_order <= MAX_ORDER:
            raise SolverError(
                "bad_input", f"max_order must lie in [1, {MAX_ORDER}], not {self.max_order}"
            )

    def _ode(self, rates: Rates, weighted: Weighted, first_step: float) -> scipy.integrate.ode:
        """The integrator, with its arguments."""
        raise NotImplementedError

    def _last_size(self, integrator: Integrator) -> float:
        return float(integrator.rwork[LAST_STEP])

    def _begin(
        self, rates: Rates, v: Vector, t: float, end: float, weighted: Weighted, first: float
    ) -> Integrator:
        process = self._ode(rates, weighted, first).set_initial_value(v, t)
        integrator = process._integrator
        integrator.rwork[CRITICAL] = end
        return integrator

    def _step(
        self, integrator: Integrator, rates: Rates, v: Vector, t: float, end: float
    ) -> tuple[Vector, float]:
        rates.finite = True
        v1, t1 = self._run(integrator, rates, v, t, end, NEXT_WITHIN)
        if rates.fault is not None:
            fault, rates.fault = rates.fault, None
            raise fault
        stuck = t1 != end and abs(t1 - t) < ULPS * math.ulp(t)
        if integrator.istate < 0 or stuck or not np.isfinite(v1).all():
            raise self._failed(integrator, rates, v, t, t1 - t)
        return v1, t1

    def _interpolated(
        self, integrator: Integrator, rates: Rates, v: Vector, t: float, time: float
    ) -> Vector:
        return self._run(integrator, rates, v, t, time, INTERPOLATED)[0] if time != t else v

    def _run(
        self, integrator: Integrator, rates: Rates, v: Vector, t: float, time: float, task: int
    ) -> tuple[Vector, float]:
        if not self.busy.acquire(blocking=False):
            raise SolverError(
                "bad_input",
                f"{type(self).__name__} is already running, and scipy's code supports one solve at "
                "a time: use another solver within f or in another thread",
            )
        try:
            with warnings.catch_warnings():  # only scipy's own, not those of f
                warnings.filterwarnings("ignore", r"(vode|lsoda): ", UserWarning)
                integrator.call_args[TASK] = task
                v1, t1 = integrator.run(rates, lambda: None, v.copy(), t, time, (), ())
        finally:
            self.busy.release()
        return v1, float(t1)

    def _failed(
        self, integrator: Integrator, rates: Rates, v: Vector, t: float, h: float
    ) -> SolverError:
        """The error for the integrator's error code, in a step from (t, v)."""
        y = v[: rates.flat.sizes[0]]
        if not rates.finite:
            return self._not_finite(y, t, h)
        if integrator.istate in (-2, -3):
            return SolverError(
                "dt_underflow",
                f"the tolerance (rtol, atol) is too small for float64 at t = {t:g}, where the "
                f"state is at most {largest(y)}: raise rtol or atol",
                t=t,
                h=h,
            )
        return self._no_step(y, t, h)
