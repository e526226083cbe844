"""Reversible differentiation: keep only the end, undo one step at a time, and do it again.

The gradient is that of the discrete solution, exact to rounding, with memory that does not grow
with the steps (McCallum, Foster 2024; Kidger, Foster, Li, Lyons 2021). Needs a reversible method.
"""

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.autograd import Function

from node_repro.ode.engines import Mesh, SolveOptions, Start
from node_repro.ode.field import Counted, Plain, VectorField
from node_repro.ode.gradients import Context, Problem, saved_tensors, spread
from node_repro.ode.gradients.declared import declared, evaluation
from node_repro.ode.gradients.replay import Replay, stepping
from node_repro.ode.gradients.saved_function import SavedFunction
from node_repro.ode.methods import ReversibleMethod, State
from node_repro.ode.solution import Solution, SolverError, Stats
from node_repro.ode.solver import RungeKutta, Solver


@dataclass(frozen=True)
class Reversible:
    """Warns where the way back strays so far that the gradient has lost half of its digits."""

    needs: ClassVar[str] = "reversible"

    def solve(self, problem: Problem, solver: Solver) -> Solution[Tensor]:
        known = declared(problem, "reversible")
        stepper = stepping(solver, "reversible")
        method = stepper.method
        if not hasattr(method, "unstep"):
            raise SolverError(
                "bad_input",
                f"gradient=reversible undoes steps, and {method.name} has none that can be undone: "
                "take a reversible method, such as reversible_dopri5, or gradient=checkpointed",
            )
        run = _Run(problem, stepper, method, known)  # pyright: ignore[reportArgumentType]
        ys: Tensor = _Solve.apply(run, problem.y0, problem.ts, *known)  # type: ignore[assignment]
        return Solution(ys, run.stats)


class _Run:
    """What forward leaves for backward besides tensors: the mesh, and where to count."""

    mesh: Mesh
    stats: Stats

    def __init__(
        self,
        problem: Problem,
        solver: RungeKutta,
        method: ReversibleMethod,
        known: tuple[Tensor, ...],
    ) -> None:
        self.saved = SavedFunction(problem.f, known)
        self.solver, self.method, self.norm = solver, method, problem.norm
        self.evaluate = evaluation(problem, known)
        self.frozen = problem.frozen


class _Solve(Function):
    @staticmethod
    def forward(ctx: Context, run: _Run, y0: Tensor, ts: Tensor, *parameters: Tensor) -> Tensor:
        y0 = y0.detach()
        with run.saved.solving() as f:
            trajectory = run.solver.solve(
                Plain(f, evaluate=run.evaluate), State(y0), ts.detach(), SolveOptions(run.norm)
            )
        run.mesh, run.stats = trajectory.mesh, trajectory.stats
        if trajectory.slope is not None:
            run.saved.remember(y0, trajectory.slope)
        twin = y0 if trajectory.carry.twin is None else trajectory.carry.twin
        ctx.run = run
        ctx.save_for_backward(ts, y0, trajectory.end.y, twin, *parameters)
        return trajectory.ys

    @staticmethod
    def backward(ctx: Context, gys: Tensor) -> tuple[Tensor | None, ...]:
        ts, y0, end, twin, *parameters = saved_tensors(ctx, gys, "reversible")
        run: _Run = ctx.run
        needed = ctx.needs_input_grad[3:]
        wanted = tuple(p for p, need in zip(parameters, needed, strict=True) if need)
        stats = Stats()
        times = ctx.needs_input_grad[2]
        replay = Replay(run.saved, run.method, run.mesh, ts, times, wanted, run.frozen)
        with run.saved.restored() as f:
            starts = _undone(run, f, y0, Start(end, twin), stats)
            gy0, gts, gparameters = replay.gradients(starts, gys, stats)
        run.stats.add_backward(stats)
        return None, gy0, gts, *spread(gparameters, needed)


def _undone(run: _Run, f: VectorField, y0: Tensor, end: Start, stats: Stats) -> Iterator[Start]:
    """The starts of the steps, the last one first; the solve's own start is y0 itself."""
    points = run.mesh.points
    field = Counted(Plain(f), stats, (points[0], points[-1]))
    y, twin = end.y, end.twin
    assert twin is not None
    size = torch.linalg.vector_norm(y)
    for n in reversed(range(len(points) - 1)):
        with torch.no_grad():
            y, twin = run.method.unstep(field, points[n], points[n + 1], y, twin)
            size = torch.maximum(size, torch.linalg.vector_norm(y))
        if n > 0:
            yield Start(y, twin)
    off = torch.linalg.vector_norm(y - y0) / size.clamp_min(torch.finfo(size.dtype).tiny)
    stats.reconstruction = float(off)
    _warn_of(stats.reconstruction, y0.dtype)
    yield Start(y0, y0)


def _warn_of(reconstruction: float, dtype: torch.dtype) -> None:
    if not reconstruction <= math.sqrt(torch.finfo(dtype).eps):
        warnings.warn(
            f"the steps came back to a start {reconstruction:.0e} away from the true one (relative "
            f"to the largest state of the way), as rounding in {dtype} grows on the "
            "way: the gradient is not exact any more; take float64, fewer steps, or "
            "gradient=checkpointed",
            stacklevel=2,
        )
