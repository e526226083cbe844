"""The functions: what is asked for in their words, solved by ours."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from node_repro.ode.drop_in.options import (
    Given,
    State,
    Task,
    adjoint_norm,
    kind_of,
    refused,
    same,
    scheme_back,
    scheme_of,
    tolerance_of,
)
from node_repro.ode.drop_in.pieces import Plan, each, until, whole
from node_repro.ode.field import trained_parameters
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.gradients.direct import Direct
from node_repro.ode.methods import at
from node_repro.ode.odeint import checked
from node_repro.ode.state import Layout

Func = Callable[..., Any]
EventFunc = Callable[..., Tensor]
CALLBACKS = ("callback_step", "callback_accept_step", "callback_reject_step")


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
    """The states at the times t, (T, *S), or a tuple of such; gradients go through the solver.

    With event_fn: (event_t, the states at t[0] and then), where t[1] only says which way to look.
    Raises SolverError.
    """
    task = _task(func, y0, t)
    scheme = scheme_of(task, method, options, rtol, atol)
    gradient = Direct()
    if not scheme.solver.differentiable:
        _refuse_gradients(task, method)
        gradient = Adjoint()
    return _solved(Plan(task, func, scheme, gradient, ()), event_fn)


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
    adjoint_rtol: float | None = None,
    adjoint_atol: float | None = None,
    adjoint_method: str | None = None,
    adjoint_options: dict[str, Any] | None = None,
    adjoint_params: Iterable[Tensor] | None = None,
) -> Any:  # noqa: ANN401
    """As odeint, with gradients by the adjoint method, of y0, t and adjoint_params: func's own
    parameters unless given, and nothing else gets one. Raises SolverError.
    """
    task = _task(func, y0, t)
    scheme = scheme_of(task, method, options, rtol, atol)
    used, parameters = _declared(func, adjoint_params)
    back, norm = adjoint_norm(adjoint_options, options)
    rtol_back = _one("adjoint_rtol", adjoint_rtol, y0)
    atol_back = _one("adjoint_atol", adjoint_atol, y0)
    other = adjoint_method not in (None, method)
    if other and options and adjoint_options is None:
        raise refused(
            f"options are those of method={method!r}: give adjoint_options for "
            f"adjoint_method={adjoint_method!r}, empty if there are none"
        )
    if other or not same(back, options):
        name = adjoint_method or method
        rtol = rtol if rtol_back is None else rtol_back
        atol = atol if atol_back is None else atol_back
        scheme, solver = scheme_back(task, scheme, name, back, options, rtol, atol)
        gradient = Adjoint(norm, solver)
    else:
        if kind_of(method or "dopri5") == "fixed":  # there as here they keep to no tolerance
            rtol_back = atol_back = None
        gradient = Adjoint(norm, None, rtol_back, atol_back)
    return _solved(Plan(task, used, scheme, gradient, parameters), event_fn)


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
    """(event_t, the states at t0 and then), with the gradient of the event's time. kwargs are those
    of odeint_interface. Raises SolverError.
    """
    start = t0.reshape(-1)
    t = torch.cat((start, start.detach() + (-1.0 if reverse_time else 1.0)))
    moving = _Moving(event_fn)
    found = odeint_interface(func, y0, t, event_fn=moving, **kwargs)
    if not moving.met:
        raise refused(
            "odeint_interface must lead to odeint or odeint_adjoint of node_repro.ode.drop_in: "
            "import those there"
        )
    return found


class _Moving:
    """An event function whose time's gradient is wanted. met: whether our functions saw it."""

    def __init__(self, event_fn: EventFunc) -> None:
        self.event_fn, self.met = event_fn, False

    def __call__(self, t: Tensor, y: Any) -> Tensor:  # noqa: ANN401
        return self.event_fn(t, y)


def _solved(plan: Plan, event_fn: EventFunc | None) -> Any:  # noqa: ANN401
    if event_fn is None:
        return whole(plan)
    y0 = plan.task.y0
    event_t, y = until(plan, event_fn)
    if isinstance(event_fn, _Moving):
        event_fn.met = True
    elif event_t.requires_grad:  # the state at a fixed time: without f times the time's own change
        still = event_t.detach()
        with torch.no_grad():
            dy = plan.func(at(still, y[0] if isinstance(y, tuple) else y), y)
        y = each(lambda p, dp: p - dp * (event_t - still).to(dp.real), y, dy)
        event_t = still
    return event_t.to(plan.task.t), each(lambda *ends: torch.stack(ends), y0, y)


def _task(func: Func, y0: State, t: Tensor) -> Task:
    """Raises SolverError (bad_input) for what no method could solve."""
    if isinstance(y0, tuple):
        Layout.of(y0)
    elif not isinstance(y0, Tensor):
        raise refused(f"y0 must be a tensor or a tuple of tensors, not {type(y0).__name__}")
    for name in CALLBACKS:
        if any(callable(getattr(func, key, None)) for key in (name, f"{name}_adjoint")):
            raise refused(
                f"func.{name} would not be called: count in func itself, or read the stats that "
                "node_repro.ode.odeint returns"
            )
    return Task(func, y0, t, checked(y0[0] if isinstance(y0, tuple) else y0, t))


def _refuse_gradients(task: Task, method: str | None) -> None:
    states = task.y0 if isinstance(task.y0, tuple) else (task.y0,)
    known = (*states, task.t, *(trained_parameters(task.func) or ()))
    if torch.is_grad_enabled() and any(x.requires_grad for x in known):
        raise refused(
            f"gradients do not go through method={method!r}: take odeint_adjoint, or solve under "
            "torch.no_grad()"
        )


def _declared(
    func: Func, adjoint_params: Iterable[Tensor] | None
) -> tuple[Func, tuple[Tensor, ...]]:
    """The tensors that get a gradient, and func with no others."""
    if adjoint_params is None:
        if not isinstance(func, nn.Module):
            raise refused(
                "odeint_adjoint must know what func depends on: make it an nn.Module, or give "
                "adjoint_params, () if there are none"
            )
        return func, trained_parameters(func) or ()
    chosen = tuple(p for p in adjoint_params if p.requires_grad)
    if not isinstance(func, nn.Module):
        return func, chosen
    listed, module = {id(p) for p in chosen}, func
    rest = {
        name: p.detach()
        for name, p in func.named_parameters()
        if p.requires_grad and id(p) not in listed
    }
    if not rest:
        return func, chosen
    return lambda t, y: functional_call(module, rest, (t, y)), chosen


def _one(name: str, value: float | None, y0: State) -> float | None:
    """A tolerance of the backward solve."""
    if value is None:
        return None
    found = tolerance_of(value, y0, least=name == "adjoint_rtol")
    if isinstance(found, Tensor):
        raise refused(f"{name} must be one number, as the backward state has parts of its own")
    return found
