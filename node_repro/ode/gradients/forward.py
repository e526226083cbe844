"""Forward sensitivities: integrate the state's derivatives along with the state.

With S = dy/d(y0, theta): dS/dt = df/dy S + (0, df/dtheta), S(t0) = (1, 0): D + D^2 + D K equations
for D states and K parameters, where the adjoint method has 2 D + K (Chen et al. 2018,
section 7; Hairer, Norsett, Wanner: Solving ODEs I, I.14). For small D and K; nothing is solved
backwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from node_repro.ode.engines import SolveOptions
from node_repro.ode.field import Interval, Plain, VectorField, evaluate, jacobian
from node_repro.ode.gradients import Problem
from node_repro.ode.gradients.declared import Declared, declared, vjp
from node_repro.ode.gradients.function import (
    Forwarded,
    Gradients,
    Inputs,
    Saved,
    solve_with_backward,
)
from node_repro.ode.methods import Rate, Slope, State, Time, at
from node_repro.ode.methods.jacobian import RepeatedJacobian
from node_repro.ode.norm import RmsNorm
from node_repro.ode.solution import Solution, SolverError, Stats
from node_repro.ode.solver import Solver

LARGEST = 2**27  # numbers in the augmented state; a solve needs about ten times as many


@dataclass(frozen=True)
class Forward:
    """Forward sensitivities: integrate the derivatives with the state, for few states and
    parameters.

    Use it for small models, with real states and parameters. The gradient is that of the ODE, to
    the solver's tolerance: the derivatives are one more part of the state in the error norm. The
    backward pass does not evaluate f.

    Raises:
        SolverError: When it solves: the state or a parameter is complex, a norm is given, the
            states and their derivatives are more than 2^27 numbers, or what f depends on is
            unknown, as f is no module and parameters=(...) is missing (kind bad_input).

    References:
        Hairer, Norsett, Wanner: Solving ODEs I, I.14.

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> a = torch.tensor([1.0, 2.0], requires_grad=True)  # y(1) = a1 + a2 / 2
        >>> f, ts = lambda t, y: a[0] + a[1] * t, torch.tensor([0.0, 1.0])
        >>> options = {"gradient": ode.Forward(), "parameters": [a]}
        >>> ys, _ = ode.odeint(f, torch.tensor(0.0), ts, solver=ode.rk4(step_size=0.5), **options)
        >>> ys[-1].backward()
        >>> a.grad
        tensor([1.0000, 0.5000])
    """

    def solve(self, problem: Problem, solver: Solver) -> Solution[Tensor]:
        """Solve the problem along with its derivatives; see GradientMethod.solve."""
        known = declared(problem, "forward")
        if not torch.is_grad_enabled():  # no gradient is recorded
            trajectory = solver.solve(
                Plain(problem.f), State(problem.y0), problem.ts.detach(), SolveOptions(problem.norm)
            )
            return Solution(trajectory.ys, trajectory.stats)
        if problem.y0.is_complex():
            raise SolverError(
                "bad_input",
                f"gradient=forward requires real states, not {problem.y0.dtype}: split it into its "
                "real and imaginary part, or use gradient=adjoint",
            )
        if any(p.is_complex() for p in known):
            raise SolverError(
                "bad_input",
                "gradient=forward requires real parameters, but one is complex: split it into its "
                "real and imaginary part, or use gradient=adjoint",
            )
        if problem.error_norm is not None:
            raise SolverError(
                "bad_input",
                "gradient=forward controls the error of the state and its derivatives together and "
                "supports no other norm: leave out the norm, or use gradient=adjoint",
            )
        size = problem.y0.numel() * (1 + problem.y0.numel() + sum(p.numel() for p in known))
        if size > LARGEST:
            raise SolverError(
                "bad_input",
                f"gradient=forward would integrate {size:,} numbers, the states' derivatives with "
                "respect to every initial value and parameter: use gradient=adjoint",
            )
        return solve_with_backward("forward", problem, known, partial(_forward, problem, solver))


class _Sensitivities:
    """The field of y and its derivatives, stacked: (1 + D + K, *S), row 0 is y."""

    def __init__(
        self,
        f: VectorField,
        parameters: tuple[Tensor, ...],
        frozen: tuple[Tensor, ...],
        stats: Stats,
    ) -> None:
        self.f, self.parameters, self.stats = f, parameters, stats
        self.declared = Declared((*parameters, *frozen), expected=False)
        self.vjps: Stats | None = None

    def at_times(self, times: Sequence[Time], like: Tensor) -> Sequence[Rate]:
        return [partial(self, t) for t in times]

    def jacobian(self, t: Time, y: Tensor) -> RepeatedJacobian:
        return RepeatedJacobian(jacobian(self.f, t, y[0]))

    def __call__(self, t: Time, y: Tensor, *, integrands: bool) -> Slope:
        t = at(t, y)
        with torch.enable_grad():
            z = y[0].detach().requires_grad_()
            dz = self.declared.evaluate(self.f, t, z)
        count = dz.numel()
        if not dz.requires_grad or not count:  # f depends on neither y nor a parameter
            return Slope(torch.cat((dz.detach().unsqueeze(0), torch.zeros_like(y[1:]))))
        self.stats.nvjp += count
        each = torch.eye(count, dtype=y.dtype, device=y.device).reshape(count, *dz.shape)
        wanted = (z, *self.parameters)
        found = vjp(dz, wanted, each, is_grads_batched=True)
        jacobian, *by_parameter = (
            x.new_zeros(count, x.numel()) if g is None else g.reshape(count, x.numel())
            for x, g in zip(wanted, found, strict=True)
        )
        ds = y[1:].reshape(-1, count) @ jacobian.T
        if by_parameter:
            ds[count:] += torch.cat(by_parameter, dim=1).T
        return Slope(torch.cat((dz.detach().unsqueeze(0), ds.reshape(y[1:].shape))))


def _forward(problem: Problem, solver: Solver, inputs: Inputs) -> Forwarded:
    y0, ts, wanted, times, _ = inputs
    count, columns = y0.numel(), y0.numel() + sum(p.numel() for p in wanted)
    start = y0.new_zeros(1 + columns, count)
    start[0] = y0.reshape(-1)
    start[1 : 1 + count] = torch.eye(count, dtype=y0.dtype, device=y0.device)
    nvjp = Stats()
    trajectory = solver.solve(
        _Sensitivities(problem.f, wanted, problem.frozen, nvjp),
        State(start.reshape(1 + columns, *y0.shape)),
        ts,
        SolveOptions(RmsNorm(parts=(*(problem.parts or (count,)), columns * count))),
    )
    stats, ys = trajectory.stats, trajectory.ys
    stats.nvjp += nvjp.nvjp
    # the backward pass does not evaluate f: save the rates of the outputs
    rates = y0.new_zeros(0)
    if times:
        stats.nfe += len(ts)
        span = Interval.between(float(ts[0]), float(ts[-1]), y0.dtype)
        each = (at(span.clip(float(t)), y0) for t in ts)
        values = [evaluate(problem.f, t, y) for t, y in zip(each, ys[:, 0], strict=True)]
        rates = torch.stack(values).reshape(len(ts), count)
    product = _Product(tuple(p.shape for p in wanted))
    return Forwarded(ys[:, 0].clone(), stats, (ys, rates), product, evaluates_f=False)


@dataclass(frozen=True)
class _Product:
    """The backward pass: products of dL/dy with the sensitivities, without a solve.

    Attributes:
        shapes: The shapes of the parameters that require a gradient.
    """

    shapes: tuple[torch.Size, ...]

    def gradients(self, saved: Saved, gys: Tensor, stats: Stats) -> Gradients:
        """See BackwardPass.gradients."""
        ts, (ys, rates) = saved.ts, saved.tensors
        count = gys[0].numel()
        g = gys.reshape(len(ts), count)
        sensitivities = ys[:, 1:].reshape(len(ts), ys.shape[1] - 1, count)
        # every output's cotangent with every column; then a column for each number
        by_output = torch.einsum("td,tcd->tc", g, sensitivities)
        total = by_output.sum(0)
        gts = None
        if saved.times:
            gts = torch.einsum("td,td->t", g, rates).to(ts)
            gts[0] = -(by_output[1:, :count].sum(0) @ rates[0])
        gy0, *flat = total.split([count, *(shape.numel() for shape in self.shapes)])
        by_parameter = [g.reshape(shape) for g, shape in zip(flat, self.shapes, strict=True)]
        return Gradients(gy0.reshape(gys[0].shape), gts, by_parameter)
