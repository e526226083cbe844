"""A solve as one operation of autograd, for the methods that write its backward pass.

A gradient method gives a function for the forward pass. What this returns holds a `BackwardPass`,
an object with all that the backward pass needs besides tensors. Autograd's graph keeps that object
and nothing else, so that it does not keep a module alive that stores its own solution.
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
        y0: Of the initial state, (*S).
        ts: Of the times, (T,); None unless they want one.
        parameters: Of the parameters that want one; None for one that f does not use.
    """

    y0: Tensor
    ts: Tensor | None
    parameters: Sequence[Tensor | None]


class Saved(NamedTuple):
    """What autograd kept for the backward pass.

    Attributes:
        ts: The times, (T,).
        tensors: Those of the forward pass, in its order.
        parameters: The parameters that want a gradient.
        times: Whether the times want one.
    """

    ts: Tensor
    tensors: tuple[Tensor, ...]
    parameters: tuple[Tensor, ...]
    times: bool


class BackwardPass(Protocol):
    """The backward pass of one solve, with what it needs besides tensors."""

    def gradients(self, saved: Saved, gys: Tensor, stats: Stats) -> Gradients:
        """Differentiate the solve.

        Args:
            saved: The tensors of the forward pass.
            gys: dL/dys, (T, *S).
            stats: Where the work is counted.
        """
        ...


class Forwarded(NamedTuple):
    """The result of a forward pass.

    Attributes:
        ys: The states at the requested times, (T, *S).
        stats: What the solve cost.
        tensors: What the backward pass needs besides the times and parameters.
        backward: The backward pass.
        evaluates_f: Whether that evaluates f again. The parameters must then be what they were.
    """

    ys: Tensor
    stats: Stats
    tensors: Sequence[Tensor]
    backward: BackwardPass
    evaluates_f: bool = True


class Inputs(NamedTuple):
    """What a forward pass is given, without graphs.

    Attributes:
        y0: The initial state, (*S).
        ts: The times, (T,).
        parameters: The parameters that want a gradient.
        times: Whether the times want one.
        evaluate: How f is evaluated, which may check it.
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
    """Solve a problem by a forward pass, which autograd differentiates by its backward pass.

    Args:
        name: The name of the gradient method, for messages.
        problem: What is to be solved.
        known: The tensors that f depends on.
        forward: The forward pass. It is called once, without gradients.

    Returns:
        The solution, with ys (T, *S).
    """
    # asked here, where it is known whether gradients are recorded
    call = _Call(name, forward, Stats(), evaluation(problem, known))
    ys = _Solve.apply(call, problem.y0, problem.ts, *known)
    assert isinstance(ys, Tensor)
    return Solution(ys, call.stats)


def solve_forward(
    problem: Problem,
    saved: SavedFunction,
    solver: Solver,
    inputs: Inputs,
    *,
    keep_starts: bool = False,
) -> Trajectory:
    """The solve of a forward pass whose f is saved for the backward pass."""
    with saved.solving() as f:
        field = Plain(f, evaluate=inputs.evaluate)
        options = SolveOptions(problem.norm, keep_starts=keep_starts)
        return solver.solve(field, State(inputs.y0), inputs.ts, options)


class _Call(NamedTuple):
    name: str
    forward: Forward
    stats: Stats
    evaluate: Evaluate


Context = Any
"""autograd's ctx, which takes any attribute."""


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
    """What the forward pass saved, for a backward pass that gives first derivatives.

    Raises:
        SolverError: The backward pass is to be differentiated itself or is under torch.vmap, or a
            saved tensor was changed since the forward pass (kind bad_input).
    """
    if batched(gys):
        raise SolverError(
            "bad_input",
            f"the backward pass of gradient={ctx.method} cannot be batched by torch.vmap (as by "
            "is_grads_batched=True or vectorize=True): take one cotangent after the other",
        )
    if torch.is_grad_enabled():
        raise SolverError(
            "bad_input",
            f"gradient={ctx.method} gives first derivatives only: for create_graph=True take "
            "gradient=direct",
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
    """Those that want a gradient; none of none."""
    return tuple(p for p, need in zip(parameters, needed, strict=False) if need)


def _spread(gradients: Iterable[Tensor | None], needed: Sequence[bool]) -> list[Tensor | None]:
    """The gradients of those that need one, with None for the others between them."""
    found = iter(gradients)
    return [next(found) if need else None for need in needed]
