"""The methods, controllers and gradient methods under test, read from conf/: a new yaml file is
tested without a change here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from node_repro.ode import RungeKutta
from node_repro.ode.controllers import Controller
from node_repro.ode.controllers.constant import Constant
from node_repro.ode.field import jacobian
from node_repro.ode.gradients import GradientMethod, Problem
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.gradients.forward import Forward
from node_repro.ode.gradients.reversible import Reversible
from node_repro.ode.methods import Method, Rate, Slope, Time, at
from node_repro.ode.methods.dopri5 import DOPRI5
from node_repro.ode.methods.explicit import RK4
from node_repro.ode.methods.implicit import ImplicitRungeKutta
from node_repro.ode.methods.jacobian import Jacobian
from node_repro.ode.methods.reversible import Coupled
from node_repro.ode.methods.runge_kutta import ExplicitRungeKutta
from node_repro.ode.norm import FULL
from node_repro.ode.solution import Solution, Stats
from node_repro.ode.solver import Solver

CONF = Path(__file__).parents[2] / "conf"


def _choices(group: str) -> dict[str, dict[str, Any]]:
    files = sorted((CONF / group).glob("*.yaml"))
    return {file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file in files}


def _found(path: str) -> Any:  # noqa: ANN401
    module, name = path.rsplit(".", 1)
    return getattr(import_module(module), name)


def _arguments(choice: dict[str, Any]) -> dict[str, Any]:
    """What a yaml gives to the constructor, but for what it takes from the command line."""
    return {
        key: value
        for key, value in choice.items()
        if not key.startswith("_") and not str(value).startswith("${") and key != "defaults"
    }


def _coupled(method: Method) -> Method:
    """The method itself if it can be undone, or else coupled with itself. Implicit ones cannot be
    coupled (gradient=reversible refuses them): coupled steps of order 4 take their place.
    """
    if isinstance(method, ImplicitRungeKutta):
        return Coupled(DOPRI5 if method.adaptive else RK4)
    return Coupled(method) if isinstance(method, ExplicitRungeKutta) else method


@dataclass(frozen=True)
class WithCoupling:
    """gradient=reversible for every solver: a method that cannot be undone is coupled first."""

    gradient: Reversible

    def solve(self, problem: Problem, solver: Solver) -> Solution[Tensor]:
        assert isinstance(solver, RungeKutta)
        return self.gradient.solve(problem, replace(solver, method=_coupled(solver.method)))


@dataclass(frozen=True)
class JudgedWherePossible(Adjoint):
    """Leaves the norm out where the backward solve controls no error, as Adjoint refuses one."""

    def solve(self, problem: Problem, solver: Solver) -> Solution[Tensor]:
        if (self.solver or solver).controls_error:
            return super().solve(problem, solver)
        return Adjoint(FULL, self.solver, self.rtol, self.atol).solve(problem, solver)


def taken(gradient: str, solver: RungeKutta) -> RungeKutta:
    """The solver that GRADIENTS[gradient] solves with if it is given this one."""
    if isinstance(GRADIENTS[gradient], WithCoupling):
        return replace(solver, method=_coupled(solver.method))
    return solver


def _gradient(choice: dict[str, Any]) -> GradientMethod:
    arguments = {key: value for key, value in _arguments(choice).items() if value is not None}
    if "norm" in arguments:
        arguments["norm"] = _found(arguments["norm"])
    gradient = _found(choice["_target_"])(**arguments)
    if isinstance(gradient, Adjoint) and gradient.norm != FULL:
        return JudgedWherePossible(**arguments)
    return WithCoupling(gradient) if isinstance(gradient, Reversible) else gradient


_SOLVERS = _choices("solver")
METHODS: dict[str, Method] = {
    name: _found(choice["method"]) for name, choice in _SOLVERS.items() if choice.get("method")
}
HOSTS = {name: choice for name, choice in _SOLVERS.items() if not choice.get("method")}
TABLEAUS = {name: m for name, m in METHODS.items() if isinstance(m, ExplicitRungeKutta)}
IMPLICIT = {name: m for name, m in METHODS.items() if isinstance(m, ImplicitRungeKutta)}
REVERSIBLE = {name: m for name, m in METHODS.items() if hasattr(m, "unstep")}
ADAPTIVE = {name: method for name, method in METHODS.items() if method.adaptive}
STABLE = {name: method for name, method in ADAPTIVE.items() if name not in REVERSIBLE}
"""Those that damp what the solution damps; of the reversible ones see test_reversible.py."""
CONTROLLERS = {name: c for name, c in _choices("controller").items() if c["_target_"]}
TOLERANCE = [name for name, choice in CONTROLLERS.items() if name != "constant"]
GRADIENTS = {name: _gradient(choice) for name, choice in _choices("gradient").items()}
ADJOINTS = {name: method for name, method in GRADIENTS.items() if isinstance(method, Adjoint)}
REAL_ONLY = [name for name, method in GRADIENTS.items() if isinstance(method, Forward)]
DISCRETE = [name for name in GRADIENTS if name not in (*ADJOINTS, *REAL_ONLY)]
"""Those whose gradient is that of the steps taken; the others approach that of the ODE."""


def controller(name: str, **changes: Any) -> Controller:
    """An error-controlling controller with its yaml's numbers, and tolerances given here."""
    choice = CONTROLLERS[name]
    return _found(choice["_target_"])(**(_arguments(choice) | changes))


