"""Checkpointed differentiation: keep the state at every accepted step, redo one step at a time.

The gradient is that of the discrete solution, as with direct differentiation, for O(steps) states
of memory and one more evaluation of f a stage.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from node_repro.ode.engines import Mesh, Trajectory, interval, positions
from node_repro.ode.field import Counted, Plain, VectorField
from node_repro.ode.gradients import Parameters
from node_repro.ode.methods import State
from node_repro.ode.solution import Solution, SolverError, Stats
from node_repro.ode.solver import Solver

Context = Any
"""autograd's ctx: it takes any attribute."""


@dataclass(frozen=True)
class Checkpointed:
    """A step's first slope is a function of its first state, so states are all that is kept."""

    def solve(
        self, f: VectorField, y0: Tensor, ts: Tensor, solver: Solver, parameters: Parameters
    ) -> Solution:
        if parameters is None:
            raise SolverError(
                "bad_input",
                "gradient=checkpointed needs to know what f depends on: make f an nn.Module, or "
                "pass parameters=(...), empty if there are none",
            )
        run = _Run(f, solver)
        ys: Tensor = _Solve.apply(run, y0, ts, *parameters)  # type: ignore[assignment]
        return Solution(ys, run.stats)


class _Run:
    """What forward leaves for backward besides tensors: the mesh, and where to count."""

    mesh: Mesh
    stats: Stats

    def __init__(self, f: VectorField, solver: Solver) -> None:
        self.f, self.solver = f, solver


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, run: _Run, y0: Tensor, ts: Tensor, *parameters: Tensor) -> Tensor:
        trajectory: Trajectory = run.solver.solve(Plain(run.f), State(y0), ts, keep=True)
        run.mesh, run.stats = trajectory.mesh, trajectory.stats
        ctx.run, ctx.steps = run, len(trajectory.states)
        ctx.save_for_backward(ts, *trajectory.states, *parameters)
        # without a step ys is a view of y0, which autograd would take for y0 itself
        return trajectory.ys if trajectory.states else trajectory.ys.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, gys: Tensor) -> tuple[Tensor | None, ...]:
        ts, *saved = ctx.saved_tensors
        states, parameters = saved[: ctx.steps], saved[ctx.steps :]
        run: _Run = ctx.run
        stats = Stats()
        field = Counted(Plain(run.f, stats), stats)
        method, points = run.solver.method, run.mesh.points
        times = ts.detach().requires_grad_(ctx.needs_input_grad[2])
        gts = torch.zeros_like(ts)
        gparameters: list[Tensor | None] = [None] * len(parameters)
        a = gys[-1]
        for n in reversed(range(ctx.steps)):
            inside = run.mesh.observed[n]
            observing = inside[0] < inside[1]
            y = states[n].detach().requires_grad_()
            with torch.enable_grad():
                t, h = interval(
                    times, points[n], points[n + 1], first=n == 0, last=n == ctx.steps - 1
                )
                carry = method.init(field, t, y)
                step = method.step(field, t, State(y), h, carry, advance_only=not observing)
                outputs, cotangents = [step.end.y], [a]
                if observing:
                    x = positions(times, inside, t, h)
                    outputs.append(method.interpolate(y, h, step.stages, x))
                    cotangents.append(gys[inside[0] : inside[1]])
            inputs = (y, *parameters, *((times,) if times.requires_grad else ()))
            a, *others = torch.autograd.grad(outputs, inputs, cotangents, allow_unused=True)
            for i, g in enumerate(others[: len(parameters)]):
                gparameters[i] = _sum(gparameters[i], g)
            if times.requires_grad and others[-1] is not None:
                gts += others[-1]
            stats.accept(points[n + 1] - points[n])
        leading = run.mesh.observed[0][0] if ctx.steps else len(gys) - 1
        gy0 = a + gys[:leading].sum(0)
        run.stats.add_backward(stats)
        return None, gy0, gts if ctx.needs_input_grad[2] else None, *gparameters


def _sum(total: Tensor | None, g: Tensor | None) -> Tensor | None:
    if g is None or total is None:
        return g if total is None else total
    return total + g
