"""Record the ODE solve inside a model and repeat it with other solvers and gradient methods.

A probed network has one module that solves an ODE. Its problem is recorded together with the
gradient of the batch's loss with respect to the states, the cotangent. From these, the solve can be
repeated by any solver, differentiated by any method and compared with one in float64, without the
rest of the network.
"""

import copy
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from node_repro.ode.block import SolvesODE
from node_repro.ode.gradients import GradientMethod, Problem
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.gradients.forward import Forward
from node_repro.ode.solution import Solution, SolverError, Stats
from node_repro.ode.solver import Solver
from node_repro.probes import Batch, NotApplicable, TrainedRun
from node_repro.tasks import Task

SLOW = 100_000


class Solve(NamedTuple):
    """A solve inside a model.

    Args:
        problem: The initial value problem.
        cotangent: dL/dys, shape (T, *S).
    """

    problem: Problem
    cotangent: Tensor

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        return self.problem.parameters or ()


class Pass(NamedTuple):
    """A solve and its gradient.

    Args:
        ys: The states, shape (T, *S).
        by_y0: Gradient with respect to y0, shape (*S).
        by_parameters: Gradient with respect to all parameters, as one vector.
        stats: Statistics of the solver.
        forward_seconds: Time of the forward solve.
        backward_seconds: Time of the backward solve.
    """

    ys: Tensor
    by_y0: Tensor
    by_parameters: Tensor
    stats: Stats
    forward_seconds: float
    backward_seconds: float

    @property
    def backward(self) -> Stats:
        return self.stats.backward or Stats()


class Distance(NamedTuple):
    """Distance of a tensor from the exact one, absolute and relative to the exact one's norm."""

    rms: float
    max: float
    relative_rms: float
    relative_max: float

    @classmethod
    def between(cls, x: Tensor, true: Tensor) -> "Distance":
        true = true.double()
        difference = x.double() - true
        mean, largest = rms(difference), float(difference.abs().max())
        return cls(mean, largest, mean / rms(true), largest / float(true.abs().max()))


@dataclass
class _Recorder:
    """A gradient method that records its problems and their solutions."""

    inner: GradientMethod
    seen: list[tuple[Problem, Tensor]] = field(default_factory=list)

    def solve(self, problem: Problem, solver: Solver) -> Solution[Tensor]:
        solution = self.inner.solve(problem, solver)
        self.seen.append((problem, solution.ys))
        return solution


def solving_part(model: nn.Module) -> SolvesODE:
    """The module that solves the model's ODE. Raises NotApplicable unless there is exactly one."""
    parts = [m for m in model.modules() if isinstance(m, SolvesODE)]
    if len(parts) != 1:
        raise NotApplicable(
            f"a model with one ODE, but {type(model).__name__} has {len(parts) or 'none'}"
        )
    return parts[0]


def record_solve(model: nn.Module, task: Task, batch: Batch) -> Solve:
    """Record the solve of one batch by the model's own solver and gradient method.

    Raises:
        NotApplicable: The model does not solve exactly one ODE per batch.
    """
    part = solving_part(model)
    inner = part.gradient
    recorder = _Recorder(inner)
    part.gradient = recorder
    try:
        loss = task.loss(model, batch).loss
    finally:
        part.gradient = inner
    (problem, ys), *more = recorder.seen
    if more:
        count = 1 + len(more)
        raise NotApplicable(f"one solve per batch, but {type(model).__name__} makes {count}")
    (cotangent,) = torch.autograd.grad(loss, ys)
    return Solve(problem._replace(y0=problem.y0.detach()), cotangent)


def in_float64(solve: Solve) -> Solve:
    """Convert a solve to float64. Raises NotApplicable if f is not a module."""
    f = solve.problem.f
    if not isinstance(f, nn.Module):
        raise NotApplicable(
            "a field that is a module; with a stochastic trace it differs between solves (use "
            "model.trace=exact)"
        )
    f = copy.deepcopy(f).double()
    problem = solve.problem._replace(
        f=f,
        y0=solve.problem.y0.double(),
        parameters=tuple(p for p in f.parameters() if p.requires_grad),
    )
    return Solve(problem, solve.cotangent.double())


def forward(solve: Solve, solver: Solver) -> Solution[Tensor]:
    """Repeat a solve with another solver, without a gradient."""
    with torch.no_grad():
        return Adjoint().solve(solve.problem, solver)


def differentiate(solve: Solve, solver: Solver, gradient: GradientMethod) -> Pass:
    """Repeat a solve and compute the gradient of sum(cotangent * ys). Raises SolverError."""
    y0 = solve.problem.y0.clone().requires_grad_()
    inputs = (y0, *solve.parameters)
    began = now(y0.device)
    solution = gradient.solve(solve.problem._replace(y0=y0), solver)
    between = now(y0.device)
    with warnings.catch_warnings():  # probes measure the drift of the backward solve themselves
        drift = "the backward solve drifted|inverting the steps led"
        warnings.filterwarnings("ignore", drift, UserWarning)
        by_y0, *gradients = torch.autograd.grad(
            solution.ys, inputs, solve.cotangent, allow_unused=True, materialize_grads=True
        )
    ended = now(y0.device)
    by_parameters = torch.cat([y0.new_empty(0), *(g.reshape(-1) for g in gradients)])
    return Pass(
        solution.ys.detach(),
        by_y0,
        by_parameters,
        solution.stats,
        between - began,
        ended - between,
    )


def refuse_slow(solve: Solve, gradient: GradientMethod) -> None:
    """Raise SolverError (kind bad_input) if forward sensitivities would integrate > SLOW numbers.

    The limit of the method itself is a thousand times larger.
    """
    states = solve.problem.y0.numel()
    numbers = states * (1 + states + sum(p.numel() for p in solve.parameters))
    if isinstance(gradient, Forward) and numbers > SLOW:
        raise SolverError(
            "bad_input",
            f"gradient=forward would integrate {numbers:,} numbers, more than a probe's limit of "
            f"{SLOW:,}",
        )


def now(device: torch.device) -> float:
    """The current time in seconds, after the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def median_seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """The median time of `repeats` calls in seconds, after one call that is not timed."""
    work()
    seconds = []
    for _ in range(repeats):
        began = now(device)
        work()
        seconds.append(now(device) - began)
    return median(seconds)


def median(values: list[float]) -> float:
    """The median; NaN for an empty list."""
    if not values:
        return math.nan
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2


def rms(x: Tensor) -> float:
    """The root mean square, computed in float64."""
    return float(x.double().square().mean().sqrt())


def record_test_solves(run: TrainedRun, size: int, count: int) -> list[Solve]:
    """Record the selected model's solves of the first `count` test batches of `size` examples."""
    model, task = run.model(), run.task
    return [record_solve(model, task, batch) for batch in run.test_batches(size, count)]
