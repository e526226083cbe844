"""`odeint`: initial value problems dy/dt = f(t, y), y(t0) = y0."""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor

from node_repro.ode.field import VectorField, trained_parameters, untrained_parameters
from node_repro.ode.gradients import GradientMethod, Problem
from node_repro.ode.norm import Norm
from node_repro.ode.solution import Solution, SolverError
from node_repro.ode.solver import Solver, check_choices, refuse_unused_norm
from node_repro.ode.state import Layout, Packed, TupleField
from node_repro.ode.transforms import refuse_vmap


@overload
def odeint(
    f: VectorField,
    y0: Tensor,
    ts: Tensor,
    *,
    solver: Solver,
    gradient: GradientMethod,
    parameters: Iterable[Tensor] | None = None,
    frozen: Iterable[Tensor] = (),
    norm: Norm | None = None,
) -> Solution[Tensor]: ...


@overload
def odeint(
    f: TupleField,
    y0: tuple[Tensor, ...],
    ts: Tensor,
    *,
    solver: Solver,
    gradient: GradientMethod,
    parameters: Iterable[Tensor] | None = None,
    frozen: Iterable[Tensor] = (),
    norm: Norm | None = None,
) -> Solution[tuple[Tensor, ...]]: ...


def odeint(
    f: Any,
    y0: Tensor | tuple[Tensor, ...],
    ts: Tensor,
    *,
    solver: Solver,
    gradient: GradientMethod,
    parameters: Iterable[Tensor] | None = None,
    frozen: Iterable[Tensor] = (),
    norm: Norm | None = None,
):
    """Solve dy/dt = f(t, y), y(ts[0]) = y0, for the states at the times ts.

    States between two steps are dense output. Its order is the method's dense_order, which is below
    the order of the steps for dopri8 and rk4. There are no default tolerances.

    Args:
        f: The vector field, f(t, y) -> dy/dt, with t a scalar in the real dtype of y.
        y0: The initial state, (*S), floating point, real or complex. Or a tuple of such tensors, of
            one dtype and device, for f(t, (y1, y2, ...)) -> (dy1, dy2, ...).
        ts: The times, (T,), rising or falling, floating point. Times may repeat, and may require a
            gradient.
        solver: A method with its step sizes and tolerances, such as dopri5(rtol=1e-6, atol=1e-6).
        gradient: How the result is differentiated: Direct(), Checkpointed(), Reversible(),
            Adjoint() or Forward().
        parameters: The tensors besides t and y that f depends on and that get a gradient. None
            takes the parameters of f where f is a module. Direct checks that f uses no others.
        frozen: Tensors that f depends on and that get no gradient, except by Direct.
        norm: Measures the error of a step. None is the largest of the root mean squares of the
            parts of the state.

    Returns:
        The solution: ys, the states at ts, (T, *S) or a tuple of such, and stats, the cost.

    Raises:
        SolverError: An argument is invalid (kind bad_input), or the solve failed.

    References:
        Chen, Rubanova, Bettencourt, Duvenaud: Neural ordinary differential equations, 2018.

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> rate = torch.tensor(2.0, requires_grad=True)
        >>> solution = ode.odeint(
        ...     lambda t, y: -rate * y,
        ...     torch.ones(3),
        ...     torch.tensor([0.0, 0.5, 1.0]),
        ...     solver=ode.dopri5(rtol=1e-5, atol=1e-5),
        ...     gradient=ode.Adjoint(),
        ...     parameters=[rate],
        ... )
        >>> solution.ys.shape
        torch.Size([3, 3])
        >>> solution.ys[-1].sum().backward()
        >>> torch.allclose(rate.grad, -3 * torch.exp(torch.tensor(-2.0)), rtol=1e-3)
        True
    """
    check_choices(solver=solver, gradient=gradient)
    refuse_unused_norm(norm, solver)
    problem, unpack = packed_problem(f, y0, ts, parameters, frozen, norm)
    with refuse_vmap():
        ys, stats = gradient.solve(problem, solver)
    return Solution(unpack(ys), stats)


def packed_problem(
    f: Any,  # noqa: ANN401
    y0: Tensor | tuple[Tensor, ...],
    ts: Tensor,
    parameters: Iterable[Tensor] | None,
    frozen: Iterable[Tensor],
    norm: Norm | None,
) -> tuple[Problem, Callable[[Tensor], Any]]:
    """The problem with y0 as one tensor, and the function that converts states to the form of y0.

    Raises:
        SolverError: An argument is invalid (kind bad_input).
    """
    trained = trained_parameters(f) if parameters is None else tuple(parameters)
    constants = (*frozen, *(untrained_parameters(f) if parameters is None else ()))
    if not isinstance(y0, tuple):
        times = checked_times(y0, ts)
        problem = Problem(f, y0, times, trained, (), constants, norm, parameters is not None)
        return problem, lambda ys: ys
    layout = Layout.from_parts(y0)
    y = layout.pack(y0)
    times = checked_times(y, ts)
    field, explicit = Packed(f, layout), parameters is not None
    problem = Problem(field, y, times, trained, layout.sizes, constants, norm, explicit)
    return problem, layout.unpack


def time_span(t0: float | Tensor, t1: float | Tensor) -> Tensor:
    """The times t0 and t1 as one tensor, (2,) float64 on the host, differentiable in both.

    Raises:
        SolverError: A time is not finite (kind bad_input).
    """
    ends = (torch.as_tensor(t, dtype=torch.float64).cpu().reshape(()) for t in (t0, t1))
    ts = torch.stack(tuple(ends))
    if not torch.isfinite(ts).all():
        a, b = ts.tolist()
        raise SolverError("bad_input", f"cannot solve from {a:g} to {b:g}: give finite times")
    return ts


def checked_times(y0: Tensor, ts: Tensor) -> Tensor:
    """The times as float64 on the host.

    Raises:
        SolverError: y0 or ts is not valid, or autocast is on around the solve (kind bad_input).
    """
    for name, value in (("y0", y0), ("ts", ts)):
        if not isinstance(value, Tensor):
            raise SolverError("bad_input", f"{name} must be a tensor, not {type(value).__name__}")
    if y0.dtype not in (torch.float32, torch.float64, torch.complex64, torch.complex128):
        raise SolverError(
            "bad_input",
            f"y0 is {y0.dtype}; a state is float32, float64, complex64 or complex128: convert it",
        )
    if not ts.dtype.is_floating_point:
        raise SolverError("bad_input", f"ts is {ts.dtype}; times are floating point: convert them")
    if ts.dim() != 1 or len(ts) == 0:
        raise SolverError(
            "bad_input", f"ts must be a vector of at least one time, not of shape {tuple(ts.shape)}"
        )
    times = ts.to(device="cpu", dtype=torch.float64)
    seconds = times.detach()
    if not torch.isfinite(seconds).all():
        raise SolverError("bad_input", "ts must hold finite times")
    steps = torch.diff(seconds)
    sign = 1.0 if float(seconds[-1]) >= float(seconds[0]) else -1.0
    wrong = torch.nonzero(steps * sign < 0)
    if len(wrong):
        i = int(wrong[0])
        raise SolverError(
            "bad_input",
            f"ts must be sorted, rising or falling: ts[{i}] = {float(seconds[i]):g} and "
            f"ts[{i + 1}] = {float(seconds[i + 1]):g} are in the other order",
        )
    kind = y0.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        raise SolverError(
            "bad_input",
            "autocast is on around the solve, and its rounding would count as an error of the "
            "steps: disable it with torch.autocast(..., enabled=False), or use autocast inside f",
        )
    return times
