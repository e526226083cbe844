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

from node_repro.ode.engines import SolveOptions
from node_repro.ode.field import Interval, Plain, VectorField, at_times, evaluate, jacobian
from node_repro.ode.gradients import Context, Problem, saved_tensors, spread
from node_repro.ode.gradients.declared import Declared, declared, evaluation, vjp
from node_repro.ode.gradients.saved_function import SavedFunction
from node_repro.ode.methods import Rate, Slope, State, Time, at
from node_repro.ode.methods.jacobian import AdjointJacobian
from node_repro.ode.norm import FULL, Norm
from node_repro.ode.solution import Solution, SolverError, Stats, count_non_finite
from node_repro.ode.solver import Solver

LARGEST_DRIFT = 1.0  # relative to the state: beyond it nothing of the gradient can be trusted


@dataclass(frozen=True)
class Adjoint:
    """norm: which errors of the backward solve count (FULL: the state's, the adjoint's and every
    parameter gradient's, the largest; SEMI: the first two; FLAT: one mean over all). solver: of the
    backward solve, None for the forward one. rtol, atol: of the backward solve, None for its own.
    """

    norm: Norm = FULL
    solver: Solver | None = None
    rtol: float | Tensor | None = None
    atol: float | Tensor | None = None

    def solve(self, problem: Problem, solver: Solver) -> Solution[Tensor]:
        known = declared(problem, "adjoint")
        run = _Run(self, problem, solver, known)
        ys: Tensor = _Solve.apply(run, problem.y0, problem.ts, *known)  # type: ignore[assignment]
        return Solution(ys, run.stats)


class _Run:
    """What the forward pass leaves for the backward pass besides tensors.

    Attributes:
        saved: The vector field.
        goes_on: Whether the backward solve starts with the step size that the forward one ended
            with.
        h: That step size.
        at_end: Whether f's value that is remembered is that at the end of the solve, and not that
            at the start.
        stats: What the forward solve cost, and where the backward solve is counted.
    """

    stats: Stats
    h: float | None
    at_end: bool

    def __init__(
        self, adjoint: Adjoint, problem: Problem, solver: Solver, known: tuple[Tensor, ...]
    ) -> None:
        self.saved = SavedFunction(problem.f, known)
        self.evaluate = evaluation(problem, known)
        self.frozen = problem.frozen
        self.forward, self.forward_norm = solver, problem.norm
        self.backward = (adjoint.solver or solver).with_tolerance(adjoint.rtol, adjoint.atol)
        self.norm = adjoint.norm.with_parts(problem.parts)
        self.goes_on = adjoint.solver is None


class _Augmented:
    """The field of [y, a] with the integrand of the parameters' gradient, for a backward solve.

    y and a are stacked, (2, *S); the integrand of dL/dtheta is -a^T df/dtheta, as time runs
    backwards. One evaluation is one of f and one vector-Jacobian product.

    Attributes:
        first: The first (y, f(t, y)).
    """

    def __init__(
        self,
        f: VectorField,
        parameters: tuple[Tensor, ...],
        frozen: tuple[Tensor, ...],
        *,
        restorable: bool,
    ) -> None:
        self.f, self.parameters = f, parameters
        expected = bool(parameters) and not restorable
        self.declared = Declared((*parameters, *frozen), expected=expected)
        self.first: tuple[Tensor, Tensor] | None = None
        self.vjps: Stats | None = None

    def __call__(self, t: Time, y: Tensor, *, integrands: bool) -> Slope:
        return self._slope(self.f, at(t, y), y, integrands=integrands)

    def at_times(self, times: Sequence[Time], like: Tensor) -> Sequence[Rate]:
        ts = [at(t, like) for t in times]
        with torch.enable_grad():
            fields = at_times(self.f, ts)
        return [partial(self._slope, f, t) for f, t in zip(fields, ts, strict=True)]

    def jacobian(self, t: Time, y: Tensor) -> AdjointJacobian:
        return AdjointJacobian(jacobian(self.f, t, y[0]))

    def _slope(self, f: VectorField, t: Tensor, y: Tensor, *, integrands: bool) -> Slope:
        wanted = self.parameters if integrands else ()
        with torch.enable_grad():
            z = y[0].detach().requires_grad_()
            dz = self.declared.evaluate(f, t, z)
        dy = dz.detach()
        if self.first is None:
            self.first = z.detach(), dy
        if not dz.requires_grad:  # f depends on neither y nor a parameter
            zeros = tuple(map(torch.zeros_like, wanted))
            return Slope(torch.stack((dy, torch.zeros_like(dy))), zeros)
        # what depends on time alone is common to the stages: its graph is kept
        shared = f is not self.f
        inputs = (z, *wanted)
        da, *gs = vjp(dz, inputs, -y[1], retain_graph=shared, materialize_grads=True)
        return Slope(torch.stack((dy, da)), tuple(gs))


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, run: _Run, y0: Tensor, ts: Tensor, *parameters: Tensor) -> Tensor:
        start, times = State(y0.detach()), ts.detach()
        with run.saved.solving() as f:
            trajectory = run.forward.solve(
                Plain(f, evaluate=run.evaluate), start, times, SolveOptions(run.forward_norm)
            )
        ys, carry = trajectory.ys, trajectory.carry
        run.stats, run.h = trajectory.stats, trajectory.h
        # a method with a second state knows the slope of that one, and an implicit one knows it to
        # the accuracy of its iteration
        run.at_end = carry.slope is not None and carry.twin is None and carry.newton is None
        if carry.slope is not None and run.at_end:
            run.saved.remember(ys[-1], carry.slope.dy)
        elif trajectory.slope is not None:
            run.saved.remember(ys[0], trajectory.slope)
        ctx.run = run
        ctx.save_for_backward(ts, ys, *parameters)
        return ys

    @staticmethod
    def backward(ctx: Context, gys: Tensor) -> tuple[Tensor | None, ...]:
        ts, ys, *parameters = saved_tensors(ctx, gys, "adjoint")
        if not torch.isfinite(gys).all():
            raise SolverError(
                "non_finite_state",
                f"the loss's gradient is not finite: {count_non_finite(gys)} of dL/dy are NaN or "
                "infinite; look for the cause behind the solve",
            )
        needed = ctx.needs_input_grad[3:]
        wanted = tuple(p for p, need in zip(parameters, needed, strict=True) if need)
        run: _Run = ctx.run
        with run.saved.restored() as f:
            gy0, gts, integrals = _Backward(run, f, ts, ys, wanted).gradients(
                gys, times=ctx.needs_input_grad[2]
            )
        return None, gy0, gts, *spread(integrals, needed)


