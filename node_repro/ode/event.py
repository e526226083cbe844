"""`odeint_event`: solve until an event, with gradients of its time and state.

An event is a change of sign of g(t, y(t)). A first solve without gradients finds it on the dense
output of its steps (event_location); a second one ends at the time found, and is corrected by a
Newton step that has the derivatives of the event (event_derivative).
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Generic, NamedTuple, TypeVar, overload

import torch
from torch import Tensor

from node_repro.ode.engines import SolveOptions
from node_repro.ode.event_derivative import newton_step
from node_repro.ode.event_location import FirstSignChange
from node_repro.ode.field import Plain, VectorField
from node_repro.ode.gradients import GradientMethod, Problem
from node_repro.ode.methods import State
from node_repro.ode.norm import Norm
from node_repro.ode.odeint import packed_problem, time_span
from node_repro.ode.solution import SolverError, Stats
from node_repro.ode.solver import RungeKutta, check_choices, refuse_unused_norm
from node_repro.ode.state import TupleField
from node_repro.ode.transforms import refuse_vmap

Y = TypeVar("Y")
Event = Callable[[Tensor, Any], Tensor]
"""g(t, y), of any shape: every element is a separate event, and the first one ends the solve."""


class EventSolution(NamedTuple, Generic[Y]):
    """The end of a solve until an event, as returned by odeint_event.

    Attributes:
        t: The time of the event, a float64 scalar on the host; the limit if there was none.
        y: The state at t, (*S), or a tuple of such.
        index: Which element of the event function, flattened; None if there was no event.
        stats: The cost of the solve.
        fixed: Whether the event function jumped to 0 as a function of time alone, so that t has no
            gradient.

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> end = ode.odeint_event(
        ...     lambda t, y: -y,
        ...     torch.ones(2),
        ...     0.0,
        ...     lambda t, y: y - torch.tensor([0.5, 0.7]),
        ...     solver=ode.dopri5(rtol=1e-5, atol=1e-5),
        ...     gradient=ode.Direct(),
        ...     limit=10.0,
        ... )
        >>> end.index, end.y.shape, bool((end.t + torch.tensor(0.7).log()).abs() < 1e-4)
        (1, torch.Size([2]), True)
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
    """Solve dy/dt = f(t, y), y(t0) = y0, until an event, or up to a limit.

    The time and the state are differentiable in y0, t0, the parameters of f and those of the event
    function, once. Two changes of sign within one step are missed: limit the steps by the
    controller's max_step.

    Args:
        f: The vector field, as for odeint.
        y0: The initial state, (*S), or a tuple of such.
        t0: The initial time.
        event: g(t, y) -> real numbers of any shape. The first change of sign of an element ends the
            solve.
        solver: A Runge-Kutta solver.
        gradient: How the result is differentiated.
        limit: The time at which the solve ends if there is no event; before t0 for a solve
            backwards in time.
        direction: 1 for signs that rise along the solve, -1 for those that fall, 0 for both.
        parameters: As for odeint.
        frozen: As for odeint.
        norm: As for odeint.

    Returns:
        The time and state of the event, and which element of g changed its sign.

    Raises:
        SolverError: An argument is invalid, or the event's sign changes where its value has no rate
            of change (kind bad_input); or the solve failed.

    References:
        Chen, Amos, Nickel: Learning neural event functions, 2021.

    Examples:
        A ball falls from a height; the time at which it reaches the ground depends on the height:

        >>> import torch
        >>> from node_repro import ode
        >>> height = torch.tensor(5.0, requires_grad=True)
        >>> fall = lambda t, y: (y[1], torch.full_like(y[1], -10.0))
        >>> y0, options = (height, torch.tensor(0.0)), {"gradient": ode.Direct(), "limit": 100.0}
        >>> solver = ode.dopri5(rtol=1e-6, atol=1e-6)
        >>> end = ode.odeint_event(fall, y0, 0.0, lambda t, y: y[0], solver=solver, **options)
        >>> end.t.backward()
        >>> round(end.t.item(), 4), round(height.grad.item(), 4)
        (1.0, 0.1)
    """
    if direction not in (-1, 0, 1):
        raise SolverError("bad_input", f"direction must be -1, 0 or 1, not {direction}")
    check_choices(solver=solver, gradient=gradient)
    _refuse_hidden_steps(solver)
    refuse_unused_norm(norm, solver)
    problem, unpack = packed_problem(f, y0, time_span(t0, limit), parameters, frozen, norm)
    ts = problem.ts

    def g(t: Tensor, state: Tensor) -> Tensor:
        return _checked_value(event(t, unpack(state)), t)

    change, located = _first_change(problem, solver, g, direction)
    end = ts[1] if change.t is None else torch.tensor(change.t, dtype=torch.float64)
    ys, stats = gradient.solve(problem._replace(ts=torch.stack((ts[0], end))), solver)
    stats.nfe += located.nfe
    if change.index is None:
        return EventSolution(end, unpack(ys[-1]), None, stats)
    t, state, fixed = newton_step(problem.f, g, change, end, ys[-1])
    stats.nfe += 1
    return EventSolution(t, unpack(state), change.index, stats, fixed)


def _refuse_hidden_steps(solver: object) -> None:
    """Raises SolverError (bad_input) for a solver of scipy."""
    if not isinstance(solver, RungeKutta):
        raise SolverError(
            "bad_input",
            f"{type(solver).__name__} does not give access to its steps, in which events are "
            "located: use a Runge-Kutta method",
        )


def _first_change(
    problem: Problem,
    solver: RungeKutta,
    g: Callable[[Tensor, Tensor], Tensor],
    direction: int,
) -> tuple[FirstSignChange, Stats]:
    """Solve without gradients until g changes its sign, and return the cost too."""
    y, ts = problem.y0, problem.ts
    quiet = replace(solver, callbacks=None)  # callbacks are called in the second solve only
    with torch.no_grad(), refuse_vmap():
        change = FirstSignChange(g, solver.method, float(ts[0]), y, direction)
        options = SolveOptions(problem.norm, watch=change)
        found = quiet.solve(Plain(problem.f), State(y.detach()), ts.detach(), options)
    return change, found.stats


def _checked_value(value: Tensor, t: Tensor) -> Tensor:
    """The event's value as a vector. Raises SolverError (bad_input)."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise SolverError("bad_input", f"an event must return a tensor of real numbers, not {kind}")
    if not torch.isfinite(value).all():
        now = t.item()
        raise SolverError("bad_input", f"the event's value is not finite at t = {now:g}", t=now)
    return value.reshape(-1)
