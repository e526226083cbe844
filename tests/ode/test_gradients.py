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
    adaptive,
    leaf,
    real,
    steps,
)
from torch import Tensor, nn

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
    expected, found = gradients("direct", solver, ts), gradients(name, solver, ts)
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
    tolerances = [10.0**-k for k in range(3, 10)]
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


@pytest.mark.parametrize("gradient", ADJOINTS.values(), ids=ADJOINTS.keys())
def test_adjoint_takes_its_own_tolerances(gradient: Adjoint) -> None:
    def backward_nfe(rtol: float | None, atol: float | None) -> int:
        f = Net()
        own = replace(gradient, rtol=rtol, atol=atol)
        ys, stats = odeint(f, real(0.5, -0.2, 0.9), real(0, 2), solver=adaptive(), gradient=own)
        ys[-1].sum().backward()
        assert stats.backward is not None
        return stats.backward.nfe

    usual = backward_nfe(None, None)
    assert backward_nfe(1e-10, 1e-10) > 2 * usual
    assert backward_nfe(1e-6, 1e-6) == usual
    # one alone leaves the other at the forward one, and is not forgotten
    assert backward_nfe(1e-1, None) < usual
    assert backward_nfe(None, 1e-1) < usual


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
    torch.testing.assert_close(ys[-1], real(y1), rtol=1e-10, atol=0)
    # y0's gradient falls from 1 to 4e-4 along the way, and its error is against the larger
    torch.testing.assert_close(y0.grad, real((y1 / 5) ** 2), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(ts.grad, real(y1**2, -(y1**2)), rtol=1e-8, atol=0)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("solver", [steps("rk4", 0.005), TIGHT], ids=["rk4", "dopri8"])
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


class Odd(nn.Module):
    """A field whose parameters are nested, shared, frozen, and unused."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3, dtype=torch.float64)
        self.second = nn.Sequential(nn.Tanh(), nn.Linear(3, 3, dtype=torch.float64))
        self.third = nn.Linear(3, 3, dtype=torch.float64)
        self.third.weight = self.first.weight
        self.frozen = nn.Parameter(real(0.3, 0.1, -0.2), requires_grad=False)
        self.unused = nn.Parameter(real(1.0, 2.0))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.third(self.second(self.first(y) + t * self.frozen))


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_unused_shared_frozen_and_nested_parameters_get_what_they_should(gradient: str) -> None:
    def solved(gradient: str) -> Odd:
        torch.manual_seed(0)
        f = Odd()
        y0 = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)
        ys, _ = odeint(f, y0, real(0, 1), solver=TIGHT, gradient=GRADIENTS[gradient])
        ys[-1].square().sum().backward()
        return f

    expected, found = solved("direct"), solved(gradient)
    for (name, p), q in zip(found.named_parameters(), expected.parameters(), strict=True):
        if name == "frozen":
            assert p.grad is None
        elif name == "unused":
            assert p.grad is None or not p.grad.any()
        else:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_frozen_tensor_among_the_given_parameters_is_left_alone(gradient: str) -> None:
    theta, frozen = leaf(0.7), real(0.5)
    ys, _ = odeint(
        lambda t, y: frozen * theta * y, real(1.0), real(0, 1), solver=TIGHT,
        gradient=GRADIENTS[gradient], parameters=(frozen, theta),
    )  # fmt: skip
    ys[-1].sum().backward()
    torch.testing.assert_close(theta.grad, real(0.5 * math.exp(0.35)), rtol=1e-10, atol=0)
    assert frozen.grad is None


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_parameters_may_be_the_results_of_other_computations(gradient: str) -> None:
    source = leaf(0.35)
    theta = 2 * source
    ys, _ = odeint(
        lambda t, y: theta * y, real(1.0), real(0, 1), solver=TIGHT,
        gradient=GRADIENTS[gradient], parameters=(theta,),
    )  # fmt: skip
    ys[-1].sum().backward()
    torch.testing.assert_close(source.grad, real(2 * math.exp(0.7)), rtol=1e-10, atol=0)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_field_that_returns_a_parameter_moves_with_it(gradient: str) -> None:
    class Drift(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rate = nn.Parameter(real(2.0, -1.0))

        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            return self.rate

    f = Drift()
    ys, _ = odeint(f, real(0, 0), real(0, 3), solver=adaptive(), gradient=GRADIENTS[gradient])
    torch.testing.assert_close(ys[-1], real(6.0, -3.0), rtol=1e-14, atol=0)
    ys[-1].sum().backward()
    torch.testing.assert_close(f.rate.grad, real(3.0, 3.0), rtol=1e-12, atol=0)
    assert not f.rate._backward_hooks, "hooks left on a parameter live as long as it does"


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_field_that_depends_on_nothing_is_a_quadrature(gradient: str) -> None:
    y0 = leaf(1.0, 2.0)
    ys, _ = odeint(
        lambda t, y: torch.cos(t) * torch.ones_like(y), y0, real(0, 1.2), solver=TIGHT,
        gradient=GRADIENTS[gradient], parameters=(),
    )  # fmt: skip
    torch.testing.assert_close(ys[-1], y0.detach() + math.sin(1.2), rtol=1e-11, atol=0)
    ys[-1].sum().backward()
    assert torch.equal(y0.grad, real(1, 1))  # type: ignore[arg-type]


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_strided_and_expanded_states_are_states_like_others(gradient: str) -> None:
    f = Net()
    base = torch.linspace(-1, 1, 12, dtype=torch.float64)
    views = (
        base.reshape(3, 4).T,
        base[:3].expand(5, 3),
        base.reshape(2, 2, 3)[:, 0],
        base.flip(0)[::2].reshape(2, 3),
    )
    for view in views:
        assert view.shape[-1] == 3
        found = []
        for y0 in (view.detach().clone(memory_format=torch.contiguous_format), view.detach()):
            y0.requires_grad_()
            ys, _ = odeint(f, y0, real(0, 1), solver=adaptive(), gradient=GRADIENTS[gradient])
            found.append((ys, *torch.autograd.grad(ys[-1].square().sum(), (y0, *f.parameters()))))
        torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_state_without_dimensions_is_integrated(gradient: str) -> None:
    y0 = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    theta = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)
    ys, _ = odeint(
        lambda t, y: theta * y, y0, real(0, 0.5, 1), solver=TIGHT,
        gradient=GRADIENTS[gradient], parameters=(theta,),
    )  # fmt: skip
    assert ys.shape == (3,)
    ys[-1].backward()
    torch.testing.assert_close(ys.detach(), 2 * torch.exp(-real(0, 0.5, 1)), rtol=1e-10, atol=0)
    assert y0.grad is not None and y0.grad.shape == () and theta.grad is not None
    torch.testing.assert_close(theta.grad, ys[-1].detach(), rtol=1e-10, atol=0)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_the_gradient_goes_on_through_a_state_that_was_computed(gradient: str) -> None:
    source = leaf(0.5)
    ys, _ = odeint(
        lambda t, y: -y, source.square(), real(0, 1), solver=TIGHT,
        gradient=GRADIENTS[gradient], parameters=(),
    )  # fmt: skip
    ys[-1].sum().backward()
    torch.testing.assert_close(source.grad, real(math.exp(-1)), rtol=1e-10, atol=0)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("solver", [adaptive(), steps("rk4", 0.25)], ids=["dopri5", "rk4"])
def test_an_empty_batch_is_solved_and_differentiated(gradient: str, solver: RungeKutta) -> None:
    f = Net()
    y0 = torch.zeros(0, 3, dtype=torch.float64, requires_grad=True)
    ys, _ = odeint(f, y0, real(0, 0.5, 1), solver=solver, gradient=GRADIENTS[gradient])
    assert ys.shape == (3, 0, 3)
    ys.sum().backward()
    assert y0.grad is not None and y0.grad.shape == (0, 3)
    assert all(p.grad is None or not p.grad.any() for p in f.parameters())


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("rate", [1j, -1j, -0.3 + 2j])
def test_complex_states_rotate_and_so_do_their_gradients(gradient: str, rate: complex) -> None:
    y0 = torch.tensor([1 + 0.5j, -2j], dtype=torch.complex128, requires_grad=True)
    theta = torch.tensor(rate, dtype=torch.complex128, requires_grad=True)
    cotangent = torch.tensor([0.3 - 1j, 2 + 1j], dtype=torch.complex128)
    ts = leaf(0.2, 1.7)
    ys, _ = odeint(
        lambda t, y: theta * y, y0, ts, solver=TIGHT, gradient=GRADIENTS[gradient],
        parameters=(theta,),
    )  # fmt: skip
    found = torch.autograd.grad(ys[-1], (y0, theta, ts), cotangent)
    exact = y0 * torch.exp(theta * (ts[1] - ts[0]))
    expected = torch.autograd.grad(exact, (y0, theta, ts), cotangent)
    torch.testing.assert_close(ys[-1], exact, rtol=1e-10, atol=0)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_the_first_output_is_the_state_given(gradient: str) -> None:
    f, y0 = Net(), leaf(0.5, -0.2, 0.9)
    ys, _ = odeint(f, y0, real(0, 1), solver=adaptive(), gradient=GRADIENTS[gradient])
    assert torch.equal(ys[0], y0)
    ys[0].sum().backward()
    torch.testing.assert_close(y0.grad, real(1, 1, 1), rtol=0, atol=0)
    assert all(p.grad is None or not p.grad.any() for p in f.parameters())


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_outputs_that_are_not_used_give_nothing(gradient: str) -> None:
    def of(ts: Tensor, index: int) -> tuple[Tensor, ...]:
        f, y0 = Net(), leaf(0.5, -0.2, 0.9)
        ys, _ = odeint(f, y0, ts, solver=TIGHT, gradient=GRADIENTS[gradient])
        return torch.autograd.grad(ys[index].square().sum(), (y0, *f.parameters()))

    middle, alone = of(real(0, 0.4, 0.5, 1.1), 2), of(real(0, 0.5), 1)
    torch.testing.assert_close(middle, alone, rtol=1e-6, atol=1e-8)  # dense against a step's end
    last, alone = of(real(0, 0.4, 0.5, 1.1), 3), of(real(0, 1.1), 1)
    torch.testing.assert_close(last, alone, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_zero_cotangent_gives_zeros(gradient: str) -> None:
    f, y0, ts = Net(), leaf(0.5, -0.2, 0.9), leaf(0, 0.4, 1)
    ys, _ = odeint(f, y0, ts, solver=adaptive(), gradient=GRADIENTS[gradient])
    (0 * ys.sum()).backward()
    for x in (y0, ts, *f.parameters()):
        assert x.grad is not None and not x.grad.any()


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_backward_twice_over_a_kept_graph_gives_the_same_twice(gradient: str) -> None:
    f, y0 = Net(), leaf(0.5, -0.2, 0.9)
    ys, _ = odeint(f, y0, real(0, 0.3, 1), solver=adaptive(), gradient=GRADIENTS[gradient])
    loss = ys.square().sum()
    once = torch.autograd.grad(loss, (y0, *f.parameters()), retain_graph=True)
    again = torch.autograd.grad(loss, (y0, *f.parameters()))
    torch.testing.assert_close(once, again, rtol=0, atol=0)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, (y0,))


@pytest.mark.parametrize("gradient", [name for name in GRADIENTS if name != "direct"])
def test_a_function_whose_parameters_are_unknown_is_refused(gradient: str) -> None:
    with pytest.raises(SolverError, match=r"bad_input.*needs to know what f depends on") as caught:
        odeint(
            lambda t, y: -y, real(1.0), real(0, 1), solver=adaptive(), gradient=GRADIENTS[gradient]
        )
    assert caught.value.kind == "bad_input"


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
    with pytest.raises((RuntimeError, SolverError)):
        torch.autograd.grad(first_derivative(gradient, y0, power).sum(), y0)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("gradient", [name for name in GRADIENTS if name != "direct"])
def test_second_derivatives_are_never_left_out_in_silence(gradient: str, power: int) -> None:
    # a penalty on a gradient beside another loss: what cannot be had must not count as zero
    y0 = leaf(5.0)
    with pytest.raises((RuntimeError, SolverError)):
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
