"""The measurements of `make numerics`: work and error of solvers, orders, errors of gradients.

The solvers, gradient methods and problems are those of the tests (tests/ode/chosen.py, problems.py,
detest.py and orders.py). Evaluations of f are counted; nothing is timed.
"""

import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torchdiffeq
from scipy.integrate import solve_ivp
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "ode"))

# pyright: reportMissingImports=false
import chosen
import orders
from detest import DETEST
from problems import (
    Problem,
    arenstorf,
    brusselator,
    for_numpy,
    kepler,
    linear_ten,
    lorenz,
    modulated,
)

from node_repro.ode import SolverError, odeint
from node_repro.ode.solver import RungeKutta, Solver

DIRECT = chosen.GRADIENTS["direct"]
PROBLEMS = (modulated(), kepler(0.5), arenstorf(), lorenz(), brusselator(), linear_ten())
ENOUGH = 20_000  # evaluations of f: smaller tolerances are left out
DIGITS = 1e-12  # errors below this are those of the references


class Point(NamedTuple):
    """A solve at one tolerance: evaluations of f, error at the end, and largest error at any
    output. Errors are root mean squares over the elements in units of 1 + |y|.
    """

    tol: float
    nfe: int
    end: float
    outputs: float


Solve = Callable[[Problem, Tensor, float], tuple[Tensor, int]]
"""(problem, ts, tol) -> the states at ts, and how often f was evaluated."""


def host(name: str, tol: float) -> Solver:
    """One of scipy's integrators by our adapter."""
    choice = chosen.HOSTS[name]
    module, cls = choice["_target_"].rsplit(".", 1)
    options = {k: v for k, v in choice.items() if k != "defaults" and not k.startswith("_")}
    return getattr(import_module(module), cls)(rtol=tol, atol=tol, **options)


