"""The function that solves an initial value problem: dy/dt = f(t, y), y(t0) = y0."""

from collections.abc import Iterable
from typing import Any, overload

import torch
from torch import Tensor

from node_repro.ode.field import VectorField, trained_parameters, untrained_parameters
from node_repro.ode.gradients import GradientMethod, Problem
from node_repro.ode.norm import Norm
from node_repro.ode.solution import Solution, SolverError
from node_repro.ode.solver import Solver
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
    """Solve dy/dt = f(t, y), y(ts[0]) = y0, and return the states at the times ts.

    There are no default tolerances: the solver is always a choice. States between two steps are
    dense output, whose order is the method's dense_order: below the solution's for dopri8 and rk4.

    Args:
        f: The vector field, f(t, y) -> dy/dt with t a scalar in y's real dtype.
        y0: The initial state, (*S) of any shape, real or complex floating point; or a tuple of
            such, of one dtype, for f(t, (y1, y2, ...)) -> (dy1, dy2, ...). The error of a tuple is
            judged part by part.
        ts: The times, (T,), rising or falling; they may repeat. They get a gradient if they want
            one.
        solver: Method, step-size control and tolerances.
        gradient: How the result is differentiated.
        parameters: What f depends on besides t and y. By default the parameters of f, if it is a
            module. The gradient methods that evaluate f again must know them.
        frozen: What else f depends on and what shall get no gradient.
        norm: Of the error, on the packed vector where y0 is a tuple; by default the largest root
            mean square of the parts.

    Returns:
        The states, (T, *S) or a tuple of such, and what the solve cost.

    Raises:
        SolverError: What was given makes no sense (kind bad_input), or the solve failed.
    """
    given = trained_parameters(f) if parameters is None else tuple(parameters)
    constants = (*frozen, *(untrained_parameters(f) if parameters is None else ()))
    if isinstance(y0, tuple):
        layout = Layout.from_parts(y0)
        packed = layout.pack(y0)
        times = checked(packed, ts)
        problem = Problem(Packed(f, layout), packed, times, given, layout.sizes, constants, norm)
        with refuse_vmap():
            ys, stats = gradient.solve(problem, solver)
        return Solution(layout.unpack(ys), stats)
    times = checked(y0, ts)
    problem = Problem(f, y0, times, given, frozen=constants, error_norm=norm)
    with refuse_vmap():
        return gradient.solve(problem, solver)


def span(t0: float | Tensor, t1: float | Tensor) -> Tensor:
    """(t0, t1), differentiable where they are: float64 on the host. Raises SolverError (bad_input)
    unless both are finite.
    """
    ends = (torch.as_tensor(t, dtype=torch.float64).cpu().reshape(()) for t in (t0, t1))
    ts = torch.stack(tuple(ends))
    if not torch.isfinite(ts).all():
        a, b = ts.tolist()
        raise SolverError("bad_input", f"a solve from {a:g} to {b:g} has no end: give finite times")
    return ts


def checked(y0: Tensor, ts: Tensor) -> Tensor:
    """ts as float64 on the host. Raises SolverError (bad_input)."""
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
        raise SolverError("bad_input", "ts holds a NaN or an infinite time")
    steps = torch.diff(seconds)
    sign = 1.0 if float(seconds[-1]) >= float(seconds[0]) else -1.0
    wrong = torch.nonzero(steps * sign < 0)
    if len(wrong):
        i = int(wrong[0])
        raise SolverError(
            "bad_input",
            f"ts must be sorted one way: ts[{i}] = {float(seconds[i]):g} and "
            f"ts[{i + 1}] = {float(seconds[i + 1]):g} are not in the order of the rest",
        )
    if torch.is_autocast_enabled(y0.device.type):
        raise SolverError(
            "bad_input",
            "autocast is on around the solve, and its rounding would be taken for an error of the "
            "steps: leave it with torch.autocast(..., enabled=False), or use autocast inside f",
        )
    return times
