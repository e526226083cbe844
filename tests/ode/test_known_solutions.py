"""Problems with known solutions, solved to them."""

import math

import pytest
import torch
from chosen import GRADIENTS, METHODS, adaptive, real, steps

from node_repro.ode import odeint

DIRECT = GRADIENTS["direct"]


@pytest.mark.parametrize("method", METHODS)
def test_polynomials_below_the_order_are_integrated_exactly(method: str) -> None:
    for power in range(METHODS[method].order):
        ys, _ = odeint(
            lambda t, y, power=power: t**power * torch.ones_like(y), real(0.0), real(0.5, 2.0),
            solver=steps(method, 0.4), gradient=DIRECT,
        )  # fmt: skip
        exact = (2.0 ** (power + 1) - 0.5 ** (power + 1)) / (power + 1)
        assert ys[-1].item() == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize("rate", [-1.0, -0.1, 1.0, 1j, -1j])
def test_linear_problems_are_solved_to_the_tolerance(rate: complex) -> None:
    dtype = torch.complex128 if isinstance(rate, complex) else torch.float64
    ts = real(0, 1, 5)
    y0 = torch.ones(1, dtype=dtype)
    ys, _ = odeint(lambda t, y: rate * y, y0, ts, solver=adaptive("dopri5", 1e-9), gradient=DIRECT)
    torch.testing.assert_close(ys[:, 0], torch.exp(ts * rate).to(dtype), rtol=1e-7, atol=1e-8)


def test_an_oscillator_keeps_its_energy() -> None:
    y0 = torch.ones(1, dtype=torch.complex128)
    ys, _ = odeint(
        lambda t, y: 1j * y, y0, real(0, 20 * math.pi), solver=adaptive("dopri8", 1e-10),
        gradient=DIRECT,
    )  # fmt: skip
    assert abs(ys[-1].abs().item() - 1) < 1e-8 and abs(ys[-1].angle().item()) < 1e-8


@pytest.mark.parametrize("t1", [10.0, 1e3])
def test_quadratic_decay_is_solved_far_and_back(t1: float) -> None:
    solver = adaptive("dopri5", 1e-9)
    there, _ = odeint(lambda t, y: -y * y, real(5.0), real(0, t1), solver=solver, gradient=DIRECT)
    assert there[-1].item() == pytest.approx(5 / (5 * t1 + 1), abs=1e-8)
    shifted, _ = odeint(lambda t, y: -y * y, real(0.5), real(3, 2), solver=solver, gradient=DIRECT)
    assert shifted[-1].item() == pytest.approx(1.0, rel=1e-7)
