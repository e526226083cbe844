"""Checkpointed differentiation: keep the state at every accepted step, redo one step at a time.

The gradient is that of the discrete solution, as with direct differentiation, for O(steps) states
of memory and one more evaluation of f a stage. A step's first slope is a function of its first
state, so states (and the twins of a reversible method) are all that is kept.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.autograd import Function

from node_repro.ode.engines import Mesh, Start
from node_repro.ode.field import Plain, VectorField
from node_repro.ode.gradients import Context, Problem, declared, refuse_second_derivative, spread
from node_repro.ode.gradients.replay import Replay, stepping
from node_repro.ode.methods import State
from node_repro.ode.norm import Norm
from node_repro.ode.solution import Solution, Stats
from node_repro.ode.solver import RungeKutta, Solver


@dataclass(frozen=True)
class Checkpointed:
    """Exact to rounding; memory is one state a step."""

    def solve(self, problem: Problem, solver: Solver) -> Solution[Tensor]:
        known = declared(problem.parameters, "checkpointed")
        run = _Run(problem.f, stepping(solver, "checkpointed"), problem.norm)
        ys: Tensor = _Solve.apply(run, problem.y0, problem.ts, *known)  # type: ignore[assignment]
        return Solution(ys, run.stats)


class _Run:
    """What forward leaves for backward besides tensors: the mesh, and where to count."""

    mesh: Mesh
    stats: Stats

    def __init__(self, f: VectorField, solver: RungeKutta, norm: Norm) -> None:
        self.f, self.solver, self.norm = f, solver, norm


class _Solve(Function):
    @staticmethod
    def forward(ctx: Context, run: _Run, y0: Tensor, ts: Tensor, *parameters: Tensor) -> Tensor:
        trajectory = run.solver.solve(
            Plain(run.f), State(y0), ts.detach(), norm=run.norm, keep=True
        )
        run.mesh, run.stats = trajectory.mesh, trajectory.stats
        starts = trajectory.starts or (Start(y0, None),)
        twins = [start.twin for start in starts if start.twin is not None]
        ctx.run, ctx.starts, ctx.twins = run, len(starts), len(twins)
        ctx.save_for_backward(ts, *(start.y for start in starts), *twins, *parameters)
        return trajectory.ys

    @staticmethod
    def backward(ctx: Context, gys: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative("checkpointed")
        ts, *saved = ctx.saved_tensors
        ys, rest = saved[: ctx.starts], saved[ctx.starts :]
        twins, parameters = rest[: ctx.twins] or [None] * ctx.starts, rest[ctx.twins :]
        run: _Run = ctx.run
        needed = ctx.needs_input_grad[3:]
        wanted = tuple(p for p, need in zip(parameters, needed, strict=True) if need)
        stats = Stats()
        replay = Replay(run.f, run.solver.method, run.mesh, ts, ctx.needs_input_grad[2], wanted)
        starts = map(Start, reversed(ys), reversed(twins))
        gy0, gts, gparameters = replay.gradients(starts, gys, stats)
        run.stats.add_backward(stats)
        return None, gy0, gts, *spread(gparameters, needed)
