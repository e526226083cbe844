"""Base class of the adapters of scipy's solvers, which are stepped one step at a time up to t1.

f is called with y on its own device and in its own dtype; scipy works on one vector of float64 on
the host. Outputs within a step are the integrator's own interpolation.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Annotated, Any, Self

import numpy as np
import torch
from annotated_types import Ge, Gt
from torch import Tensor

from node_repro.ode.engines import (
    DEFAULT_OPTIONS,
    Mesh,
    SolveOptions,
    Start,
    Starts,
    Trajectory,
    solve_with_jumps,
)
from node_repro.ode.field import Counted
from node_repro.ode.methods import Carry, Field, State
from node_repro.ode.norm import Norm, Tolerances
from node_repro.ode.scipy.flat import Flat, Vector, Weighted
from node_repro.ode.scipy.rates import Rates
from node_repro.ode.solution import SolverError, Stats, count_non_finite

Integrator = Any
"""An integrator of scipy at the end of its last step; its type is the subclass's choice."""

ULPS = 16  # the shortest step, in units in the last place of t


@dataclass(frozen=True)
class HostSolver:
    """Base class of solvers that wrap an integrator of scipy.

    Every solve starts afresh, so the trajectory's h is None: its last step size is no guess
    for the first step of another solve. Autograd cannot differentiate through a solve.

    Args:
        rtol: Relative tolerance: a number, or a tensor that broadcasts to y.
        atol: Absolute tolerance, in the units of y: a number, or a tensor that broadcasts to y.
        max_steps: Steps after which a solve fails.
        first_step: Length of the first step; None leaves it to the integrator.

    Raises:
        SolverError: A number is out of its range (kind bad_input).
    """

    rtol: float | Tensor
    atol: float | Tensor
    max_steps: Annotated[int, Ge(1)] = 10_000
    first_step: Annotated[float, Gt(0)] | None = None

    def __post_init__(self) -> None:
        _ = self._tolerances  # checked here
        first = self.first_step
        if first is not None and not (math.isfinite(first) and first > 0):
            raise SolverError("bad_input", f"first_step must be positive, not {first}")
        if self.max_steps < 1:
            raise SolverError("bad_input", f"max_steps must be at least 1, not {self.max_steps}")

    @property
    def name(self) -> str:
        """For messages."""
        return type(self).__name__

    @property
    def differentiable(self) -> bool:
        return False

    @property
    def controls_error(self) -> bool:
        return True

    def with_tolerance(self, rtol: float | Tensor | None, atol: float | Tensor | None) -> Self:
        rtol = self.rtol if rtol is None else rtol
        return replace(self, rtol=rtol, atol=self.atol if atol is None else atol)

    @torch.no_grad()
    def solve(
        self, f: Field, state: State, ts: Tensor, options: SolveOptions = DEFAULT_OPTIONS
    ) -> Trajectory:
        """See Solver.solve."""
        if options.watch is not None:
            raise SolverError(
                "bad_input",
                f"{self.name} gives no access to its steps, so it finds no events: use a "
                "Runge-Kutta method",
            )
        if options.jump is not None:
            return solve_with_jumps(partial(self.solve, f), state, ts, options, options.jump)
        self._tolerances.check(state.y)
        times: list[float] = ts.tolist()
        t, end = times[0], times[-1]
        sign = math.copysign(1.0, end - t)
        order = [sign * time for time in times]
        seen = bisect_right(order, order[0])
        stats = Stats()
        ys = [state.y] * seen
        if seen == len(times):
            return Trajectory(
                torch.stack(ys), state, Carry(), Mesh((t,), ()), (), options.first_step, stats
            )
        if abs(end - t) < ULPS * math.ulp(max(abs(t), abs(end))):
            raise self._too_close(t, end)
        flat = Flat(state)
        if not len(flat):
            return self._empty(f, state, times, seen, stats)
        first = options.first_step or math.copysign(self.first_step or 0.0, end - t)
        rates = Rates(f, flat, stats, (t, end))
        v = flat.vector(*state)
        integrator = self._begin(rates, v, t, end, self._weighted(flat, options.norm), first)
        points, observed, starts = [t], [], []
        while t != end:
            if stats.accepted + stats.rejected >= self.max_steps:
                raise self._too_many(t, end, integrator)
            starts += [Starts.of(Start(flat.y(v), None))] if options.keep_starts else []
            v, t1 = self._step(integrator, rates, v, t, end)
            stats.accept(t1 - t)
            stats.rejected = self._rejected(integrator)
            inside = (seen, bisect_right(order, sign * t1, seen, len(times) - 1))
            for i in range(*inside):
                ys.append(flat.y(self._interpolated(integrator, rates, v, t1, times[i])))
            points.append(t1)
            observed.append(inside)
            seen, t = inside[1], t1
        last = flat.state(v)
        if not torch.isfinite(last.y).all():
            raise SolverError(
                "non_finite_state",
                f"{count_non_finite(last.y)} of the state at t = {t:g} are NaN or infinite in "
                f"{last.y.dtype}: check the parameters, or use float64",
                t=t,
            )
        ys.append(last.y)
        mesh = Mesh(tuple(points), tuple(observed))
        return Trajectory(
            torch.stack(ys), last, Carry(), mesh, tuple(starts), None, stats, rates.f.first
        )

    def _weighted(self, flat: Flat, norm: Norm) -> Weighted:
        """The tolerances with which the integrator's own norm equals or bounds the given one."""
        raise NotImplementedError

    def _begin(
        self, rates: Rates, v: Vector, t: float, end: float, weighted: Weighted, first: float
    ) -> Integrator:
        """scipy's integrator at (t, v), for steps up to the end. first: the signed first step, 0
        for the integrator's own choice.
        """
        raise NotImplementedError

    def _step(
        self, integrator: Integrator, rates: Rates, v: Vector, t: float, end: float
    ) -> tuple[Vector, float]:
        """Take a step, and return the vector and time at its end. Raises SolverError."""
        raise NotImplementedError

    def _interpolated(
        self, integrator: Integrator, rates: Rates, v: Vector, t: float, time: float
    ) -> Vector:
        """The vector at a time within the last step, which ended at (t, v)."""
        raise NotImplementedError

    def _last_size(self, integrator: Integrator) -> float:
        """The signed size of the last step."""
        raise NotImplementedError

    def _rejected(self, integrator: Integrator) -> int:
        """The rejected steps so far; 0 if the integrator does not count them."""
        return 0

    @cached_property
    def _tolerances(self) -> Tolerances:
        """rtol and atol together."""
        return Tolerances.create(self.rtol, self.atol)

    def _empty(
        self, f: Field, state: State, times: list[float], seen: int, stats: Stats
    ) -> Trajectory:
        """The trajectory of a state without elements: one step with one evaluation of f."""
        t, end = times[0], times[-1]
        Counted(f, stats, (t, end))(t, state.y, integrands=bool(state.integrals))
        stats.accept(end - t)
        mesh = Mesh((t, end), ((seen, len(times) - 1),))
        ys = state.y.expand(len(times), *state.y.shape).clone()
        return Trajectory(ys, state, Carry(), mesh, (Starts.of(Start(state.y, None)),), None, stats)

    def _too_close(self, t: float, end: float) -> SolverError:
        return SolverError(
            "bad_input",
            f"t = {t:g} and {end:g} are only {abs(end - t):.3g} apart, less than {ULPS} units in "
            f"the last place, and {self.name} cannot step so short: make the times equal "
            "or set them further apart",
            t=t,
        )

    def _too_many(self, t: float, end: float, integrator: Integrator) -> SolverError:
        h = self._last_size(integrator)
        return SolverError(
            "max_steps",
            f"{self.max_steps} steps were not enough: t = {t:g} of {end:g}, step {h:.3g}; the "
            "problem may be stiff or the tolerance too small: raise rtol and atol, or raise "
            "max_steps",
            t=t,
            h=h,
        )

    def _not_finite(self, v: Vector, t: float, h: float) -> SolverError:
        """The error for a value of f that is not finite in a step from (t, v)."""
        return SolverError(
            "non_finite_dynamics",
            f"f is not finite at or beyond t = {t:g}, where the state is at most {largest(v)}: "
            "the solution may blow up or leave the domain of f there; check the inputs and the "
            "parameters",
            t=t,
            h=h,
        )

    def _no_step(self, v: Vector, t: float, h: float) -> SolverError:
        """The error if the integrator finds no step from (t, v)."""
        return SolverError(
            "dt_underflow",
            f"{self.name} found no step at t = {t:g}, where the state is at most "
            f"{largest(v)}; the problem may be stiff or blow up there: raise rtol and atol",
            t=t,
            h=h,
        )


def largest(v: Vector) -> str:
    """The size of a vector's largest element, for messages."""
    return f"{np.abs(v).max() if len(v) else 0.0:.3g}"
