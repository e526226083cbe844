"""torchdiffeq's functions: odeint, odeint_adjoint, odeint_event, odeint_dense."""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from node_repro.ode.dense import odeint_dense as dense
from node_repro.ode.drop_in.adjoint import make_adjoint
from node_repro.ode.drop_in.callbacks import forward_callbacks
from node_repro.ode.drop_in.methods import checked_method
from node_repro.ode.drop_in.norms import forward_norm, state_norm
from node_repro.ode.drop_in.options import State, Task, bad_input, make_request, make_scheme
from node_repro.ode.drop_in.pieces import Plan, each, until, whole
from node_repro.ode.drop_in.tolerances import Given
from node_repro.ode.field import trained_parameters
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.gradients.direct import Direct
from node_repro.ode.methods import at
from node_repro.ode.odeint import checked_times, time_span
from node_repro.ode.solver import RungeKutta
from node_repro.ode.state import Layout

Func = Callable[..., Any]
EventFunc = Callable[..., Tensor]


def odeint(
    func: Func,
    y0: State,
    t: Tensor,
    *,
    rtol: Given = 1e-7,
    atol: Given = 1e-9,
    method: str | None = None,
    options: dict[str, Any] | None = None,
    event_fn: EventFunc | None = None,
) -> Any:  # noqa: ANN401
    """Solve dy/dt = func(t, y) from y(t[0]) = y0; gradients go through the solver's steps.

    Args:
        func: Takes t, a scalar in y's dtype, and y, and returns dy/dt, shaped as y.
        y0: The state at t[0], (*S), or a tuple of tensors; (*S): any shape.
        t: The times at which the states are wanted, (T,), rising or falling.
        rtol: Relative tolerance: a number, one for every element, or one entry per part of a tuple.
        atol: Absolute tolerance, in the same forms.
        method: A name of torchdiffeq's; None for dopri5.
        options: Options of the method, by torchdiffeq's names.
        event_fn: Takes t and y, and returns a tensor. The solve ends where an element of it changes
            its sign; t then holds two times, the second of which gives the direction only.

    Returns:
        The states, (T, *S), or a tuple of such. With event_fn: the time of the event, and the
        states at t[0] and at the event, (2, *S).

    Raises:
        SolverError: An argument is invalid (kind bad_input), or the solve failed.
    """
    task, name = _task(func, y0, t), checked_method(method)
    norm = forward_norm(name, state_norm(options, y0))
    callbacks = forward_callbacks(func, name, y0)
    request = make_request(y0, name, options, rtol, atol, callbacks)
    scheme = make_scheme(task, request, stepwise=True, until=event_fn is not None)
    if scheme.solver.differentiable:
        return _solved(Plan(task, scheme, norm, Direct(), None), event_fn)
    _warn_about_gradients(task, name)
    with torch.no_grad():
        return _solved(Plan(task, scheme, norm, Adjoint(), ()), event_fn)


def odeint_adjoint(
    func: Func,
    y0: State,
    t: Tensor,
    *,
    rtol: Given = 1e-7,
    atol: Given = 1e-9,
    method: str | None = None,
    options: dict[str, Any] | None = None,
    event_fn: EventFunc | None = None,
    adjoint_rtol: Given | None = None,
    adjoint_atol: Given | None = None,
    adjoint_method: str | None = None,
    adjoint_options: dict[str, Any] | None = None,
    adjoint_params: Iterable[Tensor] | None = None,
) -> Any:  # noqa: ANN401
    """As odeint, with gradients by the adjoint method, with respect to y0, t and adjoint_params.

    Args:
        func: As in odeint.
        y0: As in odeint.
        t: As in odeint.
        rtol: As in odeint.
        atol: As in odeint.
        method: As in odeint.
        options: As in odeint.
        event_fn: As in odeint.
        adjoint_rtol: Relative tolerance of the backward solve: a number, or one entry each for the
            time's gradient, the state, its adjoint and every parameter's gradient; None for rtol.
        adjoint_atol: Its absolute tolerance, in the same forms; None for atol.
        adjoint_method: Method of the backward solve; None for method.
        adjoint_options: Options of the backward solve; None for options without the norm.
        adjoint_params: Tensors that get a gradient in addition to y0 and t; None for the parameters
            of func, which must then be a module.

    Returns:
        As odeint.

    Raises:
        SolverError: An argument is invalid (kind bad_input), or the forward solve failed, or, in
            the backward pass, the backward solve.
    """
    task, name = _task(func, y0, t), checked_method(method)
    parameters, frozen = _declared(func, adjoint_params)
    of_state = state_norm(options, y0)
    callbacks = forward_callbacks(func, name, y0)
    ahead = make_request(y0, name, options, rtol, atol, callbacks)
    other = checked_method(name if adjoint_method is None else adjoint_method)
    if other != name and options is not None and adjoint_options is None:
        raise bad_input(
            f"options are those of method={name!r}: give adjoint_options for "
            f"adjoint_method={other!r}, empty if there are none"
        )
    gradient = make_adjoint(
        task, ahead, other, adjoint_options, adjoint_rtol, adjoint_atol, of_state, parameters
    )
    scheme = make_scheme(task, ahead, until=event_fn is not None)
    plan = Plan(task, scheme, forward_norm(name, of_state), gradient, parameters, frozen)
    return _solved(plan, event_fn)


