"""The adjoint method: integrate the state, its adjoint and the parameters' gradient backwards.

With a(t) = dL/dy(t): da/dt = -a^T df/dy and dL/dtheta = int_{t0}^{t1} a^T df/dtheta dt (Chen et al.
2018, eq. (4), (5), Algorithm 2); dL/dt1 = a(t1) f(t1) and dL/dt0 = -a(t0) f(t0). The gradient is
that of the ODE, to the tolerance of the backward solve; memory is one state per output.
"""

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from node_repro.ode.engines import Jump, SolveOptions
from node_repro.ode.engines.parametrized import parametrized
from node_repro.ode.engines.pure import PureAdjoint, Traced
from node_repro.ode.field import Interval, VectorField, at_times, evaluate, jacobian
from node_repro.ode.gradients import Problem
from node_repro.ode.gradients.declared import Declared, declared, vjp
from node_repro.ode.gradients.function import (
    Forwarded,
    Gradients,
    Inputs,
    Saved,
    solve_forward,
    solve_with_backward,
)
from node_repro.ode.gradients.saved_function import SavedFunction
from node_repro.ode.methods import Rate, Slope, State, Time, at, to_device
from node_repro.ode.methods.jacobian import AdjointJacobian
from node_repro.ode.norm import FULL, Norm
from node_repro.ode.solution import Solution, SolverError, Stats, count_non_finite
from node_repro.ode.solver import Solver, check_choices

LARGEST_DRIFT = 1.0  # relative to the state; the gradient is unreliable beyond it


@dataclass(frozen=True)
class Adjoint:
    """The adjoint method: solve backwards in time, with one state per output in memory.

    Use it where memory is short, with any solver. The gradient is that of the ODE, as accurate as
    the backward solve: it differs from that of the discrete solution by about the tolerances.

    Args:
        norm: Which errors of an error-controlled backward solve count: FULL the largest of the
            state's, the adjoint's and every parameter gradient's, SEMI the first two, FLAT one mean
            over all.
        solver: Solver of the backward solve; None for the forward one.
        rtol: Relative tolerance of the backward solve; None for its solver's own.
        atol: Absolute tolerance of the backward solve; None for its solver's own.

    Raises:
        SolverError: solver is not a solver. When it solves: a norm or tolerance is given and the
            backward solve has constant steps, or what f depends on is unknown, as f is no module
            and parameters=(...) is missing (kind bad_input). In the backward pass: dL/dy is not
            finite, or the backward solve failed.

    References:
        Chen, Rubanova, Bettencourt, Duvenaud: Neural ordinary differential equations, 2018,
        section 2 and Algorithm 2.

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> y0, ts = torch.tensor(1.0, requires_grad=True), torch.tensor([0.0, 1.0])
        >>> options = {"solver": ode.dopri5(rtol=1e-6, atol=1e-6), "parameters": ()}
        >>> ys, stats = ode.odeint(lambda t, y: -y, y0, ts, gradient=ode.Adjoint(), **options)
        >>> ys[-1].backward()
        >>> torch.allclose(y0.grad, torch.exp(-ts[-1]), rtol=1e-4), stats.backward.nfe > 0
        (True, True)
    """

    norm: Norm = FULL
    solver: Solver | None = None
    rtol: float | Tensor | None = None
    atol: float | Tensor | None = None

    def __post_init__(self) -> None:
        if self.solver is not None:
            check_choices(solver=self.solver)

    def solve(self, problem: Problem, solver: Solver) -> Solution[Tensor]:
        """Solve the problem; the backward pass solves for the adjoint. See GradientMethod.solve."""
        known = declared(problem, "adjoint")
        backward = (self.solver or solver).with_tolerance(self.rtol, self.atol)
        if self.norm != FULL and not backward.controls_error:
            raise SolverError(
                "bad_input",
                "the backward solve has constant steps, where a norm has no effect: leave out the "
                "norm of Adjoint, or pass an error-controlled solver to it",
            )
        norm = self.norm.with_parts(problem.parts)

        def forward(inputs: Inputs) -> Forwarded:
            saved, trajectory = solve_forward(problem, known, solver, inputs)
            ys, carry = trajectory.ys, trajectory.carry
            # not the slope at the end where it is that of a second state (reversible methods) or
            # only as accurate as an iteration (implicit methods)
            end = carry.slope if carry.twin is None and carry.newton is None else None
            if end is None:
                saved.remember(ys[0], trajectory.slope)
            else:
                saved.remember(ys[-1], end.dy)
            h = None if self.solver is not None or trajectory.h is None else -trajectory.h
            back = _AdjointPass(saved, backward, norm, problem.frozen, h, end is not None)
            return Forwarded(ys, trajectory.stats, (ys,), back)

        return solve_with_backward("adjoint", problem, known, forward)


