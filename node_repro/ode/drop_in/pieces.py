"""Piecewise solves, split at given times, with gradients through all pieces."""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from node_repro.ode.drop_in.options import Scheme, State, Task, bad_input
from node_repro.ode.event import odeint_event
from node_repro.ode.field import Wrapper
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.methods import at
from node_repro.ode.norm import Norm
from node_repro.ode.odeint import odeint
from node_repro.ode.solution import SolverError
from node_repro.ode.solver import RungeKutta

FURTHER = 10.0  # the factor by which the search for an event is extended
FURTHEST = 1e9  # the largest extension, relative to the first interval


class Plan(NamedTuple):
    """A task and how to solve it.

    Attributes:
        task: The problem.
        scheme: The solver, and the times at which pieces meet.
        norm: Measures the error of a step.
        gradient: How the result is differentiated.
        parameters: The tensors that get a gradient.
        frozen: Tensors that func depends on and that get no gradient.
    """

    task: Task
    scheme: Scheme
    norm: Norm | None
    gradient: GradientMethod
    parameters: tuple[Tensor, ...] | None
    frozen: tuple[Tensor, ...] = ()


def each(function: Callable[..., Tensor], *states: Any) -> Any:  # noqa: ANN401
    """Apply a function to tensors, or to the corresponding parts of tuples."""
    if isinstance(states[0], Tensor):
        return function(*states)
    return tuple(function(*parts) for parts in zip(*states, strict=True))


def whole(plan: Plan) -> Any:  # noqa: ANN401
    """The states at all times: (T, *S), or a tuple of such."""
    (_, y, _, times), scheme = plan.task, plan.scheme
    seconds = times.tolist()
    sign = math.copysign(1.0, seconds[-1] - seconds[0])
    order = [sign * time for time in seconds]
    cuts = _ahead(scheme.cuts, order[0], order[-1], sign)
    if not cuts and not scheme.sided:
        return _solve(plan, plan.task.func, y, times)
    pieces = [each(lambda part: part.unsqueeze(0), y)]
    start, seen = times[:1], 1
    for end in (*cuts, times[-1]):
        passed = bisect_right(order, sign * end.item())
        inside = times[seen:passed]
        reached = passed > seen and seconds[passed - 1] == end.item()
        ts = torch.cat((start, inside) if reached else (start, inside, end.reshape(1)))
        ys = _solve(plan, _field(plan, ts), y, ts)
        upto = 1 + len(inside)
        pieces.append(each(lambda part, upto=upto: part[1:upto], ys))
        y = each(lambda part: part[-1], ys)
        start, seen = ts[-1:], passed
    return each(lambda *parts: torch.cat(parts), *pieces)


def until(plan: Plan, event_fn: Callable[..., Tensor]) -> tuple[Tensor, Any, bool]:
    """Solve until event_fn changes its sign; a value of 0 at the start is the event.

    The search starts with the interval up to t[1], and is extended beyond it.

    Returns:
        The time and state of the event, and whether event_fn jumps to 0 there, so that the time has
        no gradient.

    Raises:
        SolverError: The method finds no events, or there is none (kind bad_input).
    """
    (_, y, _, times), scheme = plan.task, plan.scheme
    if len(times) != 2 or times[0] == times[1]:
        raise bad_input(f"with event_fn, t must hold two different times, not {times.tolist()}")
    if scheme.gridded:
        raise bad_input("events of a method of fixed steps need the option step_size")
    if not isinstance(scheme.solver, RungeKutta):
        raise bad_input("method='scipy_solver' finds no events: use another method")
    t, reach = times[0], (times[1] - times[0]).item()
    sign = math.copysign(1.0, reach)
    with torch.no_grad():
        first = y[0] if isinstance(y, tuple) else y
        if (event_fn(at(t.item(), first), y) == 0).any():
            return t.detach(), y, False
    cuts = _ahead(scheme.cuts, sign * t.item(), math.inf, sign)
    most = abs(reach) * FURTHEST
    while abs(reach) <= most:
        end = t.item() + reach
        cut = bool(cuts) and sign * cuts[0].item() <= sign * end
        limit = cuts[0].item() if cut else end
        try:
            found = odeint_event(
                _field(plan, torch.tensor((t.item(), limit), dtype=torch.float64)),
                y,
                t,
                event_fn,
                solver=scheme.solver,
                gradient=plan.gradient,
                limit=limit,
                parameters=plan.parameters,
                frozen=plan.frozen,
                norm=plan.norm,
            )
        except SolverError as error:
            error.add_note(f"event_fn had not changed its sign up to t = {t.item():g}")
            raise
        t, y = found.t, found.y
        if found.index is not None:
            return t, y, found.fixed
        if cut:
            cuts = cuts[1:]
        else:
            reach *= FURTHER
    raise bad_input(f"event_fn does not change its sign up to t = {t.item():g}: there is no event")


def _solve(plan: Plan, f: Callable[..., Any], y: State, ts: Tensor) -> Any:  # noqa: ANN401
    return odeint(
        f,
        y,
        ts,
        solver=plan.scheme.solver,
        gradient=plan.gradient,
        parameters=plan.parameters,
        frozen=plan.frozen,
        norm=plan.norm,
    ).ys


def _ahead(cuts: Tensor, after: float, before: float, sign: float) -> Sequence[Tensor]:
    """The distinct cuts between two times, in the order of the solve."""
    found = {sign * cut.item(): cut for cut in cuts}
    return [found[time] for time in sorted(found) if after < time < before]


def _field(plan: Plan, ts: Tensor) -> Callable[..., Any]:
    f = plan.task.func
    return _Sided(f, ts) if plan.scheme.sided else f


class _Sided(Wrapper):
    """f, evaluated strictly within a piece: on the inner side of a jump at its end."""

    def __init__(self, f: Callable[..., Any], ts: Tensor) -> None:
        self.f = f
        self.low, self.high = sorted((ts[0].item(), ts[-1].item()))

    def __call__(self, t: Tensor, y: Any) -> Any:  # noqa: ANN401
        low, high = (torch.full_like(t.detach(), end) for end in (self.low, self.high))
        inner = t.detach().clamp(torch.nextafter(low, high), torch.nextafter(high, low))
        return self.f(t + (inner - t.detach()), y)
