"""The solvers of scipy.integrate.solve_ivp: RK45, RK23, DOP853, Radau and BDF.

They are stepped one step at a time (scipy.integrate.OdeSolver), so that evaluations of f are
counted and failures raise a SolverError.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import scipy.integrate
from annotated_types import Gt
from scipy.sparse import csc_matrix, hstack

from node_repro.ode.norm import Norm
from node_repro.ode.scipy.flat import Flat, Vector, Weighted
from node_repro.ode.scipy.host_solver import HostSolver
from node_repro.ode.scipy.rates import Rates
from node_repro.ode.solution import SolverError

EXPLICIT = {
    "RK45": scipy.integrate.RK45,
    "RK23": scipy.integrate.RK23,
    "DOP853": scipy.integrate.DOP853,
}
IMPLICIT = {"Radau": scipy.integrate.Radau, "BDF": scipy.integrate.BDF}
SOLVERS = EXPLICIT | IMPLICIT
LEAST_RTOL = 100 * np.finfo(np.float64).eps  # scipy warns below it
NO_LIMIT = 1e200  # replaces an infinite tolerance, which scipy would subtract

ScipyMethod = Literal["RK45", "RK23", "DOP853", "Radau", "BDF"]
"""The available solvers of scipy.integrate.solve_ivp."""


@dataclass(frozen=True)
class SolveIvp(HostSolver):
    """One of the solvers of scipy.integrate.solve_ivp.

    They accept a step when a root mean square over all N reals is below 1; weights of the
    tolerances convert it to the requested norm (Flat.mean_weights).

    Radau and BDF are for stiff problems. They support one relative tolerance, here the smallest of
    all elements; absolute ones may differ. Their Jacobian is computed by finite differences, with
    as many evaluations of f as y has elements. scipy does not report rejected steps: stats.rejected
    stays 0, and max_steps counts accepted steps.

    Args:
        scipy_method: Method of scipy.integrate.solve_ivp.
        max_step: The longest step; infinity for no bound.

    Raises:
        SolverError: A number is out of its range, or the method is unknown (kind bad_input).

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> solver = ode.SolveIvp(rtol=1e-5, atol=1e-5, scipy_method="DOP853")
        >>> ts = torch.tensor([0.0, 1.0])
        >>> options = {"gradient": ode.Adjoint(), "parameters": ()}
        >>> ys, _ = ode.odeint(lambda t, y: -y, torch.ones(1), ts, solver=solver, **options)
        >>> torch.allclose(ys[-1], torch.exp(-ts[-1]), rtol=1e-3)
        True
    """

    scipy_method: ScipyMethod = "RK45"
    max_step: Annotated[float, Gt(0)] = np.inf

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scipy_method not in SOLVERS:
            raise SolverError(
                "bad_input",
                f"unknown scipy_method {self.scipy_method!r}; there are {', '.join(SOLVERS)}",
            )
        if not self.max_step > 0:
            raise SolverError("bad_input", f"max_step must be positive, not {self.max_step}")

    @property
    def name(self) -> str:
        return self.scipy_method

    def _weighted(self, flat: Flat, norm: Norm) -> Weighted:
        weights = flat.mean_weights(norm)
        rtol, atol = flat.tolerances(self._tolerances).times(weights)
        if self.scipy_method in IMPLICIT:  # a single number
            rtol = rtol[weights > 0].min(initial=1.0)
        return Weighted(np.maximum(rtol, LEAST_RTOL), np.minimum(atol, NO_LIMIT))

    def _begin(
        self, rates: Rates, v: Vector, t: float, end: float, weighted: Weighted, first: float
    ) -> "_Process":
        options: dict[str, Any] = {
            "rtol": weighted.rtol,
            "atol": weighted.atol,
            "max_step": self.max_step,
            "first_step": min(abs(first), abs(end - t)) or None,
        }
        count = rates.flat.sizes[0]
        if self.scipy_method in IMPLICIT and len(v) > count:
            # nothing depends on the integrals: their columns together need one evaluation
            filled = csc_matrix(np.ones((len(v), count)))
            empty = csc_matrix((len(v), len(v) - count))
            options["jac_sparsity"] = hstack((filled, empty), format="csc")
        return self._guarded(
            lambda: _Process(SOLVERS[self.scipy_method](rates, t, v, end, **options)), rates, v, t
        )

    def _step(
        self, integrator: "_Process", rates: Rates, v: Vector, t: float, end: float
    ) -> tuple[Vector, float]:
        solver = integrator.solver
        self._guarded(integrator.step, rates, v, t)
        y = v[: rates.flat.sizes[0]]
        if solver.status == "failed" or not np.isfinite(solver.y).all():
            h = solver.h_abs * solver.direction
            raise (self._no_step if rates.finite else self._not_finite)(y, t, h)
        rates.finite = True
        return solver.y, float(solver.t)

    def _interpolated(
        self, integrator: "_Process", rates: Rates, v: Vector, t: float, time: float
    ) -> Vector:
        return v if time == t else self._guarded(lambda: integrator.at(time), rates, v, t)

    def _last_size(self, integrator: "_Process") -> float:
        return float(integrator.solver.step_size or 0.0)

    def _guarded(self, work: Any, rates: Rates, v: Vector, t: float) -> Any:  # noqa: ANN401
        """Call a function of scipy, and raise the exception of f or a SolverError if it fails."""
        try:
            with np.errstate(all="ignore"):
                done = work()
        except (ValueError, np.linalg.LinAlgError, RuntimeError) as error:  # from a Jacobian
            done = error
        if rates.fault is not None:
            fault, rates.fault = rates.fault, None
            raise fault
        if isinstance(done, Exception):
            failure = self._no_step if rates.finite else self._not_finite
            raise failure(v[: rates.flat.sizes[0]], t, 0.0) from done
        return done


class _Process:
    """A solver and the interpolant of its last step."""

    def __init__(self, solver: Any) -> None:  # noqa: ANN401
        self.solver, self._dense = solver, None

    def step(self) -> None:
        self.solver.step()
        self._dense = None

    def at(self, time: float) -> Vector:
        if self._dense is None:
            self._dense = self.solver.dense_output()
        return self._dense(time)
