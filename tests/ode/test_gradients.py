"""Gradients with respect to the state and the parameters, of every gradient method."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from chosen import (
    ADAPTIVE,
    ADJOINTS,
    DISCRETE,
    GRADIENTS,
    METHODS,
    Net,
    WithCoupling,
    adaptive,
    leaf,
    real,
    steps,
    taken,
)
from torch import Tensor

from node_repro.ode import RungeKutta, SolverError, odeint
from node_repro.ode.gradients.adjoint import Adjoint

DISCRETE_SOLVERS = {f"{name} with constant steps": steps(name, 0.13) for name in METHODS} | {
    f"{name} with tolerance": adaptive(name, 1e-4) for name in ADAPTIVE
}
TIGHT = adaptive("dopri8", 1e-12)
LONG = real(0.0, 4.0, 10.0)


def gradients(
    gradient: str,
    solver: RungeKutta,
    ts: Tensor,
    *,
    f: Net | None = None,
    cotangent_seed: int = 1,
) -> dict[str, Tensor]:
    """d(sum of weighted outputs) by y0, ts and every parameter of a Net."""
    f = f or Net()
    y0 = leaf(0.5, -0.2, 0.9)
    ts = ts.clone().requires_grad_()
    ys, _ = odeint(f, y0, ts, solver=solver, gradient=GRADIENTS[gradient])
    generator = torch.Generator().manual_seed(cotangent_seed)
    cotangent = torch.randn(ys.shape, generator=generator, dtype=ys.dtype)
    wanted = {"y0": y0, "ts": ts, **dict(f.named_parameters())}
    found = torch.autograd.grad(ys, list(wanted.values()), cotangent)
    return dict(zip(wanted, found, strict=True))


@pytest.mark.parametrize("solver", DISCRETE_SOLVERS.values(), ids=DISCRETE_SOLVERS.keys())
@pytest.mark.parametrize("name", [name for name in DISCRETE if name != "direct"])
@pytest.mark.parametrize(
    "ts", [real(0.2, 0.3, 0.31, 0.9, 1.4), real(1.0, 0.4, -0.3)], ids=["rising", "falling"]
)
def test_discrete_gradients_are_those_of_autograd_to_rounding(
    name: str, solver: RungeKutta, ts: Tensor
) -> None:
    expected, found = gradients("direct", taken(name, solver), ts), gradients(name, solver, ts)
    for key, value in expected.items():
        size = float(value.abs().max())
        torch.testing.assert_close(found[key], value, rtol=1e-12, atol=1e-12 * size, msg=key)


def lively() -> Net:
    """A field that takes some steps at every tolerance: with one step, errors say little."""
    return Net(seed=1, gain=1.5)


@pytest.fixture(scope="module")
def reference() -> dict[str, Tensor]:
    """The gradients of the lively field, to 1e-12."""
    return gradients("direct", TIGHT, LONG, f=lively())


def adjoint_errors(
    name: str, method: str, tolerances: list[float], reference: dict[str, Tensor]
) -> list[float]:
    """The largest error of any gradient, relative to its size, at each tolerance."""
    errors = []
    for tol in tolerances:
        found = gradients(name, adaptive(method, tol), LONG, f=lively())
        pairs = ((found[key], value) for key, value in reference.items())
        errors.append(max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs))
    return errors


@pytest.mark.parametrize("name", ADJOINTS)
@pytest.mark.parametrize("method", [name for name, m in ADAPTIVE.items() if m.order >= 3])
def test_adjoint_error_falls_in_proportion_to_the_tolerance(
    name: str, method: str, reference: dict[str, Tensor]
) -> None:
    tolerances = [10.0**-k for k in range(3, 10 if METHODS[method].order > 3 else 9)]
    errors = adjoint_errors(name, method, tolerances, reference)
    slope = np.polyfit(np.log(tolerances), np.log(errors), 1)[0]
    assert 0.8 < slope < 1.2, errors
    assert all(error < 20 * tol for error, tol in zip(errors, tolerances, strict=True)), errors


@pytest.mark.parametrize("name", ADJOINTS)
def test_adjoint_error_falls_with_the_tolerance_at_order_two(
    name: str, reference: dict[str, Tensor]
) -> None:
    tolerances = [10.0**-k for k in range(2, 6)]
    errors = adjoint_errors(name, "adaptive_heun", tolerances, reference)
    slope = np.polyfit(np.log(tolerances), np.log(errors), 1)[0]
    assert 0.8 < slope < 1.2, errors


def backward_nfe(gradient: Adjoint) -> int:
    """Evaluations of the backward solve of a forward one at 1e-6."""
    ys, stats = odeint(
        Net(), real(0.5, -0.2, 0.9), real(0, 2), solver=adaptive(), gradient=gradient
    )
    ys[-1].sum().backward()
    assert stats.backward is not None
    return stats.backward.nfe


@pytest.mark.parametrize("gradient", ADJOINTS.values(), ids=ADJOINTS.keys())
def test_adjoint_takes_its_own_tolerances(gradient: Adjoint) -> None:
    usual = backward_nfe(replace(gradient, rtol=None, atol=None))
    assert backward_nfe(replace(gradient, rtol=1e-10, atol=1e-10)) > 2 * usual
    assert backward_nfe(replace(gradient, rtol=1e-6, atol=1e-6)) == usual


@pytest.mark.parametrize("gradient", ADJOINTS.values(), ids=ADJOINTS.keys())
@pytest.mark.parametrize("alone", ["rtol", "atol"])
def test_one_adjoint_tolerance_alone_is_taken_or_refused_but_not_forgotten(
    gradient: Adjoint, alone: str
) -> None:
    usual = backward_nfe(replace(gradient, rtol=None, atol=None))
    try:
        own = replace(gradient, **{"rtol": None, "atol": None, alone: 1e-1})
    except SolverError as refused:
        assert refused.kind == "bad_input"
    else:
        assert backward_nfe(own) < usual


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("span", [(0.0, 1.0), (0.3, 2.0), (1.5, -0.5)])
def test_gradients_of_exponential_growth_are_the_closed_form(
    gradient: str, span: tuple[float, float]
) -> None:
    y0, theta, ts = leaf(1.7, -0.4), leaf(-0.6), leaf(*span)
    ys, _ = odeint(
        lambda t, y: theta * y, y0, ts, solver=TIGHT, gradient=GRADIENTS[gradient],
        parameters=(theta,),
    )  # fmt: skip
    ys[-1].sum().backward()
    length = span[1] - span[0]
    factor = math.exp(-0.6 * length)
    y1 = (1.7 - 0.4) * factor
    torch.testing.assert_close(y0.grad, real(factor, factor), rtol=1e-10, atol=0)
    torch.testing.assert_close(theta.grad, real(length * y1), rtol=1e-10, atol=0)
    torch.testing.assert_close(ts.grad, real(0.6 * y1, -0.6 * y1), rtol=1e-10, atol=0)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("span", [(0.0, 10.0), (1.0, 4.0), (2.0, 1.9)])
def test_gradients_of_quadratic_decay_are_the_closed_form(
    gradient: str, span: tuple[float, float]
) -> None:
    y0, ts = leaf(5.0), leaf(*span)
    ys, _ = odeint(
        lambda t, y: -y * y, y0, ts, solver=TIGHT, gradient=GRADIENTS[gradient], parameters=()
    )
    ys[-1].sum().backward()
    y1 = 5 / (5 * (span[1] - span[0]) + 1)
    # what the solution damps, a reversible method's errors grow by: see test_reversible.py
    damped = max(1.0, (5 / y1) ** 2 / 25)
    growth = damped if isinstance(GRADIENTS[gradient], WithCoupling) else 1.0
    torch.testing.assert_close(ys[-1], real(y1), rtol=1e-10 * growth, atol=0)
    # y0's gradient falls from 1 to 4e-4 along the way, and its error is against the larger
    torch.testing.assert_close(y0.grad, real((y1 / 5) ** 2), rtol=1e-9 * growth, atol=1e-12)
    torch.testing.assert_close(ts.grad, real(y1**2, -(y1**2)), rtol=1e-8 * growth, atol=0)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("solver", [steps("rk4", 0.01), TIGHT], ids=["rk4", "dopri8"])
def test_gradcheck_finds_no_fault(gradient: str, solver: RungeKutta) -> None:
    def solve(y0: Tensor, theta: Tensor, ts: Tensor) -> Tensor:
        ys, _ = odeint(
            lambda t, y: torch.tanh(y @ theta) + torch.sin(t), y0, ts, solver=solver,
            gradient=GRADIENTS[gradient], parameters=(theta,),
        )  # fmt: skip
        return ys

    generator = torch.Generator().manual_seed(2)
    theta = torch.randn(2, 2, generator=generator, dtype=torch.float64).requires_grad_()
    y0 = torch.randn(1, 2, generator=generator, dtype=torch.float64).requires_grad_()
    # constant steps leave the mesh where it is; the continuous gradient is theirs to O(h^4)
    inputs = (y0, theta, leaf(0.1, 0.32, 0.51))
    assert torch.autograd.gradcheck(solve, inputs, eps=1e-5, atol=1e-6, rtol=1e-5)


def first_derivative(gradient: str, y0: Tensor, power: int) -> Tensor:
    """d y(1)^power / d y0 of y' = -y^2, to be differentiated again: y(1) = y0 / (1 + y0)."""
    ys, _ = odeint(
        lambda t, y: -y * y, y0, real(0, 1), solver=TIGHT, gradient=GRADIENTS[gradient],
        parameters=(),
    )  # fmt: skip
    return torch.autograd.grad((ys[-1] ** power).sum(), y0, create_graph=True)[0]


