"""A solve as an autograd function with a custom backward pass.

A gradient method passes a function for the forward pass. Its result contains a `BackwardPass`, an
object with everything that the backward pass needs except tensors. Autograd's graph refers to that
object only, so that a module that stores its own solution can be freed.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from node_repro.ode.engines import SolveOptions, Trajectory
from node_repro.ode.field import Evaluate, Plain
from node_repro.ode.gradients import Problem
from node_repro.ode.gradients.declared import evaluation
from node_repro.ode.gradients.saved_function import SavedFunction
from node_repro.ode.methods import State
from node_repro.ode.solution import Solution, SolverError, Stats
from node_repro.ode.solver import Solver
from node_repro.ode.transforms import batched


class Gradients(NamedTuple):
    """The gradients of a solve's inputs.

    Attributes:
        y0: The gradient of the initial state, (*S).
        ts: The gradient of the times, (T,); None if not required.
        parameters: The gradients of the parameters that require one; None if f does not use it.
    """

    y0: Tensor
    ts: Tensor | None
    parameters: Sequence[Tensor | None]


class Saved(NamedTuple):
    """The tensors that autograd saved for the backward pass.

    Attributes:
        ts: The times, (T,).
        tensors: `Forwarded.tensors`.
        parameters: The parameters that require a gradient.
        times: Whether the times require a gradient.
    """

    ts: Tensor
    tensors: tuple[Tensor, ...]
    parameters: tuple[Tensor, ...]
    times: bool


class BackwardPass(Protocol):
    """The backward pass of one solve, with everything that it needs except tensors."""

    def gradients(self, saved: Saved, gys: Tensor, stats: Stats) -> Gradients:
        """Differentiate the solve.

        Args:
            saved: The tensors of the forward pass.
            gys: dL/dys, (T, *S).
            stats: Counts the work.
        """
        ...


class Forwarded(NamedTuple):
    """The result of a forward pass.

    Attributes:
        ys: The states at the requested times, (T, *S).
        stats: The cost of the solve.
        tensors: The tensors that the backward pass needs besides the times and parameters.
        backward: The backward pass.
        evaluates_f: Whether it evaluates f again, with parameters that must be unchanged.
    """

    ys: Tensor
    stats: Stats
    tensors: Sequence[Tensor]
    backward: BackwardPass
    evaluates_f: bool = True


class Inputs(NamedTuple):
    """The inputs of a forward pass, without graphs.

    Attributes:
        y0: The initial state, (*S).
        ts: The times, (T,).
        parameters: The parameters that require a gradient.
        times: Whether the times require a gradient.
        evaluate: Evaluates f, with or without checks.
    """

    y0: Tensor
    ts: Tensor
    parameters: tuple[Tensor, ...]
    times: bool
    evaluate: Evaluate


Forward = Callable[[Inputs], Forwarded]


def solve_with_backward(
    name: str, problem: Problem, known: tuple[Tensor, ...], forward: Forward
) -> Solution[Tensor]:
    """Solve a problem by a forward pass that autograd differentiates by its own backward pass.

    Args:
        name: The name of the gradient method, for messages.
        problem: The problem.
        known: The tensors that f depends on.
        forward: The forward pass. It is called once, without gradients.

    Returns:
        The solution, with ys (T, *S).
    """
    # chosen here, because grad mode is off inside of the autograd function
    call = _Call(name, forward, Stats(), evaluation(problem, known))
    ys = _Solve.apply(call, problem.y0, problem.ts, *known)
    assert isinstance(ys, Tensor)
    return Solution(ys, call.stats)


def solve_forward(
    problem: Problem,
    known: tuple[Tensor, ...],
    solver: Solver,
    inputs: Inputs,
    *,
    keep_starts: bool = False,
) -> tuple[SavedFunction, Trajectory]:
    """The solve of a forward pass, and its f for the backward pass."""
    saved = SavedFunction(problem.f, known)
    with saved.solving() as f:
        field = Plain(f, evaluate=inputs.evaluate)
        options = SolveOptions(problem.norm, keep_starts=keep_starts)
        return saved, solver.solve(field, State(inputs.y0), inputs.ts, options)


class _Call(NamedTuple):
    name: str
    forward: Forward
    stats: Stats
    evaluate: Evaluate


Context = Any
"""autograd's ctx, which may have any attribute."""


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, call: _Call, y0: Tensor, ts: Tensor, *parameters: Tensor) -> Tensor:
        _, _, times, *needed = ctx.needs_input_grad
        wanted = _select(parameters, needed)
        done = call.forward(Inputs(y0.detach(), ts.detach(), wanted, times, call.evaluate))
        call.stats.add(done.stats)
        ctx.method, ctx.stats, ctx.backward_pass = call.name, call.stats, done.backward
        ctx.count = len(done.tensors)
        ctx.save_for_backward(ts, *done.tensors, *(parameters if done.evaluates_f else ()))
        return done.ys

    @staticmethod
    def backward(ctx: Context, gys: Tensor) -> tuple[Tensor | None, ...]:
        ts, *tensors = _saved_tensors(ctx, gys)
        kept, parameters = tuple(tensors[: ctx.count]), tensors[ctx.count :]
        _, _, times, *needed = ctx.needs_input_grad
        saved, stats = Saved(ts, kept, _select(parameters, needed), times), Stats()
        gradients: Gradients = ctx.backward_pass.gradients(saved, gys, stats)
        ctx.stats.add_backward(stats)
        return None, gradients.y0, gradients.ts, *_spread(gradients.parameters, needed)


def _saved_tensors(ctx: Context, gys: Tensor) -> tuple[Tensor, ...]:
    """The saved tensors, for a backward pass that gives first derivatives only.

    Raises:
        SolverError: The backward pass is itself differentiated or under torch.vmap, or a saved
            tensor was changed since the forward pass (kind bad_input).
    """
    if batched(gys):
        raise SolverError(
            "bad_input",
            f"the backward pass of gradient={ctx.method} cannot be batched by torch.vmap (as by "
            "is_grads_batched=True or vectorize=True): pass the cotangents one by one",
        )
    if torch.is_grad_enabled():
        raise SolverError(
            "bad_input",
            f"gradient={ctx.method} gives first derivatives only: for create_graph=True use "
            "gradient=direct with engine=eager",
        )
    try:
        return ctx.saved_tensors
    except RuntimeError as error:
        if "inplace operation" not in str(error):
            raise
        raise SolverError(
            "bad_input",
            "y0, the times or a parameter of f was changed in place between the solve and its "
            "backward pass, such as by optimizer.step(): call backward() first",
        ) from error


def _select(parameters: Sequence[Tensor], needed: Sequence[bool]) -> tuple[Tensor, ...]:
    """The parameters that require a gradient; empty if none are passed."""
    return tuple(p for p, need in zip(parameters, needed, strict=False) if need)


def _spread(gradients: Iterable[Tensor | None], needed: Sequence[bool]) -> list[Tensor | None]:
    """The gradients in the order of all parameters, with None if not needed."""
    found = iter(gradients)
    return [next(found) if need else None for need in needed]
