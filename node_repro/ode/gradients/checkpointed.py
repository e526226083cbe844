"""Checkpointed differentiation: keep the state at every accepted step, redo one step at a time.

The gradient is that of the discrete solution, as with direct differentiation, for O(steps) states
of memory and one more evaluation of f a stage. A step's first slope is a function of its first
state, so states (and the twins of a reversible method) are all that is kept.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.autograd import Function

from node_repro.ode.engines import Mesh, SolveOptions, Start
from node_repro.ode.field import Plain
from node_repro.ode.gradients import Context, Problem, saved_tensors, spread
from node_repro.ode.gradients.declared import declared, evaluation
from node_repro.ode.gradients.replay import Replay, stepping
from node_repro.ode.gradients.saved_function import SavedFunction
from node_repro.ode.methods import State
from node_repro.ode.solution import Solution, Stats
from node_repro.ode.solver import RungeKutta, Solver


@dataclass(frozen=True)
class Checkpointed:
    """Exact to rounding; memory is one state a step."""

    needs: ClassVar[str] = "runge_kutta"

    def solve(self, problem: Problem, solver: Solver) -> Solution[Tensor]:
        known = declared(problem, "checkpointed")
        run = _Run(problem, stepping(solver, "checkpointed"), known)
        ys: Tensor = _Solve.apply(run, problem.y0, problem.ts, *known)  # type: ignore[assignment]
        return Solution(ys, run.stats)


class _Run:
    """What forward leaves for backward besides tensors: the mesh, and where to count."""

    mesh: Mesh
    stats: Stats

    def __init__(self, problem: Problem, solver: RungeKutta, known: tuple[Tensor, ...]) -> None:
        self.saved = SavedFunction(problem.f, known)
        self.evaluate = evaluation(problem, known)
        self.solver, self.norm, self.frozen = solver, problem.norm, problem.frozen


class _Solve(Function):
    @staticmethod
    def forward(ctx: Context, run: _Run, y0: Tensor, ts: Tensor, *parameters: Tensor) -> Tensor:
        y0 = y0.detach()
        with run.saved.solving() as f:
            trajectory = run.solver.solve(
                Plain(f, evaluate=run.evaluate),
                State(y0),
                ts.detach(),
                SolveOptions(run.norm, keep_starts=True),
            )
        run.mesh, run.stats = trajectory.mesh, trajectory.stats
        if trajectory.slope is not None:
            run.saved.remember(y0, trajectory.slope)
        starts = trajectory.starts or (Start(y0, None),)
        twins = [start.twin for start in starts if start.twin is not None]
        solved = [slope for start in starts for slope in start.solved]
        ctx.run, ctx.starts, ctx.twins, ctx.solved = run, len(starts), len(twins), len(solved)
        ctx.save_for_backward(ts, *(start.y for start in starts), *twins, *solved, *parameters)
        return trajectory.ys

    @staticmethod
    def backward(ctx: Context, gys: Tensor) -> tuple[Tensor | None, ...]:
        ts, *saved = saved_tensors(ctx, gys, "checkpointed")
        ys, rest = saved[: ctx.starts], saved[ctx.starts :]
        twins, rest = rest[: ctx.twins] or [None] * ctx.starts, rest[ctx.twins :]
        solved, parameters = rest[: ctx.solved], rest[ctx.solved :]
        stages = ctx.solved // ctx.starts
        slopes = [tuple(solved[n * stages : (n + 1) * stages]) for n in range(ctx.starts)]
        run: _Run = ctx.run
        needed = ctx.needs_input_grad[3:]
        wanted = tuple(p for p, need in zip(parameters, needed, strict=True) if need)
        stats = Stats()
        times = ctx.needs_input_grad[2]
        replay = Replay(run.saved, run.solver.method, run.mesh, ts, times, wanted, run.frozen)
        starts = map(Start, reversed(ys), reversed(twins), reversed(slopes))
        gy0, gts, gparameters = replay.gradients(starts, gys, stats)
        run.stats.add_backward(stats)
        return None, gy0, gts, *spread(gparameters, needed)