def test_second_derivatives_of_the_direct_method_are_right() -> None:
    y0 = leaf(5.0)
    (found,) = torch.autograd.grad(first_derivative("direct", y0, 1).sum(), y0)
    torch.testing.assert_close(found, real(-2 / 6**3), rtol=1e-8, atol=0)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("gradient", [name for name in GRADIENTS if name != "direct"])
def test_second_derivatives_of_the_other_methods_are_refused(gradient: str, power: int) -> None:
    y0 = leaf(5.0)
    with pytest.raises(SolverError, match="create_graph"):
        torch.autograd.grad(first_derivative(gradient, y0, power).sum(), y0)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("gradient", [name for name in GRADIENTS if name != "direct"])
def test_second_derivatives_are_never_left_out_in_silence(gradient: str, power: int) -> None:
    # a penalty on a gradient beside another loss: what cannot be had must not count as zero
    y0 = leaf(5.0)
    with pytest.raises(SolverError, match="create_graph"):
        penalty = first_derivative(gradient, y0, power).square().sum()
        torch.autograd.grad(penalty + y0.sum(), y0)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_single_precision_gradients_agree_with_double_to_their_rounding(gradient: str) -> None:
    def of(dtype: torch.dtype) -> tuple[Tensor, ...]:
        f = Net().to(dtype)
        y0 = torch.tensor([0.5, -0.2, 0.9], dtype=dtype, requires_grad=True)
        ts = torch.tensor([0.0, 0.4, 1.0], dtype=dtype, requires_grad=True)
        ys, _ = odeint(f, y0, ts, solver=steps("dopri5", 0.25), gradient=GRADIENTS[gradient])
        assert ys.dtype == dtype
        found = torch.autograd.grad(ys.square().sum(), (y0, ts, *f.parameters()))
        assert all(g.dtype == dtype for g in found)
        return tuple(g.double() for g in found)

    torch.testing.assert_close(of(torch.float32), of(torch.float64), rtol=1e-5, atol=1e-6)
