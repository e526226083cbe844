"""Solvers with steps on a given grid, and evaluation of f strictly within a step."""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from node_repro.ode.controllers import Controller
from node_repro.ode.controllers.constant import Constant
from node_repro.ode.controllers.prescribed import Prescribed
from node_repro.ode.drop_in.failures import AssertingEngine
from node_repro.ode.engines import (
    DEFAULT_OPTIONS,
    Mesh,
    SolveOptions,
    StepCallbacks,
    Trajectory,
    solve_with_jumps,
)
from node_repro.ode.methods import Carry, Field, Linear, Method, Rate, Slope, State, Step, Time
from node_repro.ode.solution import SolverError, Stats
from node_repro.ode.solver import RungeKutta, Solver

STEPS = 1_000_000  # the most steps of one solve
ULPS = 1024  # units in the last place of the times, for accumulated rounding along a grid

Grid = Callable[[Tensor, Tensor], Tensor]
"""Computes the ends of the steps, float64 on the host, from the requested times, (T,) float64, and
the state at the first one.
"""


@dataclass(frozen=True)
class OnGrid:
    """A Solver whose steps lead from one time of a grid to the next.

    Args:
        method: Takes the steps.
        grid: Makes the grid of a solve.
        callbacks: Functions to be called at every step; None for none.
        perturb: Whether f is called strictly within each step.
    """

    method: Method
    grid: Grid
    callbacks: StepCallbacks | None = None
    perturb: bool = False

    @property
    def differentiable(self) -> bool:
        return True

    @property
    def controls_error(self) -> bool:
        return False

    def with_tolerance(self, rtol: float | Tensor | None, atol: float | Tensor | None) -> "OnGrid":
        if rtol is not None or atol is not None:
            raise SolverError(
                "bad_input",
                "the steps of a grid are not controlled by a tolerance: remove rtol and atol",
            )
        return self

    def solve(
        self, f: Field, state: State, ts: Tensor, options: SolveOptions = DEFAULT_OPTIONS
    ) -> Trajectory:
        if options.jump is not None:
            return solve_with_jumps(partial(self.solve, f), state, ts, options, options.jump)
        points = self.grid(ts.detach(), state.y.detach()).tolist()
        method = Perturbed(self.method, tuple(points)) if self.perturb else self.method
        solver = RungeKutta(
            method, _along(points), _most(points), AssertingEngine(), self.callbacks
        )
        return solver.solve(f, state, ts, replace(options, first_step=None))


def _along(points: list[float]) -> Controller[Any]:
    """The steps between points, which may repeat."""
    distinct = (*points[:1], *(b for a, b in pairwise(points) if a != b))
    return Prescribed(distinct) if len(distinct) > 1 else Constant(1.0)


def _most(points: list[float]) -> int:
    """max_steps: at least the span divided by the first step, as Prescribed requires."""
    first = next((b - a for a, b in pairwise(points) if a != b), 1.0)
    return max(STEPS, math.ceil((points[-1] - points[0]) / first) + 1)


def checked_grid(grid: Tensor, ts: Tensor) -> Tensor:
    """The grid. Raises SolverError (bad_input) unless it leads from the first time to the last."""
    ends = grid.detach()[[0, -1]] if len(grid) else grid
    if not torch.equal(ends, ts.detach()[[0, -1]]):
        raise SolverError(
            "bad_input", "grid_constructor must give times that begin with t[0] and end with t[-1]"
        )
    return grid


class Inside(NamedTuple):
    """A field that is called strictly between two times: t is clipped to the nearest numbers
    inside, so that f is evaluated on the inner side of a jump at either end.
    """

    field: Field
    t: float
    t1: float

    def __call__(self, t: Time, y: Tensor, *, integrands: bool) -> Slope:
        return self.field(self._clip(t, y), y, integrands=integrands)

    def at_times(self, times: Sequence[Time], like: Tensor) -> Sequence[Rate]:
        return self.field.at_times([self._clip(t, like) for t in times], like)

    def jacobian(self, t: Time, y: Tensor) -> Linear:
        return self.field.jacobian(self._clip(t, y), y)

    @property
    def vjps(self) -> Stats | None:
        return self.field.vjps

    def _clip(self, t: Time, y: Tensor) -> Time:
        """t moved inside; the derivative of the result with respect to t is 1."""
        ends = torch.tensor((self.t, self.t1), dtype=y.dtype.to_real())
        low, high = sorted(torch.nextafter(ends, ends.flip(0)).tolist())
        value = t.item() if isinstance(t, Tensor) else t
        inside = min(max(value, low), high)
        return t if inside == value else t + (inside - value)


