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

from node_repro.ode.engines import Leg
from node_repro.ode.field import Plain, VectorField, evaluate, trained_parameters
from node_repro.ode.gradients import Context, GradientMethod, Problem
from node_repro.ode.methods import Method, State, at
from node_repro.ode.norm import Norm
from node_repro.ode.odeint import checked, span
from node_repro.ode.solution import SolverError, Stats
from node_repro.ode.solver import RungeKutta
from node_repro.ode.state import Layout, Packed, TupleField

Y = TypeVar("Y")
Event = Callable[[Tensor, Any], Tensor]
"""g(t, y), of any shape: every element is an event of its own, and the first one ends the solve."""

ASIDE = 1e-4  # where in a step the sign is looked for if g begins as zero
ROUNDS = 120
FURTHEST = 0.01  # of a step: a Newton step beyond it follows a slope that means nothing
NARROW = 1e-12  # of a step: the Newton step does the rest


class EventSolution(NamedTuple, Generic[Y]):
    """t: when it happened, a float64 scalar on the host; y: the state then; index: which element of
    g, flattened, or None where nothing happened up to the limit, which t and y then are of.
    """

    t: Tensor
    y: Y
    index: int | None
    stats: Stats


@overload
def odeint_event(
    f: VectorField,
    y0: Tensor,
    t0: float | Tensor,
    event: Event,
    *,
    solver: RungeKutta,
    gradient: GradientMethod,
    limit: float,
    direction: int = 0,
    parameters: Iterable[Tensor] | None = None,
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
    limit: float,
    direction: int = 0,
    parameters: Iterable[Tensor] | None = None,
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
    limit: float,
    direction: int = 0,
    parameters: Iterable[Tensor] | None = None,
    norm: Norm | None = None,
) -> Any:
    """Solves from t0 until the event, at the latest to the limit (before t0: backwards).

    direction: 1 for signs that rise along the way, -1 for those that fall, 0 for both. t and y are
    differentiable in y0, t0, f's parameters and the event's own. Two changes of sign within one
    step cancel: a controller with max_step keeps them apart.

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
    layout = Layout.of(y0) if isinstance(y0, tuple) else None
    given = trained_parameters(f) if parameters is None else tuple(parameters)
    y: Any = layout.pack(y0) if layout and isinstance(y0, tuple) else y0
    shaped = layout.unpack if layout else lambda state: state
    field = Packed(f, layout) if layout else f
    ts = checked(y, span(t0, limit))
    parts = layout.sizes if layout else ()

    def g(t: Tensor, state: Tensor) -> Tensor:
        return _checked_value(event(t, shaped(state)), t)

    problem = Problem(field, y, ts, given, parts, norm)
    with torch.no_grad():
        crossing = _Crossing(g, solver.method, float(ts[0]), y, direction)
        quiet = replace(solver, callbacks=None)  # the steps that count are those of the solution
        located = quiet.solve(
            Plain(field), State(y), ts.detach(), norm=problem.norm, watch=crossing
        )
    end = torch.tensor(ts[1].item() if crossing.t is None else crossing.t, dtype=torch.float64)
    ys, stats = gradient.solve(problem._replace(ts=torch.stack((ts[0], end))), solver)
    stats.nfe += located.stats.nfe
    if crossing.index is None:
        return EventSolution(end, shaped(ys[-1]), None, stats)
    t, state = _FirstDerivatives.apply(  # type: ignore[misc]
        *_corrected(field, g, crossing, end, ys[-1])
    )
    stats.nfe += 1
    return EventSolution(t, shaped(state), crossing.index, stats)


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
        return t.clone(), y.clone()

    @staticmethod
    def backward(ctx: Context, gt: Tensor, gy: Tensor) -> tuple[Tensor, Tensor]:
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
        x, self.index = min((self._root(leg, i), i) for i in crossed)
        self.h = float(leg.t1 - leg.t)
        self.t = float(leg.t) + x * self.h
        return True

    def _inside(self, leg: Leg, x: float) -> Tensor:
        """g at the fraction x of a step."""
        h = leg.t1 - leg.t
        y = self.method.interpolate(
            leg.y, h, leg.step.stages, torch.tensor([x], dtype=torch.float64)
        )[0]
        return self.g(at(leg.t + x * h, y), y)

    def _root(self, leg: Leg, index: int) -> float:
        """Where in the step an element is zero: regula falsi, damped as in the Illinois method, and
        a bisection every third time, for functions that are flat at their zero.
        """
        low, high = 0.0, 1.0
        at_low, at_high = (
            float(self._inside(leg, low)[index]),
            float(self._inside(leg, high)[index]),
        )
        if at_low * at_high > 0:  # it began as zero
            low, at_low = ASIDE, float(self._inside(leg, ASIDE)[index])
        for i in range(ROUNDS):
            if at_high == 0.0 or high - low < NARROW:
                break
            x = high - at_high * (high - low) / (at_high - at_low)
            if i % 3 == 2 or not low < x < high:
                x = (low + high) / 2
            value = float(self._inside(leg, x)[index])
            if value * at_low <= 0:
                high, at_high, at_low = x, value, at_low / 2
            else:
                low, at_low, at_high = x, value, at_high / 2
        return high


def _corrected(
    f: VectorField,
    g: Callable[[Tensor, Tensor], Tensor],
    crossing: _Crossing,
    end: Tensor,
    y: Tensor,
) -> tuple[Tensor, Tensor]:
    """t and y at the event, by one Newton step from the time `end` and the state y there.

    Where the event's value has no reliable rate of change, the time that was found stands, unless a
    gradient is wanted.
    """
    assert crossing.index is not None
    with torch.no_grad():
        dy = evaluate(f, at(end, y), y).detach()
    slope = _rate_of_change(g, crossing.index, at(end, y), y, dy)
    value = g(at(end, y), y)[crossing.index]
    moved = math.inf if slope == 0.0 else abs(float(value.detach()) / slope)
    if not moved <= FURTHEST * abs(crossing.h):
        if not (torch.is_grad_enabled() and (value.requires_grad or y.requires_grad)):
            return end, y
        raise SolverError(
            "bad_input",
            f"the event's value has the rate of change {slope:.3g} at t = {float(end):g}, where "
            "its sign changes: give a smooth event function that crosses zero at an angle",
            t=float(end),
        )
    t = end - (value / slope).to(end)
    return t, y + dy * (t - end).to(device=y.device, dtype=y.dtype.to_real())


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
