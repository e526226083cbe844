"""Adjoint options of odeint_adjoint, converted to the solver's own."""

from typing import Any

from torch import Tensor

from node_repro.ode.drop_in.callbacks import adjoint_callbacks
from node_repro.ode.drop_in.grids import Stopping
from node_repro.ode.drop_in.methods import ADAMS, ADAPTIVE, SCIPY
from node_repro.ode.drop_in.norms import StateNorm, adjoint_norm
from node_repro.ode.drop_in.options import Request, Task, make_scheme
from node_repro.ode.drop_in.tolerances import (
    Given,
    PartNorm,
    adjoint_tolerances,
    several,
    to_tolerance,
)
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.solver import Solver


def make_adjoint(
    task: Task,
    ahead: Request,
    method: str,
    adjoint_options: dict[str, Any] | None,
    adjoint_rtol: Given | None,
    adjoint_atol: Given | None,
    of_state: StateNorm | None,
    parameters: tuple[Tensor, ...],
) -> Adjoint:
    """The gradient method with its backward solve.

    Args:
        task: The forward problem.
        ahead: The request for the forward solve, for all that is None below.
        method: The method of the backward solve.
        adjoint_options: Its options; None takes those of the forward solve without the norm.
        adjoint_rtol: Its relative tolerance, in any of torchdiffeq's forms.
        adjoint_atol: Its absolute tolerance, in the same forms.
        of_state: The norm of the forward solve; None for the solver's own.
        parameters: The tensors that get a gradient.

    Raises:
        SolverError: An argument is invalid (kind bad_input).
    """
    norm = adjoint_norm(method, adjoint_options, of_state, task.y0)
    given = ahead.options if adjoint_options is None else adjoint_options
    options = {name: value for name, value in (given or {}).items() if name != "norm"}
    callbacks = adjoint_callbacks(task.func, method)
    request = ahead._replace(method=method, options=options, callbacks=callbacks)
    if several(adjoint_rtol) or several(adjoint_atol):
        rtol = ahead.rtol if adjoint_rtol is None else adjoint_rtol
        atol = ahead.atol if adjoint_atol is None else adjoint_atol
        rtol, atol, *of_each = adjoint_tolerances(rtol, atol, task.y0, parameters)
        back = _solver(task, request._replace(rtol=rtol, atol=atol))
        return Adjoint(PartNorm(norm, *of_each) if back.controls_error else norm, back)
    rtol = None if adjoint_rtol is None else to_tolerance(adjoint_rtol, task.y0, least=True)
    atol = None if adjoint_atol is None else to_tolerance(adjoint_atol, task.y0)
    # an Adams method uses the tolerances in its corrector, so they are part of the method
    if _same(ahead, request) and method not in ADAMS:
        if method in ADAPTIVE or method == SCIPY:
            return Adjoint(norm, None, rtol, atol)
        return Adjoint(norm)
    if rtol is not None:
        request = request._replace(rtol=rtol)
    if atol is not None:
        request = request._replace(atol=atol)
    return Adjoint(norm, _solver(task, request))


def _same(ahead: Request, back: Request) -> bool:
    """Whether the backward solve can use the forward solver."""
    first = {name: value for name, value in (ahead.options or {}).items() if name != "norm"}
    second = back.options or {}
    return (
        ahead.method == back.method
        and first.keys() == second.keys()
        and all(first[name] is second[name] for name in first)
        and not second.get("perturb")
        and ahead.callbacks is None
        and back.callbacks is None
    )


def _solver(task: Task, request: Request) -> Solver:
    """The solver of the backward solve, with its own stops."""
    scheme = make_scheme(task.back(), request)
    if not len(scheme.cuts):
        return scheme.solver
    return Stopping(scheme.solver, tuple(scheme.cuts.tolist()))
