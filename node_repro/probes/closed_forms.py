"""Solutions and gradients of two initial value problems against their closed forms.

* z' = theta z, with z(t) = z0 exp(theta (t - t0));
* z' = -theta z^2, with z(t) = z0 / (1 + theta z0 (t - t0)), which is 5 / (5 x + 1) for theta = 1
  and z(0) = 5.

The loss is the sum of z over all observation times. Its gradients are all those of algorithm 2 of
the paper: with respect to z0, theta, t0, t1 and the observation times between these two. The second
problem is also solved by methods with constant steps and with error control. Everything is in
float64; the run only says on which device to compute.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from node_repro.ode.engines import StepCallbacks
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.methods import State
from node_repro.ode.odeint import odeint
from node_repro.ode.solution import Solution
from node_repro.ode.solver import RungeKutta, Solver
from node_repro.probes import Counts, Measurement, Row, Tolerances, TrainedRun
from node_repro.training.build import (
    gradient_names,
    named_gradient,
    named_solver,
    stepping_solver,
    undoes_steps,
)

METHOD, REVERSIBLE = "dopri5", "reversible_dopri5"
STEPPING = ("euler", "midpoint", "rk4")
ADAPTIVE = ("bosh3", "dopri5", "dopri8", "vode_adams")
LONG = 2.0  # x at the end of the solves without gradient
DRAWN = (("euler", 20), ("rk4", 10), ("dopri5", 1e-3), ("dopri5", 1e-6))
CURVE = 201  # points of the closed form in the picture


class Known(NamedTuple):
    """An initial value problem with a closed form.

    Attributes:
        field: f(z, theta).
        solution: z at the times ts (T,), from z0 (1,) at ts[0], given theta ().
        z0, theta: Values of the initial state and of the parameter.
        times: t0, the observation times between, and t1.
    """

    field: Callable[[Tensor, Tensor], Tensor]
    solution: Callable[[Tensor, Tensor, Tensor], Tensor]
    z0: float
    theta: float
    times: tuple[float, ...]

    def leaves(self) -> tuple[Tensor, Tensor, Tensor]:
        """z0, theta and the times, which require gradients."""
        values = ([self.z0], self.theta, self.times)
        z0, theta, ts = (torch.tensor(v, dtype=torch.float64).requires_grad_() for v in values)
        return z0, theta, ts

    def exact_gradients(self) -> Mapping[str, Tensor]:
        """The gradients of the loss, by differentiating the closed form."""
        leaves = self.leaves()
        return _by_name(torch.autograd.grad(self.solution(*leaves)[1:].sum(), leaves))


def decay(z0: Tensor, theta: Tensor, ts: Tensor) -> Tensor:
    """The closed form of z' = -theta z^2."""
    return z0 / (1 + theta * z0 * (ts - ts[0]))


DECAY = "z' = −θ z²"
PROBLEMS = {
    "z' = θ z": Known(
        lambda z, theta: theta * z,
        lambda z0, theta, ts: z0 * torch.exp(theta * (ts - ts[0])),
        z0=1.5,
        theta=0.8,
        times=(0.3, 0.7, 1.2, 2.0),
    ),
    DECAY: Known(
        lambda z, theta: -theta * z * z, decay, z0=5.0, theta=1.0, times=(0.0, 0.25, 0.5, 1.0)
    ),
}


