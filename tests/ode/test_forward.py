"""Forward sensitivities: D + D^2 + D K equations, and every gradient without a way back."""

from dataclasses import dataclass, field

import pytest
import torch
from chosen import METHODS, Net, adaptive, leaf, real, steps
from torch import Tensor, nn

from node_repro.ode import RungeKutta, SolverError, odeint
from node_repro.ode.engines import DEFAULT_OPTIONS, SolveOptions, Trajectory
from node_repro.ode.gradients.direct import Direct
from node_repro.ode.gradients.forward import Forward
from node_repro.ode.methods import Field, State

TIGHT = adaptive("dopri8", 1e-12)
TS = (0.2, 0.3, 0.31, 0.9, 1.4)


def gradients(method: Direct | Forward, solver: RungeKutta, ts: Tensor) -> dict[str, Tensor]:
    """Of a weighted sum of all outputs by y0, the times and the parameters."""
    f, y0, ts = Net(), leaf(0.5, -0.2, 0.9), ts.clone().requires_grad_()
    ys, _ = odeint(f, y0, ts, solver=solver, gradient=method)
    weights = torch.randn(ys.shape, generator=torch.Generator().manual_seed(3), dtype=ys.dtype)
    wanted = {"y0": y0, "ts": ts, **dict(f.named_parameters())}
    found = torch.autograd.grad((ys * weights).sum(), list(wanted.values()))
    return dict(zip(wanted, found, strict=True))


@pytest.mark.parametrize("method", METHODS)
def test_with_steps_given_the_sensitivities_are_those_of_the_steps(method: str) -> None:
    # a step of the derivatives is the derivative of the step; its times are the ODE's
    solver = steps(method, 0.13)
    aim = gradients(Direct(), solver, real(*TS))
    found = gradients(Forward(), solver, real(*TS))
    for key in set(aim) - {"ts"}:
        torch.testing.assert_close(found[key], aim[key], rtol=1e-12, atol=1e-13, msg=key)


@pytest.mark.parametrize("ts", [TS, TS[::-1], (0.3, 0.3, 0.8, 0.8)], ids=["up", "down", "same"])
def test_every_gradient_is_that_of_autograd(ts: tuple[float, ...]) -> None:
    aim, found = (gradients(method, TIGHT, real(*ts)) for method in (Direct(), Forward()))
    for key, value in aim.items():
        torch.testing.assert_close(found[key], value, rtol=1e-7, atol=1e-8, msg=key)


@dataclass(frozen=True)
class Sizing:
    """A solver that remembers how many numbers it was given to integrate."""

    solver: RungeKutta
    sizes: list[int] = field(default_factory=list)

    @property
    def differentiable(self) -> bool:
        return True

    @property
    def controls_error(self) -> bool:
        return self.solver.controls_error

    def solve(
        self, f: Field, state: State, ts: Tensor, options: SolveOptions = DEFAULT_OPTIONS
    ) -> Trajectory:
        self.sizes.append(state.y.numel() + sum(q.numel() for q in state.integrals))
        return self.solver.solve(f, state, ts, options)

    def with_tolerance(self, rtol: float | Tensor | None, atol: float | Tensor | None) -> "Sizing":
        return self


@pytest.mark.parametrize(("size", "hidden"), [(1, 1), (3, 5), (6, 2)])
def test_the_system_has_as_many_equations_as_the_book_says(size: int, hidden: int) -> None:
    f = Net(size, hidden)
    count = sum(p.numel() for p in f.parameters())
    solver = Sizing(steps("rk4", 0.25))
    y0 = torch.ones(size, dtype=torch.float64, requires_grad=True)
    ys, stats = odeint(f, y0, real(0, 1), solver=solver, gradient=Forward())
    assert solver.sizes == [size + size**2 + size * count]
    assert stats.nvjp == size * stats.nfe
    ys[-1].sum().backward()
    assert solver.sizes == solver.sizes[:1], "nothing is solved backwards"
    assert stats.backward is not None and stats.backward.nfe == stats.backward.nvjp == 0


def test_without_gradients_nothing_but_the_state_is_solved() -> None:
    solver = Sizing(steps("rk4", 0.25))
    with torch.no_grad():
        ys, stats = odeint(Net(3, 5), real(1, 2, 3), real(0, 1), solver=solver, gradient=Forward())
    assert solver.sizes == [3]
    assert (stats.nfe, stats.nvjp) == (16, 0)
    assert ys.shape == (2, 3)


def test_parameters_that_want_nothing_add_no_equations() -> None:
    f = Net(3, 5)
    f.bias.requires_grad_(False)
    solver = Sizing(steps("rk4", 0.25))
    known = tuple(f.parameters())
    ys, _ = odeint(f, real(1, 2, 3), real(0, 1), solver=solver, gradient=Forward(),
                   parameters=known)  # fmt: skip
    ys[-1].sum().backward()
    wanted = f.inner.numel() + f.outer.numel()
    assert solver.sizes == [3 + 9 + 3 * wanted]
    assert f.bias.grad is None and f.inner.grad is not None


class Partial(nn.Module):
    """Uses one parameter in no element, and one in the first element only."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.ones(2, 3, dtype=torch.float64))
        self.rate = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.stack((self.rate * y[0], torch.sin(t) * y[1]))


def test_a_parameter_that_is_not_used_gets_zeros() -> None:
    f, y0 = Partial(), leaf(1.0, 2.0)
    ys, _ = odeint(f, y0, real(0, 1), solver=TIGHT, gradient=Forward())
    ys[-1].sum().backward()
    assert f.unused.grad is not None and not f.unused.grad.any()
    assert f.rate.grad is not None and f.rate.grad.item() == pytest.approx(torch.e**0.5, rel=1e-9)


def test_steps_are_short_enough_for_the_sensitivities() -> None:
    # the state rests while its derivative by theta swings: the state's error alone says nothing
    theta = leaf(0.0)
    ys, stats = odeint(
        lambda t, y: theta * y * 20 * torch.cos(20 * t), real(1.0), real(0, 3),
        solver=adaptive(tol=1e-8), gradient=Forward(), parameters=(theta,),
    )  # fmt: skip
    ys[-1].sum().backward()
    torch.testing.assert_close(theta.grad, torch.sin(real(60.0)), rtol=0, atol=1e-6)
    assert stats.accepted > 50


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_states_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(
        SolverError,
        match=f"gradient=forward requires real states, not {dtype}: split it into its real and "
        "imaginary part, or use gradient=adjoint$",
    ) as caught:
        odeint(lambda t, y: -y, torch.ones(2, dtype=dtype), real(0, 1), solver=adaptive(),
               gradient=Forward(), parameters=())  # fmt: skip
    assert caught.value.kind == "bad_input"


def test_complex_parameters_are_refused() -> None:
    theta = torch.tensor(1j, dtype=torch.complex128, requires_grad=True)
    with pytest.raises(SolverError, match="requires real parameters, but one is complex") as caught:
        odeint(lambda t, y: (theta * y).real, real(1.0), real(0, 1), solver=adaptive(),
               gradient=Forward(), parameters=(theta,))  # fmt: skip
    assert caught.value.kind == "bad_input"
