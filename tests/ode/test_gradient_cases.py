"""Gradients where inputs, parameters and losses are unusual."""

import math

import pytest
import torch
from chosen import GRADIENTS, REAL_ONLY, Net, adaptive, leaf, real, steps
from torch import Tensor, nn

from node_repro.ode import RungeKutta, SolverError, odeint

TIGHT = adaptive("dopri8", 1e-12)


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
    if gradient in REAL_ONLY:
        pytest.skip("takes real states only, and refuses others: see test_forward.py")
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
    with pytest.raises(SolverError, match=r"bad_input.*requires the parameters of f") as caught:
        odeint(
            lambda t, y: -y, real(1.0), real(0, 1), solver=adaptive(), gradient=GRADIENTS[gradient]
        )
    assert caught.value.kind == "bad_input"
