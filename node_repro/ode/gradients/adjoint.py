"""The adjoint method: integrate the state, its adjoint and the parameters' gradient backwards.

With a(t) = dL/dy(t): da/dt = -a^T df/dy and dL/dtheta = int_{t0}^{t1} a^T df/dtheta dt (Chen et al.
2018, eq. (4), (5), Algorithm 2); dL/dt1 = a(t1) f(t1) and dL/dt0 = -a(t0) f(t0). The gradient is
that of the ODE, to the tolerance of the backward solve; memory is one state an output.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from node_repro.ode.field import Plain, VectorField, evaluate
from node_repro.ode.gradients import (
    Context,
    Parameters,
    declared,
    refuse_second_derivative,
    refuse_undeclared,
)
from node_repro.ode.methods import Slope, State, at
from node_repro.ode.norm import FULL, RmsNorm
from node_repro.ode.solution import Solution, SolverError, Stats, count_non_finite
from node_repro.ode.solver import Solver


@dataclass(frozen=True)
class Adjoint:
    """norm: which errors of the backward solve count (FULL: the state's, the adjoint's and every
    parameter gradient's; SEMI: the first two). rtol, atol: of the backward solve, None for the
    forward ones.
    """

    norm: RmsNorm = FULL
    rtol: float | None = None
    atol: float | None = None

    def solve(
        self, f: VectorField, y0: Tensor, ts: Tensor, solver: Solver, parameters: Parameters
    ) -> Solution:
        known = declared(parameters, "adjoint")
        backward = solver.with_tolerance(self.rtol, self.atol)
        run = _Run(f, solver, backward, self.norm)
        ys: Tensor = _Solve.apply(run, y0, ts, *known)  # type: ignore[assignment]
        return Solution(ys, run.stats)


class _Run:
    """What forward leaves for backward besides tensors: its step size, and where to count."""

    stats: Stats
    h: float

    def __init__(self, f: VectorField, forward: Solver, backward: Solver, norm: RmsNorm) -> None:
        self.f, self.forward, self.backward, self.norm = f, forward, backward, norm


class _Augmented:
    """The field of [y, a] with the integrands of the parameters' gradient, for a run backwards.

    y and a are stacked, (2, *S); the integrand of dL/dtheta is -a^T df/dtheta, as time runs
    backwards. One evaluation is one of f and one vector-Jacobian product.
    """

    def __init__(self, f: VectorField, parameters: tuple[Tensor, ...]) -> None:
        self.f, self.parameters, self.checked = f, parameters, False

    def __call__(self, t: Tensor, y: Tensor, *, integrands: bool) -> Slope:
        wanted = self.parameters if integrands else ()
        with torch.enable_grad():
            z = y[0].detach().requires_grad_()
            dz = evaluate(self.f, t, z)
        if not self.checked:
            refuse_undeclared(dz, (z, *self.parameters))
            self.checked = True
        if not dz.requires_grad:  # f depends on neither y nor a parameter
            zeros = tuple(map(torch.zeros_like, wanted))
            return Slope(torch.stack((dz, torch.zeros_like(dz))), zeros)
        da, *gs = torch.autograd.grad(
            dz, (z, *wanted), -y[1], allow_unused=True, materialize_grads=True
        )
        return Slope(torch.stack((dz.detach(), da)), tuple(gs))


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, run: _Run, y0: Tensor, ts: Tensor, *parameters: Tensor) -> Tensor:
        trajectory = run.forward.solve(Plain(run.f), State(y0), ts.detach())
        run.stats, run.h = trajectory.stats, trajectory.h
        ctx.run = run
        ctx.save_for_backward(ts, trajectory.ys, *parameters)
        return trajectory.ys

    @staticmethod
    def backward(ctx: Context, gys: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative("adjoint")
        ts, ys, *parameters = ctx.saved_tensors
        run: _Run = ctx.run
        if not torch.isfinite(gys).all():
            raise SolverError(
                "non_finite_state",
                f"the loss's gradient is not finite: {count_non_finite(gys)} of dL/dy are NaN or "
                "infinite; look for the cause behind the solve",
            )
        stats = Stats()
        wanted = [p for p, need in zip(parameters, ctx.needs_input_grad[3:], strict=True) if need]
        field = _Augmented(run.f, tuple(wanted))
        gts = torch.zeros_like(ts) if ctx.needs_input_grad[2] else None
        a = gys[-1]
        integrals = tuple(map(torch.zeros_like, wanted))
        h = -run.h
        for i in reversed(range(1, len(ts))):
            leg = run.backward.solve(
                field,
                State(torch.stack((ys[i], a)), integrals),
                ts[[i, i - 1]].detach(),
                norm=run.norm,
                first_step=h,
            )
            leg.stats.nvjp = leg.stats.nfe
            stats.add(leg.stats)
            if gts is not None:
                # the output itself moves with its time; what lies behind it feels only t0
                gts[i] = _rate(run.f, ts[i], ys[i], gys[i], stats)
            a, integrals, h = leg.end.y[1], leg.end.integrals, leg.h
            if i > 1:
                a = a + gys[i - 1]
        if gts is not None and len(ts) > 1:
            gts[0] -= _rate(run.f, ts[0], ys[0], a, stats)
        gy0 = a + gys[0] if len(ts) > 1 else a
        run.stats.add_backward(stats)
        found = iter(integrals)
        gparameters = [next(found) if need else None for need in ctx.needs_input_grad[3:]]
        return None, gy0, gts, *gparameters


def _rate(f: VectorField, t: Tensor, y: Tensor, a: Tensor, stats: Stats) -> Tensor:
    """a^T f(t, y): how fast the loss changes as an output's time moves."""
    stats.nfe += 1
    dy = evaluate(f, at(t, y), y)
    return torch.sum((a.conj() * dy).real).to(device=t.device, dtype=t.dtype)
