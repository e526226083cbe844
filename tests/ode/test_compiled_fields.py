"""Vector fields of many kinds in the compiled engine: parameters, buffers, modules, threads."""

import math
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from chosen import Net, adaptive, real
from compiled_cases import UNCOMPILED, Growth, given
from torch import Tensor, nn

from node_repro import ode
from node_repro.ode.engines import Engine, compilation
from node_repro.ode.engines.parametrized import modules_of
from node_repro.ode.field import VectorField


def gradient_of_rate(f: VectorField, growth: Growth, engine: Engine) -> Tensor:
    solver = ode.dopri5(rtol=1e-8, atol=1e-8, engine=engine)
    ys, _ = ode.odeint(
        f, real(1.0, 2.0), real(0, 1), solver=solver, gradient=ode.Adjoint(),
        parameters=growth.parameters(),
    )  # fmt: skip
    (rate,) = torch.autograd.grad(ys[-1].sum(), [growth.rate])
    return rate


def test_functions_around_modules_are_differentiated_in_the_loop() -> None:
    growth = Growth()
    fields = [
        growth,
        growth.forward,
        lambda t, y: growth(t, y),
        lambda t, y: (lambda y: growth(t, y))(y),
    ]
    expected = real(1.0, 2.0) * growth.rate.detach().exp()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for f in fields:
            torch.testing.assert_close(
                gradient_of_rate(f, growth, UNCOMPILED), expected, rtol=1e-6, atol=0
            )


class Solved(nn.Module):
    """The solution at t = 1 of a field of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.f = Growth()

    def forward(self, y0: Tensor) -> Tensor:
        solver = replace(adaptive("dopri5", 1e-8), engine=UNCOMPILED)
        return ode.odeint(self.f, y0, real(0, 1), solver=solver, gradient=ode.Adjoint()).ys[-1]


def test_tensors_in_the_place_of_parameters_have_their_gradient() -> None:
    rate, y0 = real(0.2, -0.1).requires_grad_(), real(1, 2)
    y1 = torch.func.functional_call(Solved(), {"f.rate": rate}, (y0,))
    (found,) = torch.autograd.grad(y1.sum(), rate)
    torch.testing.assert_close(found, y0 * rate.detach().exp(), rtol=1e-6, atol=0)


class Twice(nn.Module):
    """A field that reaches its weight by name and by a list."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 3).double()
        self.again = [self.layer.weight]

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(self.layer(y)) + 0.5 * y @ self.again[0]


@pytest.mark.filterwarnings("ignore:engine=compiled")
@pytest.mark.parametrize("gradient", [ode.Adjoint(), ode.Checkpointed()])
def test_a_parameter_that_f_reaches_by_two_paths_has_the_whole_gradient(
    gradient: ode.GradientMethod,
) -> None:
    found = []
    for engine in (ode.Eager(), UNCOMPILED):
        f = Twice()
        solver = replace(adaptive("dopri5", 1e-8), engine=engine)
        y0 = real(0.5, -0.2, 0.9)
        ys, _ = ode.odeint(
            f, y0, real(0, 1), solver=solver, gradient=gradient, parameters=f.parameters()
        )
        ys.square().sum().backward()
        found.append(given(f.layer.weight.grad))
    torch.testing.assert_close(*found, rtol=1e-6, atol=1e-9)


class Spare(Net):
    """A field with two parameters more: one that it does not use, and one whose gradient is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(real(1.0))
        self.without_effect = nn.Parameter(real(1.0))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return super().forward(t, y) + 0.0 * self.without_effect


@pytest.mark.parametrize("engine", [ode.Eager(), UNCOMPILED], ids=["eager", "uncompiled"])
def test_a_parameter_that_f_does_not_use_has_no_gradient(engine: Engine) -> None:
    f, solver = Spare(), replace(adaptive("dopri5", 1e-6), engine=engine)
    y0 = real(0.5, -0.2, 0.9)
    ys, _ = ode.odeint(f, y0, real(0, 1), solver=solver, gradient=ode.Checkpointed())
    ys.sum().backward()
    assert f.unused.grad is None
    assert torch.equal(given(f.without_effect.grad), real(0.0))


class Normalized(nn.Module):
    """A field with batch normalisation, which changes its buffers while it trains."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 3).double()
        self.norm = nn.BatchNorm1d(3).double()

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(self.norm(self.layer(y)))


@pytest.mark.parametrize("gradient", [ode.Adjoint(), ode.Checkpointed()])
def test_an_f_that_changes_buffers_leaves_them_as_the_eager_engine_does(
    gradient: ode.GradientMethod,
) -> None:
    buffers, y0 = [], torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(4, 3)
    for engine in (ode.Eager(), UNCOMPILED):
        f, solver = Normalized(), replace(adaptive("dopri5", 1e-6), engine=engine)
        told = pytest.warns(UserWarning, match="batch normalisation")
        with told if engine is UNCOMPILED else nullcontext():
            ys, _ = ode.odeint(f, y0, real(0, 1), solver=solver, gradient=gradient)
            ys.sum().backward()
        buffers.append(list(f.norm.buffers()))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            f.eval()  # then it changes none, and is compiled
            ode.odeint(f, y0, real(0, 1), solver=solver, gradient=gradient)
    for ours, theirs in zip(*buffers, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_complex_and_empty_states_are_solved_and_differentiated_eagerly() -> None:
    for y0 in (torch.ones(2, dtype=torch.complex128), torch.ones(0, 2, dtype=torch.float64)):
        compilation._reported.clear()
        y0.requires_grad_()
        solver = replace(adaptive("dopri5", 1e-8), engine=UNCOMPILED)
        with pytest.warns(UserWarning, match="complex or empty"):
            ys, _ = ode.odeint(
                lambda t, y: -y, y0, real(0, 1), solver=solver, gradient=ode.Checkpointed(),
                parameters=(),
            )  # fmt: skip
            ys[-1].abs().sum().backward()
        expected = torch.full_like(y0, math.exp(-1))
        torch.testing.assert_close(given(y0.grad), expected, rtol=1e-6, atol=0)


def test_functions_that_refer_to_each_other_are_searched_for_modules_once() -> None:
    growth = Growth()

    def f(t: Tensor, y: Tensor) -> Tensor:
        return g(t, y)

    def g(t: Tensor, y: Tensor) -> Tensor:
        return growth(t, y) if f is not None else later

    assert modules_of(f) == [growth]  # and `later` does not exist yet
    later = real(0.0)


def test_solves_in_two_threads_are_those_of_one() -> None:
    solver, ts = replace(adaptive("dopri5", 1e-8), engine=UNCOMPILED), real(0, 1)

    def end(rate: float) -> Tensor:
        with torch.no_grad():
            options = {"solver": solver, "gradient": ode.Direct()}
            return ode.odeint(lambda t, y: rate * y, real(1.0), ts, **options).ys[-1]

    rates = [-2.0, -1.0, 0.5, 1.0]
    with ThreadPoolExecutor(2) as threads:
        found = torch.cat(list(threads.map(end, rates)))
    torch.testing.assert_close(found, real(*rates).exp(), rtol=1e-6, atol=0)