def adaptive(
    method: str = "dopri5", tol: float = 1e-6, control: str = "integral", **changes: Any
) -> RungeKutta:
    """A solver that keeps rtol = atol = tol."""
    return RungeKutta(METHODS[method], controller(control, rtol=tol, atol=tol, **changes))


def host(name: str, tol: float) -> Solver:
    """A solver of scipy, with rtol = atol = tol."""
    choice = HOSTS[name]
    return _found(choice["_target_"])(rtol=tol, atol=tol, **_arguments(choice))


def steps(method: str, size: float) -> RungeKutta:
    """A solver with steps of one size."""
    return RungeKutta(METHODS[method], Constant(size))


def real(*values: float) -> Tensor:
    """A float64 vector."""
    return torch.tensor(values, dtype=torch.float64)


def leaf(*values: float) -> Tensor:
    """A float64 vector that requires a gradient."""
    return real(*values).requires_grad_()


class Net(nn.Module):
    """A smooth field with time, two layers and known random weights."""

    def __init__(self, size: int = 3, hidden: int = 5, seed: int = 0, gain: float = 1.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)

        def weights(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64) * 0.5)

        self.inner, self.bias = weights(hidden, size + 1), weights(hidden)
        self.inner.data *= gain
        self.outer = weights(size, hidden)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        ty = torch.cat((t.expand(*y.shape[:-1], 1), y), dim=-1)
        return torch.tanh(ty @ self.inner.T + self.bias) @ self.outer.T


@dataclass(frozen=True)
class FieldOf:
    """A Field made of a function (t, y, *, integrands) -> Slope."""

    function: Callable[..., Slope]

    def __call__(self, t: Time, y: Tensor, *, integrands: bool) -> Slope:
        return self.function(at(t, y), y, integrands=integrands)

    def at_times(self, times: Sequence[Time], like: Tensor) -> list[Rate]:
        return [partial(self, t) for t in times]

    def jacobian(self, t: Time, y: Tensor) -> Jacobian:
        return jacobian(lambda t, y: self.function(t, y, integrands=False).dy, t, y)

    @property
    def vjps(self) -> Stats | None:
        return None


class Calls:
    """Counts the calls of a field, and remembers their times."""

    def __init__(self, f: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.f = f
        self.times: list[float] = []

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        self.times.append(float(t))
        return self.f(t, y)