@dataclass(frozen=True)
class Perturbed:
    """A Method that calls f strictly within each step (torchdiffeq's option `perturb`).

    points: the ends of the steps, or the first and the last of them. The end of a step that differs
    from one of them by rounding is replaced by it.
    """

    method: Method
    points: tuple[float, ...]

    @property
    def name(self) -> str:
        return self.method.name

    @property
    def order(self) -> int:
        return self.method.order

    @property
    def dense_order(self) -> int:
        return self.method.dense_order

    @property
    def error_order(self) -> int:
        return self.method.error_order

    @property
    def adaptive(self) -> bool:
        return self.method.adaptive

    def init(self, f: Field, t: Time, y: Tensor, twin: Tensor | None = None) -> Carry:
        beyond = math.copysign(math.inf, self.points[-1] - self.points[0])
        return self.method.init(Inside(f, self._end(t), beyond), t, y, twin)

    def step(
        self, f: Field, t: Time, t1: Time, state: State, carry: Carry, *, advance_only: bool = False
    ) -> Step:
        inside = Inside(f, self._end(t), self._end(t1))
        step = self.method.step(inside, t, t1, state, carry, advance_only=advance_only)
        # at a jump the slopes on the two sides of the step's end differ
        return step._replace(carry=step.carry._replace(slope=None))

    def _end(self, t: Time) -> float:
        """t, or the point of the grid that differs from it by rounding."""
        value = t.item() if isinstance(t, Tensor) else t
        points = self._sorted
        place = bisect_left(points, value)
        near = min(points[max(place - 1, 0) : place + 1], key=lambda point: abs(point - value))
        rounding = ULPS * math.ulp(max(abs(points[0]), abs(points[-1])))
        return near if abs(near - value) <= rounding else value

    @cached_property
    def _sorted(self) -> list[float]:
        return sorted(self.points)

    def interpolate(self, y: Tensor, h: Time, stages: tuple[Tensor, ...], x: Tensor) -> Tensor:
        return self.method.interpolate(y, h, stages, x)

    def rate(self, h: Time, stages: tuple[Tensor, ...], x: Tensor) -> Tensor:
        return self.method.rate(h, stages, x)


@dataclass(frozen=True)
class Stopping:
    """A Solver that ends a step at every stop, for the backward solve of the adjoint method.

    It solves from one time to another, without outputs in between. f is called on a step's own side
    of a stop.

    Args:
        solver: Solves between two stops.
        stops: Times at which f may jump, in any order.
    """

    solver: Solver
    stops: tuple[float, ...]

    @property
    def differentiable(self) -> bool:
        return self.solver.differentiable

    @property
    def controls_error(self) -> bool:
        return self.solver.controls_error

    def with_tolerance(
        self, rtol: float | Tensor | None, atol: float | Tensor | None
    ) -> "Stopping":
        return Stopping(self.solver.with_tolerance(rtol, atol), self.stops)

    def solve(
        self, f: Field, state: State, ts: Tensor, options: SolveOptions = DEFAULT_OPTIONS
    ) -> Trajectory:
        if options.jump is not None:
            return solve_with_jumps(partial(self.solve, f), state, ts, options, options.jump)
        start, end = float(ts[0]), float(ts[-1])
        between = sorted(
            stop for stop in set(self.stops) if min(start, end) < stop < max(start, end)
        )
        if not between:
            return self.solver.solve(f, state, ts, options)
        points = (start, *(between if start < end else reversed(between)), end)
        stats, leg = Stats(), None
        y0 = state.y
        for a, b in pairwise(points):
            piece = torch.tensor((a, b), dtype=torch.float64)
            leg = self.solver.solve(Inside(f, a, b), state, piece, options)
            stats.add(leg.stats)
            state, options = leg.end, replace(options, first_step=leg.h)
        assert leg is not None
        mesh = Mesh(points, ((1, 1),) * (len(points) - 1))
        ys = torch.stack((y0, state.y))
        return Trajectory(ys, state, leg.carry, mesh, (), leg.h, stats)
