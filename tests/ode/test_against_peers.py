"""The same problems by scipy and by torchdiffeq."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from chosen import ADJOINTS, GRADIENTS, Net, adaptive, leaf, real
from scipy.integrate import solve_ivp
from torch import Tensor

from node_repro.ode import odeint

DIRECT = GRADIENTS["direct"]
Y0 = (0.5, -0.2, 0.9)
TS = (0.0, 0.8, 2.0, 5.0)


def lotka_volterra(t: Tensor, y: Tensor) -> Tensor:
    prey, predators = y
    return torch.stack((1.5 * prey - prey * predators, prey * predators - 3 * predators))


def lotka_volterra_numpy(t: float, y: np.ndarray) -> np.ndarray:
    return np.array([1.5 * y[0] - y[0] * y[1], y[0] * y[1] - 3 * y[1]])


def brusselator(t: Tensor, y: Tensor) -> Tensor:
    u, v = y
    return torch.stack((1 + u * u * v - 4 * u, 3 * u - u * u * v))


def brusselator_numpy(t: float, y: np.ndarray) -> np.ndarray:
    u, v = y
    return np.array([1 + u * u * v - 4 * u, 3 * u - u * u * v])


PROBLEMS: dict[str, Any] = {
    "lotka-volterra": (lotka_volterra, lotka_volterra_numpy, (10.0, 5.0), 3.0),
    "brusselator": (brusselator, brusselator_numpy, (1.5, 3.0), 8.0),
}


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("method", ["bosh3", "dopri5", "tsit5", "dopri8"])
def test_solutions_agree_with_a_tight_one_of_scipy(problem: str, method: str) -> None:
    f, f_numpy, y0, end = PROBLEMS[problem]
    ts = np.linspace(0, end, 9)
    aim = solve_ivp(f_numpy, (0, end), y0, method="DOP853", rtol=1e-12, atol=1e-12, t_eval=ts).y.T
    for tol in (1e-4, 1e-7):
        ys, _ = odeint(
            f, real(*y0), torch.from_numpy(ts), solver=adaptive(method, tol), gradient=DIRECT
        )
        assert np.abs(ys.numpy() - aim).max() < 100 * tol * np.abs(aim).max()


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize(("method", "peer"), [("dopri5", "RK45"), ("bosh3", "RK23")])
def test_the_same_pair_of_scipy_costs_about_as_much(problem: str, method: str, peer: str) -> None:
    f, f_numpy, y0, end = PROBLEMS[problem]
    aim = solve_ivp(f_numpy, (0, end), y0, method=peer, rtol=1e-6, atol=1e-6)
    ys, stats = odeint(f, real(*y0), real(0, end), solver=adaptive(method, 1e-6), gradient=DIRECT)
    assert stats.nfe == pytest.approx(aim.nfev, rel=0.1)
    assert np.abs(ys[-1].numpy() - aim.y[:, -1]).max() < 1e-4


@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-9])
def test_end_values_agree_with_torchdiffeq_within_the_tolerance(tol: float) -> None:
    peer = pytest.importorskip("torchdiffeq")
    f, y0, ts = Net(), real(*Y0), real(*TS)
    with torch.no_grad():
        ys, stats = odeint(f, y0, ts, solver=adaptive(tol=tol), gradient=DIRECT)
        calls = 0

        def counted(t: Tensor, y: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            return f(t, y)

        theirs = peer.odeint(counted, y0, ts, rtol=tol, atol=tol, method="dopri5")
    assert (ys - theirs).abs().max() < 10 * tol
    assert stats.nfe <= 1.2 * calls


def relative_errors(solve: Callable[[Net, Tensor, Tensor], Tensor], aim: list[Tensor]) -> float:
    """The largest error of any gradient of a loss on all outputs, relative to its size."""
    pairs = zip(all_gradients(solve), aim, strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def all_gradients(solve: Callable[[Net, Tensor, Tensor], Tensor]) -> list[Tensor]:
    f, y0, ts = Net(), leaf(*Y0), leaf(*TS)
    wanted = (y0, ts, *f.parameters())
    return list(torch.autograd.grad(solve(f, y0, ts).square().sum(), wanted))


@pytest.mark.parametrize("gradient", ADJOINTS)
@pytest.mark.parametrize("tol", [1e-6, 1e-8])
def test_adjoint_gradients_agree_with_those_of_torchdiffeq(gradient: str, tol: float) -> None:
    peer = pytest.importorskip("torchdiffeq")
    tight = adaptive("dopri8", 1e-13)
    aim = all_gradients(lambda f, y0, ts: odeint(f, y0, ts, solver=tight, gradient=DIRECT).ys)
    solver, method = adaptive(tol=tol), GRADIENTS[gradient]
    ours = relative_errors(
        lambda f, y0, ts: odeint(f, y0, ts, solver=solver, gradient=method).ys, aim
    )
    theirs = relative_errors(
        lambda f, y0, ts: peer.odeint_adjoint(f, y0, ts, rtol=tol, atol=tol, method="dopri5"), aim
    )
    assert ours < 10 * tol and theirs < 20 * tol
    assert ours < 1.5 * theirs


def test_a_linear_system_agrees_with_the_matrix_exponential() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(10, 10, generator=generator, dtype=torch.float64) / 3
    y0 = torch.randn(10, generator=generator, dtype=torch.float64)
    for span in (real(0, 2), real(2, 0)):
        ys, _ = odeint(
            lambda t, y: a @ y, y0, span, solver=adaptive("dopri8", 1e-11), gradient=DIRECT
        )
        exact = torch.linalg.matrix_exp(a * (span[1] - span[0])) @ y0
        torch.testing.assert_close(ys[-1], exact, rtol=1e-8, atol=1e-8)


def test_kepler_keeps_energy_and_momentum_and_returns() -> None:
    e = 0.5

    def f(t: Tensor, y: Tensor) -> Tensor:
        position, velocity = y
        return torch.stack((velocity, -position / position.norm() ** 3))

    y0 = torch.stack((real(1 - e, 0), real(0, math.sqrt((1 + e) / (1 - e)))))
    ys, _ = odeint(f, y0, real(0, 2 * math.pi), solver=adaptive("dopri8", 1e-11), gradient=DIRECT)
    (x, y), (u, v) = ys[-1]
    assert float((u * u + v * v) / 2 - 1 / torch.hypot(x, y)) == pytest.approx(-0.5, abs=1e-8)
    assert float(x * v - y * u) == pytest.approx(math.sqrt(1 - e * e), abs=1e-8)
    torch.testing.assert_close(ys[-1], y0, rtol=1e-7, atol=1e-7)
