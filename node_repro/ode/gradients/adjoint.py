"""The adjoint method: integrate the state, its adjoint and the parameters' gradient backwards.

With a(t) = dL/dy(t): da/dt = -a^T df/dy and dL/dtheta = int_{t0}^{t1} a^T df/dtheta dt (Chen et al.
2018, eq. (4), (5), Algorithm 2); dL/dt1 = a(t1) f(t1) and dL/dt0 = -a(t0) f(t0). The gradient is
that of the ODE, to the tolerance of the backward solve; memory is one state an output.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from node_repro.ode.field import Plain, VectorField, at_times, evaluate
from node_repro.ode.gradients import (
    Context,
    Problem,
    declared,
    refuse_second_derivative,
    refuse_undeclared,
    spread,
)
from node_repro.ode.methods import Rate, Slope, State, Time, at
from node_repro.ode.norm import FULL, Norm
from node_repro.ode.solution import Solution, SolverError, Stats, count_non_finite
from node_repro.ode.solver import Solver

ASTRAY = 1.0  # as far as the state is large: nothing of the gradient can be trusted


@dataclass(frozen=True)
class Adjoint:
    """norm: which errors of the backward solve count (FULL: the state's, the adjoint's and every
    parameter gradient's, the largest; SEMI: the first two; FLAT: one mean over all). solver: of the
    backward solve, None for the forward one. rtol, atol: of the backward solve, None for its own.
    """

    norm: Norm = FULL
    solver: Solver | None = None
    rtol: float | None = None
    atol: float | None = None

    def solve(self, problem: Problem, solver: Solver) -> Solution[Tensor]:
        known = declared(problem.parameters, "adjoint")
        backward = (self.solver or solver).with_tolerance(self.rtol, self.atol)
        norm = self.norm.with_parts(problem.parts)
        run = _Run(problem, solver, backward, norm, goes_on=self.solver is None)
        ys: Tensor = _Solve.apply(run, problem.y0, problem.ts, *known)  # type: ignore[assignment]
        return Solution(ys, run.stats)


class _Run:
    """What forward leaves for backward besides tensors: its step size, and where to count.

    goes_on: whether the backward solve starts with the step size of the forward one.
    """

    stats: Stats
    h: float | None

    def __init__(
        self,
        problem: Problem,
        forward: Solver,
        backward: Solver,
        norm: Norm,
        *,
        goes_on: bool,
    ) -> None:
        self.f, self.forward_norm = problem.f, problem.norm
        self.forward, self.backward, self.norm, self.goes_on = forward, backward, norm, goes_on


class _Augmented:
    """The field of [y, a] with the integrands of the parameters' gradient, for a run backwards.

    y and a are stacked, (2, *S); the integrand of dL/dtheta is -a^T df/dtheta, as time runs
    backwards. One evaluation is one of f and one vector-Jacobian product.
    """

    def __init__(self, f: VectorField, parameters: tuple[Tensor, ...]) -> None:
        self.f, self.parameters, self.checked = f, parameters, False

    def __call__(self, t: Time, y: Tensor, *, integrands: bool) -> Slope:
        return self._slope(self.f, at(t, y), y, integrands=integrands)

    def at_times(self, times: Sequence[Time], like: Tensor) -> Sequence[Rate]:
        ts = [at(t, like) for t in times]
        with torch.enable_grad():
            fields = at_times(self.f, ts)
        return [partial(self._slope, f, t) for f, t in zip(fields, ts, strict=True)]

    def _slope(self, f: VectorField, t: Tensor, y: Tensor, *, integrands: bool) -> Slope:
        wanted = self.parameters if integrands else ()
        with torch.enable_grad():
            z = y[0].detach().requires_grad_()
            dz = evaluate(f, t, z)
        if not self.checked:
            refuse_undeclared(dz, (z, *self.parameters))
            self.checked = True
        if not dz.requires_grad:  # f depends on neither y nor a parameter
            zeros = tuple(map(torch.zeros_like, wanted))
            return Slope(torch.stack((dz, torch.zeros_like(dz))), zeros)
        da, *gs = torch.autograd.grad(
            dz,
            (z, *wanted),
            -y[1],
            retain_graph=f is not self.f,  # what depends on time alone is common to the stages
            allow_unused=True,
            materialize_grads=True,
        )
        return Slope(torch.stack((dz.detach(), da)), tuple(gs))


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, run: _Run, y0: Tensor, ts: Tensor, *parameters: Tensor) -> Tensor:
        trajectory = run.forward.solve(Plain(run.f), State(y0), ts.detach(), norm=run.forward_norm)
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
        h = -run.h if run.goes_on and run.h is not None else None
        strayed = []
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
            strayed.append(_distance(leg.end.y[0], ys[i - 1], ys[i]))
            if i > 1:
                a = a + gys[i - 1]
        if gts is not None and len(ts) > 1:
            gts[0] -= _rate(run.f, ts[0], ys[0], a, stats)
        gy0 = a + gys[0] if len(ts) > 1 else a
        if strayed:
            stats.reconstruction = float(torch.stack(strayed).max())
            _warn_of(stats.reconstruction)
        run.stats.add_backward(stats)
        return None, gy0, gts, *spread(integrals, ctx.needs_input_grad[3:])


def _rate(f: VectorField, t: Tensor, y: Tensor, a: Tensor, stats: Stats) -> Tensor:
    """a^T f(t, y): how fast the loss changes as an output's time moves."""
    stats.nfe += 1
    dy = evaluate(f, at(t, y), y)
    return torch.sum((a.conj() * dy).real).to(device=t.device, dtype=t.dtype)


def _distance(y: Tensor, true: Tensor, other: Tensor) -> Tensor:
    """The root mean square of y - true, relative to that of the leg's larger end."""
    norm = torch.linalg.vector_norm
    size = torch.maximum(norm(true), norm(other))
    return norm(y - true) / size.clamp_min(torch.finfo(size.dtype).tiny)


def _warn_of(reconstruction: float) -> None:
    if reconstruction > ASTRAY:
        warnings.warn(
            f"the backward solve came back to a state {reconstruction:.0e} away from the one it "
            "should meet (relative root mean square): the gradient is that of another trajectory; "
            "take smaller rtol and atol, float64, or gradient=checkpointed",
            stacklevel=2,
        )
