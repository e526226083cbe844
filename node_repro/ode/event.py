"""Solving until something happens: terminal events, with gradients of their time and state.

An event is a change of sign of g(t, y(t)). It is found by the dense output of the step in which the
sign changed; the state is then solved for at that time t*, and one Newton step on the solution
itself corrects both. As g(t*, y(t*)) = 0 holds for all parameters, the implicit function theorem
gives dt*/d. = -(dg/dy dy/d.) / (dg/dt + dg/dy f) (Chen, Amos, Nickel 2021: Learning neural event
functions, eq. (8)).
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Generic, NamedTuple, TypeVar, overload

import torch
from torch import Tensor
from torch.autograd import Function

from node_repro.ode.engines import Leg, SolveOptions
from node_repro.ode.field import (
    Plain,
    VectorField,
    evaluate,
    trained_parameters,
    untrained_parameters,
)
from node_repro.ode.gradients import Context, GradientMethod, Problem
from node_repro.ode.methods import Method, State, at
from node_repro.ode.norm import Norm
from node_repro.ode.odeint import checked, span
from node_repro.ode.solution import SolverError, Stats
from node_repro.ode.solver import RungeKutta
from node_repro.ode.state import Layout, Packed, TupleField
from node_repro.ode.transforms import refuse_vmap

Y = TypeVar("Y")
Event = Callable[[Tensor, Any], Tensor]
"""g(t, y), of any shape: every element is an event of its own, and the first one ends the solve."""

ASIDE = 1e-4  # where in a step the sign is looked for if g begins as zero
ROUNDS = 120
FURTHEST = 0.01  # of a step: a Newton step beyond it follows a slope that means nothing
NARROW = 1e-12  # of a step: the Newton step does the rest
JUMP = 1e-3  # of its value at the step's start: a smooth g has less left so close to its zero


class EventSolution(NamedTuple, Generic[Y]):
    """Where a solve ended.

    Attributes:
        t: When the event happened, a float64 scalar on the host; the limit if nothing happened.
        y: The state then.
        index: Which element of g, flattened; None if nothing happened.
        stats: What the solve cost.
        fixed: Whether g ended the solve by a jump to 0 at a time of its own, without a gradient.
    """

    t: Tensor
    y: Y
    index: int | None
    stats: Stats
    fixed: bool = False


@overload
def odeint_event(
    f: VectorField,
    y0: Tensor,
    t0: float | Tensor,
    event: Event,
    *,
    solver: RungeKutta,
    gradient: GradientMethod,
    limit: float | Tensor,
    direction: int = 0,
    parameters: Iterable[Tensor] | None = None,
    frozen: Iterable[Tensor] = (),
    norm: Norm | None = None,
) -> EventSolution[Tensor]: ...


@overload
def odeint_event(
    f: TupleField,
    y0: tuple[Tensor, ...],
    t0: float | Tensor,
    event: Event,
    *,
    solver: RungeKutta,
    gradient: GradientMethod,
    limit: float | Tensor,
    direction: int = 0,
    parameters: Iterable[Tensor] | None = None,
    frozen: Iterable[Tensor] = (),
    norm: Norm | None = None,
) -> EventSolution[tuple[Tensor, ...]]: ...


def odeint_event(
    f: Any,
    y0: Tensor | tuple[Tensor, ...],
    t0: float | Tensor,
    event: Event,
    *,
    solver: RungeKutta,
    gradient: GradientMethod,
    limit: float | Tensor,
    direction: int = 0,
    parameters: Iterable[Tensor] | None = None,
    frozen: Iterable[Tensor] = (),
    norm: Norm | None = None,
) -> Any:
    """Solve from t0 until an event, at the latest to the limit.

    The time and the state are differentiable in y0, t0, f's parameters and the event's own. Two
    changes of sign within one step cancel: a controller with max_step keeps them apart.

    Args:
        f: The vector field.
        y0: The initial state, (*S), or a tuple of such.
        t0: The initial time.
        event: g(t, y) -> real numbers of any shape; the first change of sign of an element ends the
            solve.
        solver: A Runge-Kutta solver.
        gradient: How the result is differentiated.
        limit: The time at which the solve ends if nothing happens; before t0 for a solve backwards.
        direction: 1 for signs that rise along the way, -1 for those that fall, 0 for both.
        parameters: What f depends on besides t and y. By default f's parameters, if it is a module.
        frozen: What else f depends on and what shall get no gradient.

    Returns:
        The time, the state then, and which element of g changed its sign.

    Raises:
        SolverError: what was given makes no sense, or the event's sign changes where its value has
            no rate of change (kind bad_input); the solve failed.
    """
    if direction not in (-1, 0, 1):
        raise SolverError("bad_input", f"direction must be -1, 0 or 1, not {direction}")
    if not isinstance(solver, RungeKutta):
        raise SolverError(
            "bad_input",
            f"events are found between the steps, which {type(solver).__name__} shows nobody: take "
            "a Runge-Kutta method",
        )
    layout = Layout.from_parts(y0) if isinstance(y0, tuple) else None
    given = trained_parameters(f) if parameters is None else tuple(parameters)
    constants = (*frozen, *(untrained_parameters(f) if parameters is None else ()))
    y: Any = layout.pack(y0) if layout and isinstance(y0, tuple) else y0
    shaped = layout.unpack if layout else lambda state: state
    field = Packed(f, layout) if layout else f
    ts = checked(y, span(t0, limit))
    parts = layout.sizes if layout else ()

    def g(t: Tensor, state: Tensor) -> Tensor:
        return _checked_value(event(t, shaped(state)), t)

    problem = Problem(field, y, ts, given, parts, constants, norm)
    with torch.no_grad(), refuse_vmap():
        crossing = _Crossing(g, solver.method, float(ts[0]), y, direction)
        quiet = replace(solver, callbacks=None)  # the steps that count are those of the solution
        located = quiet.solve(
            Plain(field), State(y.detach()), ts.detach(), SolveOptions(problem.norm, watch=crossing)
        )
    end = ts[1] if crossing.t is None else torch.tensor(crossing.t, dtype=torch.float64)
    ys, stats = gradient.solve(problem._replace(ts=torch.stack((ts[0], end))), solver)
    stats.nfe += located.stats.nfe
    if crossing.index is None:
        return EventSolution(end, shaped(ys[-1]), None, stats)
    t, state, fixed = _corrected(field, g, crossing, end, ys[-1])
    stats.nfe += 1
    t, state = _FirstDerivatives.apply(t, state)  # type: ignore[misc]
    return EventSolution(t, shaped(state), crossing.index, stats, fixed)


def _checked_value(value: Tensor, t: Tensor) -> Tensor:
    """The event's value as a vector. Raises SolverError (bad_input)."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise SolverError("bad_input", f"an event must return a tensor of real numbers, not {kind}")
    if not torch.isfinite(value).all():
        now = t.item()
        raise SolverError("bad_input", f"the event's value is not finite at t = {now:g}", t=now)
    return value.reshape(-1)


