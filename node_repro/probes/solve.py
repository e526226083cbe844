"""The solve inside of a model: recorded from a batch, and done again in other ways.

Every network here has one part that solves an ODE. Recorded are its problem and the gradient of
the batch's loss with respect to the states, the cotangent; with these two the same solve can be
done by any solver, differentiated by any method and compared with one in float64, without the rest
of the network.
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
from node_repro.probes import Batch, Finished, Misfit
from node_repro.tasks import Task

SLOW = 100_000


class Solve(NamedTuple):
    """cotangent: dL/dys, (T, *S)."""

    problem: Problem
    cotangent: Tensor

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        return self.problem.parameters or ()


class Pass(NamedTuple):
    """A solve and its gradient. by_parameters: all of them in one vector."""

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
    """How far a tensor is from the true one. relative: both times to the same measure of that."""

    rms: float
    max: float
    relative_rms: float
    relative_max: float

    @classmethod
    def of(cls, x: Tensor, true: Tensor) -> "Distance":
        true = true.double()
        off = x.double() - true
        far, most = rms(off), float(off.abs().max())
        return cls(far, most, far / rms(true), most / float(true.abs().max()))


@dataclass
class _Recorder:
    """A gradient method that keeps what it was asked last, and what came out."""

    inner: GradientMethod
    seen: list[tuple[Problem, Tensor]] = field(default_factory=list)

    def solve(self, problem: Problem, solver: Solver) -> Solution[Tensor]:
        solution = self.inner.solve(problem, solver)
        self.seen.append((problem, solution.ys))
        return solution


def solving_part(model: nn.Module) -> SolvesODE:
    """The module that solves the model's ODE. Raises Misfit unless there is one."""
    parts = [m for m in model.modules() if isinstance(m, SolvesODE)]
    if len(parts) != 1:
        raise Misfit(f"a model with one ODE, and {type(model).__name__} has {len(parts) or 'none'}")
    return parts[0]


def recorded(model: nn.Module, task: Task, batch: Batch) -> Solve:
    """The solve of one batch, with the model's own solver and gradient method."""
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
        raise Misfit(f"one solve a batch, and {type(model).__name__} makes {1 + len(more)}")
    (cotangent,) = torch.autograd.grad(loss, ys)
    return Solve(problem._replace(y0=problem.y0.detach()), cotangent)


def in_float64(solve: Solve) -> Solve:
    """The same solve with everything converted. Raises Misfit where f is no module."""
    f = solve.problem.f
    if not isinstance(f, nn.Module):
        raise Misfit(
            "a field that is a module, and this one is drawn anew for every solve (take the exact "
            "trace)"
        )
    f = copy.deepcopy(f).double()
    problem = solve.problem._replace(
        f=f,
        y0=solve.problem.y0.double(),
        parameters=tuple(p for p in f.parameters() if p.requires_grad),
    )
    return Solve(problem, solve.cotangent.double())


def forward(solve: Solve, solver: Solver) -> Solution[Tensor]:
    """The states alone, whatever solver."""
    with torch.no_grad():
        return Adjoint().solve(solve.problem, solver)


def differentiated(solve: Solve, solver: Solver, gradient: GradientMethod) -> Pass:
    """The states, and the gradient of the sum of cotangent * ys. Raises SolverError."""
    y0 = solve.problem.y0.clone().requires_grad_()
    inputs = (y0, *solve.parameters)
    began = now(y0.device)
    solution = gradient.solve(solve.problem._replace(y0=y0), solver)
    between = now(y0.device)
    with warnings.catch_warnings():  # how far a way back strays is what probes measure
        warnings.filterwarnings("ignore", "the (backward solve|steps) came back", UserWarning)
        found = torch.autograd.grad(
            solution.ys, inputs, solve.cotangent, allow_unused=True, materialize_grads=True
        )
    ended = now(y0.device)
    by_parameters = torch.cat([y0.new_empty(0), *(g.reshape(-1) for g in found[1:])])
    return Pass(
        solution.ys.detach(),
        found[0],
        by_parameters,
        solution.stats,
        between - began,
        ended - between,
    )


def refuse_slow(solve: Solve, gradient: GradientMethod) -> None:
    """Raises SolverError (bad_input) for forward sensitivities of more numbers than a probe waits
    for; the method itself would take a thousand times as many.
    """
    states = solve.problem.y0.numel()
    numbers = states * (1 + states + sum(p.numel() for p in solve.parameters))
    if isinstance(gradient, Forward) and numbers > SLOW:
        raise SolverError(
            "bad_input",
            f"gradient=forward would integrate {numbers:,} numbers, more than the {SLOW:,} that a "
            "probe waits for",
        )


def now(device: torch.device) -> float:
    """Seconds of a clock, after all that the device was given is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def median_seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """The median of so many turns, after one that does not count."""
    work()
    seconds = []
    for _ in range(repeats):
        began = now(device)
        work()
        seconds.append(now(device) - began)
    return median(seconds)


def median(values: list[float]) -> float:
    """The middle one, or the mean of the two there; NaN of none."""
    if not values:
        return math.nan
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2


def rms(x: Tensor) -> float:
    """The root of the mean square, in float64."""
    return float(x.double().square().mean().sqrt())


def tested(run: Finished, size: int, count: int) -> list[Solve]:
    """The solves of test batches of so many examples, by the selected model."""
    model, task = run.model(), run.task
    return [recorded(model, task, batch) for batch in run.test_batches(size, count)]