@dataclass(frozen=True)
class _AdjointPass:
    """The backward pass.

    Attributes:
        f: The vector field of the forward pass.
        solver: The solver of the backward solve.
        norm: The norm of its error.
        frozen: The tensors that f depends on but that get no gradient.
        h: The signed first step; None leaves it to the solver.
        at_end: Whether the stored value of f is from the end of the forward solve, not its start.
    """

    f: SavedFunction
    solver: Solver
    norm: Norm
    frozen: tuple[Tensor, ...]
    h: float | None
    at_end: bool

    def gradients(self, saved: Saved, gys: Tensor, stats: Stats) -> Gradients:
        """See BackwardPass.gradients."""
        if not torch.isfinite(gys).all():
            raise SolverError(
                "non_finite_state",
                f"the loss's gradient is not finite: {count_non_finite(gys)} of dL/dy are NaN or "
                "infinite; check the loss and what is computed from the solution",
            )
        with self.f.restored() as f:
            return _Backward(self, f, saved, stats).gradients(gys)


class _Augmented:
    """The field of the backward solve: [y, a], and the integrand of the parameters' gradient.

    y and a are stacked, (2, *S); the integrand of dL/dtheta is -a^T df/dtheta, as time runs
    backwards. An evaluation takes one evaluation of f and one vector-Jacobian product.

    Attributes:
        f: The vector field.
        parameters: The parameters that require a gradient.
        declared: Evaluates f, and checks that it depends on declared tensors only.
        vjps: None: products of this field are not counted.
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

    def traced(self) -> Traced:
        """See Traceable.traced."""
        function = parametrized(self.f, self.parameters)
        return Traced(PureAdjoint, function, function.parameters)

    def around(self, f: VectorField) -> "_Augmented":
        """See Traceable.around."""
        other = copy.copy(self)
        other.f = f
        return other

    def _slope(self, f: VectorField, t: Tensor, y: Tensor, *, integrands: bool) -> Slope:
        wanted = self.parameters if integrands else ()
        with torch.enable_grad():
            z = y[0].detach().requires_grad_()
            dz = self.declared.evaluate(f, t, z)
        dy = dz.detach()
        if not dz.requires_grad:  # f depends on neither y nor a parameter
            zeros = tuple(map(torch.zeros_like, wanted))
            return Slope(torch.stack((dy, torch.zeros_like(dy))), zeros)
        # the stages share the graph of what depends on time only, so it is retained
        shared = f is not self.f
        inputs = (z, *wanted)
        da, *gs = vjp(dz, inputs, -y[1], retain_graph=shared, materialize_grads=True)
        return Slope(torch.stack((dy, da)), tuple(gs))


def _observe(y: Tensor, tensors: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """The jump at an output time: the stored state, and the adjoint plus dL/dy of the output."""
    true, gy, size = tensors
    return torch.stack((true, y[1] + gy)), torch.linalg.vector_norm(y[0] - true) / size


class _Backward:
    """The backward solve, from the last output to the first, with a jump at each between them.

    Attributes:
        back: The backward pass.
        f: The vector field, with the parameters of the forward pass.
        saved: The tensors of the forward pass.
        stats: Counts the work.
        ys: The outputs, (T, *S).
        ts: Their times, (T,), without a graph.
        interval: The times at which f may be evaluated.
    """

    def __init__(self, back: _AdjointPass, f: VectorField, saved: Saved, stats: Stats) -> None:
        self.back, self.f, self.saved, self.stats = back, f, saved, stats
        (self.ys,) = saved.tensors
        self.ts = saved.ts.detach()
        ends = float(self.ts[0]), float(self.ts[-1])
        self.interval = Interval.between(*ends, self.ys.dtype.to_real())

    def gradients(self, gys: Tensor) -> Gradients:
        """See BackwardPass.gradients."""
        back, ts, ys, wanted = self.back, self.ts, self.ys, self.saved.parameters
        field = _Augmented(self.f, wanted, back.frozen, restorable=back.f.restorable)
        gts = torch.zeros_like(ts) if self.saved.times else None
        integrals = tuple(map(torch.zeros_like, wanted))
        if len(ts) == 1:
            return Gradients(gys[-1], gts, integrals)
        sizes = self._sizes()
        jump = Jump(_observe, (ys.flip(0), gys.flip(0), sizes)) if len(ts) > 2 else None
        start = State(torch.stack((ys[-1], gys[-1])), integrals)
        options = SolveOptions(back.norm, back.h, jump=jump)
        solved = back.solver.solve(field, start, ts.flip(0), options)
        if jump is not None and solved.deviation is None:
            raise SolverError(
                "bad_input",
                f"{type(back.solver).__name__}.solve ignores SolveOptions.jump, which the adjoint "
                "needs at the output times: call ode.engines.solve_with_jumps there",
            )
        solved.stats.nvjp += solved.stats.nfe - solved.stats.jacobians
        self.stats.add(solved.stats)
        y, a = solved.end.y
        if gts is not None:
            for i in range(1, len(ts)):
                # an output's time changes that output; later outputs depend on t0 only
                gts[i] = _product(gys[i], self._rate(i))
        moving = self._rate(0) if gts is not None or not back.at_end else None
        if gts is not None and moving is not None:
            gts[0] -= _product(a, moving)
        drift = torch.linalg.vector_norm(y - ys[0]) / sizes[-1]
        if solved.deviation is not None:
            drift = torch.maximum(drift, to_device(solved.deviation, drift))
        self._check(drift, moving, None if solved.slope is None else solved.slope[0])
        return Gradients(a + gys[0], gts, solved.end.integrals)

    def _sizes(self) -> Tensor:
        """The norm of the larger end of each interval, by which a drift is measured.

        Returns:
            (T,), from the last output to the first; an interval is at its earlier end.
        """
        rows = self.ys.reshape(len(self.ys), self.ys[0].numel())
        norms = torch.linalg.vector_norm(rows, dim=1).flip(0)
        larger = torch.cat((norms[:1], torch.maximum(norms[1:], norms[:-1])))
        return larger.clamp_min(torch.finfo(norms.dtype).tiny)

    def _rate(self, i: int) -> Tensor:
        """f at the output i."""
        self.stats.nfe += 1
        y = self.ys[i]
        return evaluate(self.f, at(self.interval.clip(float(self.ts[i])), y), y).detach()

    def _check(self, drift: Tensor, moving: Tensor | None, last: Tensor | None) -> None:
        """Report the drift of the state, and check that f has not changed.

        Args:
            drift: The drift of the state, a scalar.
            moving: f at the first output, if it was evaluated.
            last: f at the last output, where the backward solve evaluated it.
        """
        saved, i = self.back.f, -1 if self.back.at_end else 0
        y, dy = self.ys[i], last if self.back.at_end else moving
        deviation = torch.zeros_like(drift) if dy is None else saved.deviation(y, dy)
        found = torch.stack((drift, deviation)).tolist()
        self.stats.reconstruction = found[0]
        if dy is not None:
            t = at(self.interval.clip(float(self.ts[i])), y)
            saved.check(found[1], lambda: evaluate(self.f, t, y).detach(), dy)
        _warn_of_drift(found[0])


def _product(a: Tensor, dy: Tensor) -> Tensor:
    """a^T f(t, y), the derivative of the loss with respect to an output's time, on the host."""
    return torch.sum((a.conj() * dy).real).to(device="cpu", dtype=torch.float64)


def _warn_of_drift(reconstruction: float) -> None:
    if reconstruction > LARGEST_DRIFT:
        warnings.warn(
            "the backward solve drifted: the relative RMS error of the reconstructed state is "
            f"{reconstruction:.0e}, so the gradient is that of another trajectory; take smaller "
            "rtol and atol, float64, or gradient=checkpointed",
            stacklevel=2,
        )
