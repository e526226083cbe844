"""The time and state of an event as differentiable tensors.

As g(t*, y(t*)) = 0 holds for all parameters, the implicit function theorem gives
dt*/d. = -(dg/dy dy/d.) / (dg/dt + dg/dy f) (Chen, Amos, Nickel 2021: Learning neural event
functions, eq. (8)). One Newton step on the solution, with the rate of change of g held fixed, has
this derivative and corrects the time at once.
"""

import math

import torch
from torch import Tensor
from torch.autograd import Function

from node_repro.ode.event_location import FirstSignChange, ScalarEvents
from node_repro.ode.field import VectorField, evaluate
from node_repro.ode.gradients.function import Context
from node_repro.ode.methods import at
from node_repro.ode.solution import SolverError

LARGEST_CORRECTION = 0.01  # largest reliable Newton correction, as a fraction of the step


def newton_step(
    f: VectorField, g: ScalarEvents, change: FirstSignChange, end: Tensor, y: Tensor
) -> tuple[Tensor, Tensor, bool]:
    """Time and state at an event, by one Newton step from the end of a solve close to it.

    An event whose value jumps to 0 as a function of time alone ends the solve at a fixed time: the
    state is that of a plain solve, and the time has no gradient.

    Args:
        f: The vector field.
        g: The event function.
        change: Where g changes its sign, with an index.
        end: The time at which the solve ended, () float64 on the host.
        y: The state there, (*S).

    Returns:
        The time, the state (*S), and whether the time is fixed. Both have first derivatives only.

    Raises:
        SolverError: A gradient is required, but g has no reliable rate of change (kind bad_input).
    """
    t, state, fixed = _corrected(f, g, change, end, y)
    t, state = _FirstDerivatives.apply(t, state)
    return t, state, fixed


def _corrected(
    f: VectorField, g: ScalarEvents, change: FirstSignChange, end: Tensor, y: Tensor
) -> tuple[Tensor, Tensor, bool]:
    assert change.index is not None
    with torch.no_grad():
        dy = evaluate(f, at(end, y), y).detach()
    # if g is constant after its zero, as relu(2 - t), use its rate of change before it
    for t in (end, torch.tensor(change.t_before, dtype=end.dtype)):
        rate = _rate_of_change(g, change.index, at(t, y), y, dy)
        value = g(at(t, y), y)[change.index]
        if rate != 0.0 or change.in_time_only:
            break
    if change.in_time_only:
        return _NoGradient.apply(end, y.sum(), float(end)), y, True
    correction = math.inf if rate == 0.0 else abs(float(value.detach()) / rate)
    if not correction <= LARGEST_CORRECTION * abs(change.h):
        if not (torch.is_grad_enabled() and (value.requires_grad or y.requires_grad)):
            return end, y, False
        raise SolverError(
            "bad_input",
            f"the event's value has the rate of change {rate:.3g} at t = {float(end):g}, where "
            "its sign changes: give a smooth event function that crosses zero at an angle",
            t=float(end),
        )
    t = end - (value / rate).to(end)
    return t, y + dy * (t - end).to(device=y.device, dtype=y.dtype.to_real()), False


def _rate_of_change(g: ScalarEvents, index: int, t: Tensor, y: Tensor, dy: Tensor) -> float:
    """dg/dt along the solution; 0 where autograd finds that g depends on neither t nor y."""
    with torch.enable_grad():
        t_, y_ = t.detach().requires_grad_(), y.detach().requires_grad_()
        value = g(t_, y_)[index]
        if not value.requires_grad:
            return 0.0
        g_t, g_y = torch.autograd.grad(value, (t_, y_), allow_unused=True, materialize_grads=True)
    return float(g_t + torch.sum((g_y.conj() * dy).real))


class _FirstDerivatives(Function):
    """The identity of t and y, with a backward pass that cannot be differentiated again."""

    @staticmethod
    def forward(ctx: Context, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)  # _NoGradient tests whether t's gradient is required
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


class _NoGradient(Function):
    """The identity of a time that has no gradient; y makes the result part of y's graph."""

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
            f"the event's value jumps to 0 at the fixed time t = {ctx.t:g}, which has no gradient: "
            "detach the time, or give an event function that crosses zero at an angle",
            t=ctx.t,
        )
