"""Checkpointed differentiation: keep the state at every accepted step, redo one step at a time.

The gradient is that of the discrete solution, as with direct differentiation, for O(steps) states
of memory and one more evaluation of f a stage.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from node_repro.ode.engines import Mesh, interval, positions
from node_repro.ode.field import Counted, Plain, VectorField
from node_repro.ode.gradients import (
    Context,
    Parameters,
    declared,
    refuse_second_derivative,
    refuse_undeclared,
)
from node_repro.ode.methods import State, at
from node_repro.ode.solution import Solution, Stats
from node_repro.ode.solver import Solver


@dataclass(frozen=True)
class Checkpointed:
    """A step's first slope is a function of its first state, so states are all that is kept."""

    def solve(
        self, f: VectorField, y0: Tensor, ts: Tensor, solver: Solver, parameters: Parameters
    ) -> Solution:
        known = declared(parameters, "checkpointed")
        run = _Run(f, solver)
        ys: Tensor = _Solve.apply(run, y0, ts, *known)  # type: ignore[assignment]
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
        trajectory = run.solver.solve(Plain(run.f), State(y0), ts.detach(), keep=True)
        run.mesh, run.stats = trajectory.mesh, trajectory.stats
        states = trajectory.states or (y0,)
        ctx.run, ctx.states = run, len(states)
        ctx.save_for_backward(ts, *states, *parameters)
        return trajectory.ys

    @staticmethod
    def backward(ctx: Context, gys: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative("checkpointed")
        ts, *saved = ctx.saved_tensors
        states, parameters = saved[: ctx.states], saved[ctx.states :]
        run: _Run = ctx.run
        stats = Stats()
        field = Counted(Plain(run.f, stats), stats)
        method, points = run.solver.method, run.mesh.points
        times = ts.detach().requires_grad_(ctx.needs_input_grad[2])
        wanted = [p for p, need in zip(parameters, ctx.needs_input_grad[3:], strict=True) if need]
        totals: list[Tensor | None] = [None] * (len(wanted) + 1)  # and the times'
        a, steps = gys[-1], len(points) - 1
        for n in reversed(range(steps)):
            inside = run.mesh.observed[n]
            observing = inside[0] < inside[1]
            y = states[n].detach().requires_grad_()
            with torch.enable_grad():
                t, t1 = interval(times, points[n], points[n + 1], first=n == 0, last=n == steps - 1)
                carry = method.init(field, t, y)
                if n == steps - 1:
                    refuse_undeclared(carry[0].dy, (y, *wanted, times))
                step = method.step(field, t, t1, State(y), carry, advance_only=not observing)
                outputs, cotangents = [step.end.y], [a]
                if observing:
                    x = positions(times, inside, t, t1)
                    outputs.append(method.interpolate(y, t1 - t, step.stages, x))
                    cotangents.append(gys[inside[0] : inside[1]])
            inputs = [y, *wanted, *([times] if times.requires_grad else [])]
            a, *others = torch.autograd.grad(outputs, inputs, cotangents, allow_unused=True)
            for i, g in enumerate(others):
                totals[i] = _sum(totals[i], g)
            stats.accept(points[n + 1] - points[n])
        resting = run.mesh.observed[0][0] if steps else len(gys)
        gts = totals[-1] if steps else None
        if times.requires_grad:
            gts = _sum(gts, _moving(field, states[0], ts, gys[:resting]))
        run.stats.add_backward(stats)
        found = iter(totals)
        gparameters = [next(found) if need else None for need in ctx.needs_input_grad[3:]]
        gy0 = a + gys[:resting].sum(0) if steps else gys.sum(0)
        return None, gy0, gts, *gparameters


def _moving(field: Counted, y0: Tensor, ts: Tensor, gys: Tensor) -> Tensor:
    """The gradient of the times of outputs at the start, which move at the rate f(t0, y0)."""
    gts = torch.zeros_like(ts)
    if len(gys) > 1:
        dy = field(at(float(ts[0]), y0), y0, integrands=False).dy
        rates = (gys.conj() * dy).real.flatten(1).sum(1).to(gts)
        gts[: len(gys)] += rates
        gts[0] -= rates.sum()
    return gts


def _sum(total: Tensor | None, g: Tensor | None) -> Tensor | None:
    if g is None or total is None:
        return g if total is None else total
    return total + g