def odeint_event(
    func: Func,
    y0: State,
    t0: Tensor,
    *,
    event_fn: EventFunc,
    reverse_time: bool = False,
    odeint_interface: Callable[..., Any] = odeint,
    **kwargs: Any,
) -> Any:  # noqa: ANN401
    """Solve until an event, with gradients of its time and state.

    Args:
        func: As in odeint.
        y0: As in odeint.
        t0: The first time, a tensor of one element.
        event_fn: As in odeint.
        reverse_time: Whether to solve backwards in time.
        odeint_interface: odeint or odeint_adjoint, or a function that calls one of them.
        **kwargs: Its further arguments.

    Returns:
        The time of the event, and the states at t0 and at the event, (2, *S), or a tuple of such.

    Raises:
        SolverError: As odeint; or there is no event (kind bad_input).
    """
    start = t0.reshape(-1)
    t = torch.cat((start, start.detach() + (-1.0 if reverse_time else 1.0)))
    moving = _Moving(event_fn)
    found = odeint_interface(func, y0, t, event_fn=moving, **kwargs)
    if not moving.called:
        raise bad_input(
            "odeint_interface must lead to odeint or odeint_adjoint of node_repro.ode.drop_in: "
            "import them from there"
        )
    return found


def odeint_dense(
    func: Func,
    y0: State,
    t0: float | Tensor,
    t1: float | Tensor,
    *,
    rtol: Given = 1e-7,
    atol: Given = 1e-9,
    method: str | None = None,
    options: dict[str, Any] | None = None,
) -> Any:  # noqa: ANN401
    """The solution from t0 to t1 as a function of time.

    Args:
        func: As in odeint.
        y0: As in odeint, the state at t0.
        t0: The first time.
        t1: The last time; it may lie before t0.
        rtol: As in odeint.
        atol: As in odeint.
        method: As in odeint, except scipy_solver.
        options: As in odeint, except step_t, jump_t and grid_constructor.

    Returns:
        A node_repro.ode.DenseSolution: called with times between t0 and t1, it gives the states.

    Raises:
        SolverError: As odeint.
    """
    task, name = _task(func, y0, time_span(t0, t1)), checked_method(method)
    callbacks = forward_callbacks(func, name, y0)
    request = make_request(y0, name, options, rtol, atol, callbacks)
    scheme = make_scheme(task, request, stepwise=True)
    if not isinstance(scheme.solver, RungeKutta):
        raise bad_input(f"method={name!r} has no dense output here: use another method")
    if len(scheme.cuts):
        raise bad_input(
            "odeint_dense takes no step_t, jump_t or grid_constructor: leave them out, or solve "
            "the pieces between these times one by one"
        )
    norm = forward_norm(name, state_norm(options, y0))
    return dense(func, y0, t0, t1, solver=scheme.solver, norm=norm)


class _Moving:
    """An event function whose time gets a gradient. called: whether this module called it."""

    def __init__(self, event_fn: EventFunc) -> None:
        self.event_fn, self.called = event_fn, False

    def __call__(self, t: Tensor, y: Any) -> Tensor:  # noqa: ANN401
        return self.event_fn(t, y)


def _solved(plan: Plan, event_fn: EventFunc | None) -> Any:  # noqa: ANN401
    if event_fn is None:
        return whole(plan)
    y0 = plan.task.y0
    event_t, y, fixed = until(plan, event_fn)
    if isinstance(event_fn, _Moving):
        event_fn.called = True
    elif event_t.requires_grad and not fixed:
        # the state at a fixed time: without the change of the time, times f
        still = event_t.detach()
        with torch.no_grad():
            dy = plan.task.func(at(still, y[0] if isinstance(y, tuple) else y), y)
        y = each(lambda p, dp: p - dp * (event_t - still).to(dp.real), y, dy)
        if isinstance(plan.gradient, Direct):  # as in torchdiffeq; the adjoint's has a gradient
            event_t = still
    return event_t.to(plan.task.t), each(lambda *ends: torch.stack(ends), y0, y)


def _task(func: Func, y0: State, t: Tensor) -> Task:
    """The task. Raises SolverError (bad_input) for arguments that no method accepts."""
    if isinstance(y0, tuple):
        Layout.from_parts(y0)
    elif not isinstance(y0, Tensor):
        raise bad_input(f"y0 must be a tensor or a tuple of tensors, not {type(y0).__name__}")
    return Task(func, y0, t, checked_times(y0[0] if isinstance(y0, tuple) else y0, t))


def _warn_about_gradients(task: Task, method: str) -> None:
    states = task.y0 if isinstance(task.y0, tuple) else (task.y0,)
    known = (*states, task.t, *(trained_parameters(task.func) or ()))
    if torch.is_grad_enabled() and any(x.requires_grad for x in known):
        warnings.warn(
            f"odeint gives no gradients with method={method!r}: use odeint_adjoint for them, or "
            "solve under torch.no_grad()",
            stacklevel=3,
        )


def _declared(
    func: Func, adjoint_params: Iterable[Tensor] | None
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The tensors that get a gradient, and the other parameters of func."""
    trained = trained_parameters(func)
    if adjoint_params is None:
        if trained is None:
            raise bad_input(
                "odeint_adjoint requires the parameters of func: make it an nn.Module, or pass "
                "adjoint_params, () if there are none"
            )
        return trained, ()
    chosen = tuple(p for p in adjoint_params if p.requires_grad)
    listed = {id(p) for p in chosen}
    return chosen, tuple(p for p in trained or () if id(p) not in listed)