def solver(name: str, tol: float) -> Solver:
    """A solver of conf/solver at a tolerance."""
    if name in chosen.HOSTS:
        return host(name, tol)
    return replace(chosen.adaptive(name, tol), max_steps=ENOUGH // 6)


def ours(name: str) -> Solve:
    """A solver of conf/solver."""

    def solve(problem: Problem, ts: Tensor, tol: float) -> tuple[Tensor, int]:
        # the adjoint takes every solver, and without a gradient asked for it only solves
        gradient = chosen.GRADIENTS["adjoint" if name in chosen.HOSTS else "direct"]
        ys, stats = odeint(
            problem.f, problem.y0, ts, solver=solver(name, tol), gradient=gradient, parameters=()
        )
        return ys, stats.nfe

    return solve


def torchdiffeqs(name: str) -> Solve:
    """Work and error of a solver of torchdiffeq."""

    def solve(problem: Problem, ts: Tensor, tol: float) -> tuple[Tensor, int]:
        f = chosen.Calls(problem.f)
        ys = torchdiffeq.odeint(f, problem.y0, ts, rtol=tol, atol=tol, method=name)
        assert isinstance(ys, Tensor)
        return ys, len(f.times)

    return solve


def scipys(name: str) -> Solve:
    """Work and error of a solver of scipy."""

    def solve(problem: Problem, ts: Tensor, tol: float) -> tuple[Tensor, int]:
        span = (float(ts[0]), float(ts[-1]))
        found = solve_ivp(
            for_numpy(problem.f), span, problem.y0.numpy(), method=name, rtol=tol, atol=tol,
            t_eval=ts.numpy(),
        )  # fmt: skip
        return torch.from_numpy(found.y.T.copy()), found.nfev

    return solve


OURS = {name: ours(name) for name in (*chosen.ADAPTIVE, *chosen.HOSTS)}
PEERS = {f"torchdiffeq {name}": torchdiffeqs(name) for name in ("dopri5", "dopri8", "bosh3")} | {
    f"scipy {name}": scipys(name) for name in ("RK45", "DOP853", "LSODA")
}


def tolerances(name: str) -> list[float]:
    """Tolerances from 1e-2 down to what a method of this order reaches in some thousand steps."""
    order = chosen.ADAPTIVE[name].order if name in chosen.ADAPTIVE else 3 if "bosh3" in name else 5
    return [10.0**-k for k in range(2, {1: 5, 2: 6, 3: 8}.get(order, 11))]


def curve(solve: Solve, problem: Problem, ts: Tensor, tols: Iterable[float]) -> list[Point]:
    """Work and error for each tolerance; the curve ends after a second failed solve."""
    aim = torch.stack([problem.at(float(t)) for t in ts])
    points, failures = [], 0
    for tol in tols:
        if failures == 2:
            break
        try:
            with torch.no_grad():
                ys, nfe = solve(problem, ts, tol)
        except (SolverError, AssertionError):  # torchdiffeq asserts
            failures += 1
            continue
        errors = ((ys - aim) / (1 + aim.abs())).square().mean(1).sqrt()
        points.append(Point(tol, nfe, float(errors[-1]), float(errors.max())))
        if nfe > ENOUGH:
            break
    return points


def work_precision() -> dict[str, dict[str, list[Point]]]:
    """The curve of end errors for every problem and solver."""
    return {
        problem.name: {
            name: curve(solve, problem, chosen.real(problem.t0, problem.t1), tolerances(name))
            for name, solve in (OURS | PEERS).items()
        }
        for problem in PROBLEMS
    }


PAIRS = {
    "dopri5 / dopri5": ("dopri5", "torchdiffeq dopri5"),
    "dopri8 / dopri8": ("dopri8", "torchdiffeq dopri8"),
    "bosh3 / bosh3": ("bosh3", "torchdiffeq bosh3"),
    "tsit5 / dopri5": ("tsit5", "torchdiffeq dopri5"),
    "dopri8 / dopri5": ("dopri8", "torchdiffeq dopri5"),
}
"""Ours / torchdiffeq's."""


def front(points: list[Point], where: str) -> np.ndarray:
    """(error, nfe) of the points that no cheaper point beats, by decreasing error."""
    best, kept = math.inf, []
    for point in sorted(points, key=lambda point: point.nfe):
        error = getattr(point, where)
        if DIGITS < error < min(best, 1.0):
            best = error
            kept.append((error, point.nfe))
    return np.log(np.array(kept)) if kept else np.empty((0, 2))


def ratio(a: list[Point], b: list[Point], where: str) -> float | None:
    """The geometric mean of NFE(a) / NFE(b) at 20 errors that both reach, with log NFE interpolated
    over log error; None if their ranges overlap by less than half a decade.
    """
    fronts = front(a, where), front(b, where)
    if min(map(len, fronts)) < 2:
        return None
    low, high = (pick(f[k, 0] for f in fronts) for pick, k in ((max, -1), (min, 0)))
    if high - low < math.log(10) / 2:
        return None
    at = np.linspace(low, high, 20)
    work = [np.interp(at, f[::-1, 0], f[::-1, 1]) for f in fronts]
    return float(np.exp((work[0] - work[1]).mean()))


class Comparison(NamedTuple):
    """A pair of solvers: the ratio for every problem of DETEST that has one, and their geometric
    mean, by the error at t = 20 (end) and by the largest error at t = 1, 2, ..., 20 (outputs).
    """

    end: dict[str, float]
    outputs: dict[str, float]
    end_mean: float
    outputs_mean: float


def detest() -> tuple[dict[str, dict[str, list[Point]]], dict[str, Comparison]]:
    """All curves over DETEST, and the ratio of our evaluations to torchdiffeq's at equal error."""
    ts = torch.linspace(0, 20, 21, dtype=torch.float64)
    names = dict.fromkeys(name for pair in PAIRS.values() for name in pair)
    curves = {
        name: {
            key: curve((OURS | PEERS)[name], problem, ts, tolerances(name))
            for key, problem in DETEST.items()
        }
        for name in names
    }
    found = {}
    for pair, (a, b) in PAIRS.items():
        end, outputs = (
            {
                key: value
                for key in DETEST
                if (value := ratio(curves[a][key], curves[b][key], where)) is not None
            }
            for where in ("end", "outputs")
        )
        found[pair] = Comparison(end, outputs, _mean(end.values()), _mean(outputs.values()))
    return curves, found


def _mean(ratios: Iterable[float]) -> float:
    return float(np.exp(np.mean(np.log(list(ratios)))))


class Orders(NamedTuple):
    """The stated order of the solution and the measured slopes; None if there is nothing to
    measure.
    """

    stated: int
    solution: float
    gradient_y0: float
    gradient_theta: float
    embedded_stated: int | None
    embedded: float | None
    dense_stated: int
    dense: float


def measured_orders() -> dict[str, Orders]:
    """Orders as tests/ode/test_orders.py measures them. That of dense output is the order of its
    error within a step minus one.
    """
    found = {}
    for name, method in chosen.METHODS.items():
        counts = orders.clean_range(method.order).counts
        slopes = orders.slopes(lambda count, m=method: orders.growth(m, count), counts)
        found[name] = Orders(
            method.order,
            slopes.y,
            slopes.gy0,
            slopes.gtheta,
            method.error_order - 1 if method.adaptive else None,
            orders.embedded_slope(method) if method.adaptive else None,
            method.dense_order,
            orders.dense_slope(method) - 1,
        )
    return found


def _gradients(gradient: str, by: Solver) -> list[Tensor]:
    """Gradients of a weighted sum of outputs with respect to y0, three times and all parameters."""
    f = chosen.Net(seed=1, gain=1.5)
    y0, ts = chosen.leaf(0.5, -0.2, 0.9), chosen.leaf(0.0, 0.8, 2.0)
    method = chosen.GRADIENTS[gradient]
    # the tests couple a method with itself for gradient=reversible; here it is refused instead
    method = getattr(method, "gradient", method)
    ys = odeint(f, y0, ts, solver=by, gradient=method).ys
    generator = torch.Generator().manual_seed(1)
    cotangent = torch.randn(ys.shape, generator=generator, dtype=ys.dtype)
    return list(torch.autograd.grad(ys, (y0, ts, *f.parameters()), cotangent))


GRADIENT_TOL = 1e-6
GRADIENT_STEP = 0.02


def gradient_errors() -> dict[str, dict[str, float | str]]:
    """The largest relative error of any gradient, by solver and gradient method; "refused" if the
    library refuses the combination. The reference is direct through dopri8 at 1e-13.
    """
    aim = _gradients("direct", chosen.adaptive("dopri8", 1e-13))

    def error(gradient: str, by: Solver) -> float | str:
        try:
            found = _gradients(gradient, by)
        except SolverError as refused:
            if refused.kind != "bad_input":
                raise
            return "refused"
        pairs = zip(found, aim, strict=True)
        return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)

    solvers: dict[str, Solver] = {
        name: chosen.adaptive(name, GRADIENT_TOL)
        if method.adaptive
        else chosen.steps(name, GRADIENT_STEP)
        for name, method in chosen.METHODS.items()
    } | {name: host(name, GRADIENT_TOL) for name in chosen.HOSTS}
    return {
        name: {gradient: error(gradient, by) for gradient in chosen.GRADIENTS}
        for name, by in solvers.items()
    }


def controller() -> dict[str, Any]:
    """The controller settings that all solvers of this project are measured with."""
    by = chosen.adaptive()
    assert isinstance(by, RungeKutta)
    return {"name": type(by.controller).__name__, **vars(by.controller)}