class _FirstDerivatives(Function):
    """Passes t and y on: the Newton step has the first derivatives of the event, and no others."""

    @staticmethod
    def forward(ctx: Context, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)  # whether t's gradient is asked for matters
        return t.clone(), y.clone()

    @staticmethod
    def backward(
        ctx: Context, gt: Tensor | None, gy: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        if torch.is_grad_enabled():
            raise SolverError(
                "bad_input",
                "an event's time and state have first derivatives only: leave out "
                "create_graph=True",
            )
        return gt, gy


class _Crossing:
    """A Watch that stops at the first change of sign. t, index: when, and of which element; h: of
    the step in which it happened.
    """

    def __init__(
        self,
        g: Callable[[Tensor, Tensor], Tensor],
        method: Method,
        t0: float,
        y0: Tensor,
        direction: int,
    ) -> None:
        self.g, self.method, self.direction = g, method, direction
        self.t: float | None = None
        self.before, self.last_time = 0.0, False
        self.index: int | None = None
        self.h = 0.0
        self.signs = torch.sign(g(at(t0, y0), y0)).tolist()

    def __call__(self, leg: Leg) -> bool:
        if 0.0 in self.signs:
            aside = torch.sign(self._inside(leg, ASIDE)).tolist()
            self.signs = [old or new for old, new in zip(self.signs, aside, strict=True)]
        after = torch.sign(self.g(at(leg.t1, leg.y), leg.step.end.y)).tolist()
        pairs = enumerate(zip(self.signs, after, strict=True))
        crossed = [i for i, (old, new) in pairs if old * new < 0 or (old != 0 and new == 0)]
        crossed = [i for i in crossed if self.signs[i] != self.direction]
        self.signs = [new or old for old, new in zip(self.signs, after, strict=True)]
        if not crossed:
            return False
        (x, before), self.index = min((self._root(leg, i), i) for i in crossed)
        self.h = float(leg.t1 - leg.t)
        self.t, self.before = (float(leg.t) + place * self.h for place in (x, before))
        self.last_time = self._is_last_time(leg, x, before)
        return True

    def _is_last_time(self, leg: Leg, x: float, before: float) -> bool:
        """Whether an element jumps to 0 at the fraction x of a step because of the time alone: it
        is 0 then for the state at the step's start too, and is not 0 just before.
        """
        then, start = at(float(leg.t) + x * self.h, leg.y), leg.y.detach()
        zero = all(float(g[self.index]) == 0.0 for g in (self._inside(leg, x), self.g(then, start)))
        near, far = (abs(float(self._inside(leg, place)[self.index])) for place in (before, 0.0))
        return zero and near > JUMP * far

    def _inside(self, leg: Leg, x: float) -> Tensor:
        """g at the fraction x of a step."""
        h = leg.t1 - leg.t
        y = self.method.interpolate(
            leg.y, h, leg.step.stages, torch.tensor([x], dtype=torch.float64)
        )[0]
        return self.g(at(leg.t + x * h, y), y)

    def _root(self, leg: Leg, index: int) -> tuple[float, float]:
        """Where in the step an element is zero, and a place just before: regula falsi, damped as in
        the Illinois method, and a bisection every third time, for functions that are flat at their
        zero.
        """
        low, high = 0.0, 1.0
        at_low, at_high = (
            float(self._inside(leg, low)[index]),
            float(self._inside(leg, high)[index]),
        )
        if at_low * at_high > 0:  # it began as zero
            low, at_low = ASIDE, float(self._inside(leg, ASIDE)[index])
        for i in range(ROUNDS):
            if high - low < NARROW:
                break
            if at_high == 0.0:  # by chance, or because it is 0 from an earlier time on
                before = max(low, high - NARROW)
                if float(self._inside(leg, before)[index]) != 0.0:
                    low = before
                    break
                high = before
            x = high - at_high * (high - low) / (at_high - at_low)
            if at_high == 0.0 or i % 3 == 2 or not low < x < high:
                x = (low + high) / 2
            value = float(self._inside(leg, x)[index])
            if value * at_low <= 0:
                high, at_high, at_low = x, value, at_low / 2
            else:
                low, at_low, at_high = x, value, at_high / 2
        return high, low


def _corrected(
    f: VectorField,
    g: Callable[[Tensor, Tensor], Tensor],
    crossing: _Crossing,
    end: Tensor,
    y: Tensor,
) -> tuple[Tensor, Tensor, bool]:
    """t and y at the event, by one Newton step from the time `end` and the state y there, and
    whether the time is fixed.

    An event whose value jumps to 0 at a last time that the event function knows ends the solve at a
    fixed time: y is that of a plain solve, and t has no gradient.

    Raises:
        SolverError: A gradient is wanted, and the value depends on t or y without changing at a
            reliable rate (kind bad_input).
    """
    assert crossing.index is not None
    with torch.no_grad():
        dy = evaluate(f, at(end, y), y).detach()
    # what is constant from there on, such as relu(2 - t), changes before
    for t in (end, torch.tensor(crossing.before, dtype=end.dtype)):
        slope = _rate_of_change(g, crossing.index, at(t, y), y, dy)
        value = g(at(t, y), y)[crossing.index]
        if slope != 0.0 or crossing.last_time:
            break
    if crossing.last_time:
        return _NoGradient.apply(end, y.sum(), float(end)), y, True  # type: ignore[return-value]
    moved = math.inf if slope == 0.0 else abs(float(value.detach()) / slope)
    if not moved <= FURTHEST * abs(crossing.h):
        if not (torch.is_grad_enabled() and (value.requires_grad or y.requires_grad)):
            return end, y, False
        raise SolverError(
            "bad_input",
            f"the event's value has the rate of change {slope:.3g} at t = {float(end):g}, where "
            "its sign changes: give a smooth event function that crosses zero at an angle",
            t=float(end),
        )
    t = end - (value / slope).to(end)
    return t, y + dy * (t - end).to(device=y.device, dtype=y.dtype.to_real()), False


class _NoGradient(Function):
    """A time that may be used and has no gradient. y: anything that wants one if y does."""

    @staticmethod
    def forward(ctx: Context, t: Tensor, y: Tensor, seconds: float) -> Tensor:
        ctx.t = seconds
        ctx.set_materialize_grads(False)
        return t.clone()

    @staticmethod
    def backward(ctx: Context, gt: Tensor | None) -> tuple[None, None, None]:
        if gt is None:
            return None, None, None
        raise SolverError(
            "bad_input",
            f"the event's value jumps to 0 at a last time, t = {ctx.t:g}, which has no gradient: "
            "detach the time, or give an event function that crosses zero at an angle",
            t=ctx.t,
        )


def _rate_of_change(
    g: Callable[[Tensor, Tensor], Tensor], index: int, t: Tensor, y: Tensor, dy: Tensor
) -> float:
    """dg/dt along the solution; 0 where g depends on neither t nor y for autograd."""
    with torch.enable_grad():
        t_, y_ = t.detach().requires_grad_(), y.detach().requires_grad_()
        value = g(t_, y_)[index]
        if not value.requires_grad:
            return 0.0
        g_t, g_y = torch.autograd.grad(value, (t_, y_), allow_unused=True, materialize_grads=True)
    return float(g_t + torch.sum((g_y.conj() * dy).real))