@dataclass(frozen=True)
class ClosedForms:
    """Errors of solutions and gradients against closed forms.

    Args:
        tolerances: rtol = atol of the solves.
        steps: Numbers of constant steps.
    """

    tolerances: Tolerances
    steps: Counts

    def measure(self, run: TrainedRun) -> Measurement:
        from node_repro.figures.closed_forms import steps_and_errors

        rows: list[Row] = []
        for name, known in PROBLEMS.items():
            exact = known.exact_gradients()
            for gradient in gradient_names():
                new = [_gradient_row(known, exact, gradient, tol) for tol in self.tolerances]
                rows += [{"measured": "gradient", "problem": name, **row} for row in new]
                smallest = min(max(row[key] for key in exact) for row in new)
                run.print_progress(f"{name}, {gradient}: relative errors down to {smallest:.1e}")
        rows += [{"measured": "solution", "problem": DECAY, **row} for row in self._solutions()]
        x = torch.linspace(0, LONG, CURVE, dtype=torch.float64)
        paths = [_path(name, size) for name, size in DRAWN]
        exact_at = [_exact(torch.tensor(path[1])).tolist() for path in paths]
        drawn = [(*path, exact) for path, exact in zip(paths, exact_at, strict=True)]
        picture = steps_and_errors(x.numpy(), _exact(x).numpy(), drawn)
        return Measurement({"end": LONG}, rows, {"closed_forms.png": picture})

    def _solutions(self) -> Iterator[Row]:
        ways = [(name, steps) for name in STEPPING for steps in self.steps]
        ways += [(name, tolerance) for name in ADAPTIVE for tolerance in self.tolerances]
        for name, size in ways:
            ys, stats = _solve(_solver(name, size))
            yield {
                "solver": name,
                "steps": size if name in STEPPING else stats.accepted,
                "tolerance": None if name in STEPPING else size,
                "nfe": stats.nfe,
                "error": abs(float(ys[-1, 0] - _exact(torch.tensor([LONG]))[0])),
            }


def _by_name(gradients: Sequence[Tensor]) -> dict[str, Tensor]:
    z0, theta, ts = gradients
    return {"z0": z0, "theta": theta, "t0": ts[0], "t1": ts[-1], "ti": ts[1:-1]}


def _gradient_row(
    known: Known, exact: Mapping[str, Tensor], name: str, tolerance: float
) -> dict[str, Any]:
    """Relative errors of all gradients by one method."""
    z0, theta, ts = known.leaves()
    solver = REVERSIBLE if undoes_steps(name) else METHOD
    solution = odeint(
        lambda _, z: known.field(z, theta),
        z0,
        ts,
        solver=named_solver(solver, tolerance),
        gradient=named_gradient(name, tolerance),
        parameters=(theta,),
    )
    found = _by_name(torch.autograd.grad(solution.ys[1:].sum(), (z0, theta, ts)))
    return {
        "gradient": name,
        "solver": solver,
        "tolerance": tolerance,
        "nfe_forward": solution.stats.nfe,
        "nfe_backward": solution.stats.backward.nfe if solution.stats.backward else 0,
        **{key: float((found[key] - exact[key]).norm() / exact[key].norm()) for key in exact},
    }


def _solver(name: str, size: float) -> Solver:
    """A method with so many constant steps, or with a tolerance."""
    return stepping_solver(name, LONG / size) if name in STEPPING else named_solver(name, size)


def _solve(solver: Solver) -> Solution[Tensor]:
    """5 / (5 x + 1) at x = 0 and at the end."""
    known = PROBLEMS[DECAY]
    z0, theta, _ = (leaf.detach() for leaf in known.leaves())
    ts = torch.tensor([0.0, LONG], dtype=torch.float64)
    f = lambda _, z: known.field(z, theta)  # noqa: E731
    return odeint(f, z0, ts, solver=solver, gradient=Adjoint(), parameters=())


def _exact(x: Tensor) -> Tensor:
    """5 / (5 x + 1)."""
    return 5 / (5 * x.double() + 1)


def _path(name: str, size: float) -> tuple[str, list[float], list[float]]:
    """A title, and the ends of the steps: x and the values there."""
    x: list[float] = []
    z: list[float] = []

    def record(t: float, state: State, h: float) -> None:
        x.append(t)
        z.append(float(state.y[0]))

    solver = _solver(name, size)
    assert isinstance(solver, RungeKutta)
    ys, stats = _solve(replace(solver, callbacks=StepCallbacks(accepted=record)))
    way = f"{size} steps" if name in STEPPING else f"tolerance $10^{{{math.log10(size):.0f}}}$"
    title = f"{name}, {way}\n{stats.nfe} evaluations"
    return title, [*x, LONG], [*z, float(ys[-1, 0])]