class _Backward:
    """One backward pass: from the last observation to the first, a solve for every interval."""

    def __init__(
        self, run: _Run, f: VectorField, ts: Tensor, ys: Tensor, wanted: tuple[Tensor, ...]
    ) -> None:
        self.run, self.f, self.ts, self.ys, self.wanted = run, f, ts.detach(), ys, wanted
        self.interval = Interval.between(float(ts[0]), float(ts[-1]), ys.dtype.to_real())
        self.stats = Stats()

    def gradients(
        self, gys: Tensor, *, times: bool
    ) -> tuple[Tensor, Tensor | None, tuple[Tensor, ...]]:
        """Of y0, of the times, and of the wanted parameters. gys: dL/dys, (T, *S)."""
        run, ts, ys, stats = self.run, self.ts, self.ys, self.stats
        restorable = run.saved.restorable
        field = _Augmented(self.f, self.wanted, run.frozen, restorable=restorable)
        gts = torch.zeros_like(ts) if times else None
        a = gys[-1]
        integrals = tuple(map(torch.zeros_like, self.wanted))
        h = -run.h if run.goes_on and run.h is not None else None
        drifts = []
        for i in reversed(range(1, len(ts))):
            start = State(torch.stack((ys[i], a)), integrals)
            leg = run.backward.solve(field, start, ts[[i, i - 1]], SolveOptions(run.norm, h))
            leg.stats.nvjp += leg.stats.nfe - leg.stats.jacobians
            stats.add(leg.stats)
            if gts is not None:
                # the output itself moves with its time; what lies behind it feels only t0
                gts[i] = _product(gys[i], self._rate(i))
            a, integrals, h = leg.end.y[1], leg.end.integrals, leg.h
            drifts.append(_distance(leg.end.y[0], ys[i - 1], ys[i]))
            if i > 1:
                a = a + gys[i - 1]
        if not drifts:
            run.stats.add_backward(stats)
            return a, gts, integrals
        moving = self._rate(0) if gts is not None or not run.at_end else None
        if gts is not None and moving is not None:
            gts[0] -= _product(a, moving)
        self._check(field, drifts, moving)
        run.stats.add_backward(stats)
        return a + gys[0], gts, integrals

    def _rate(self, i: int) -> Tensor:
        """f at the output i."""
        self.stats.nfe += 1
        y = self.ys[i]
        return evaluate(self.f, at(self.interval.clip(float(self.ts[i])), y), y).detach()

    def _check(self, field: _Augmented, drifts: list[Tensor], moving: Tensor | None) -> None:
        """Look at how far y came back from where it began, and whether f is still the same."""
        saved, i = self.run.saved, -1 if self.run.at_end else 0
        first = field.first if self.run.at_end or moving is None else (self.ys[0], moving)
        assert first is not None
        y, dy = first
        found = torch.stack((torch.stack(drifts).max(), saved.deviation(y, dy))).tolist()
        self.stats.reconstruction = found[0]
        t = at(self.interval.clip(float(self.ts[i])), y)
        saved.check(found[1], lambda: evaluate(self.f, t, y).detach(), dy)
        _warn_of_drift(found[0])


def _product(a: Tensor, dy: Tensor) -> Tensor:
    """a^T f(t, y): how fast the loss changes as an output's time moves, on the host."""
    return torch.sum((a.conj() * dy).real).to(device="cpu", dtype=torch.float64)


def _distance(y: Tensor, true: Tensor, other: Tensor) -> Tensor:
    """The root mean square of y - true, relative to that of the leg's larger end."""
    norm = torch.linalg.vector_norm
    size = torch.maximum(norm(true), norm(other))
    return norm(y - true) / size.clamp_min(torch.finfo(size.dtype).tiny)


def _warn_of_drift(reconstruction: float) -> None:
    if reconstruction > LARGEST_DRIFT:
        warnings.warn(
            "the backward solve drifted: the relative RMS error of the reconstructed state is "
            f"{reconstruction:.0e}, so the gradient is that of another trajectory; take smaller "
            "rtol and atol, float64, or gradient=checkpointed",
            stacklevel=2,
        )
