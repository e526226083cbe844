"""States of several tensors: the same as one packed vector, judged part by part."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from chosen import ADJOINTS, DISCRETE, GRADIENTS, METHODS, adaptive, leaf, real, steps
from torch import Tensor, nn

from node_repro.ode import RungeKutta, SolverError, Stats, odeint

TIGHT = adaptive("dopri8", 1e-11)
States = tuple[Tensor, ...]


class Mixed(nn.Module):
    """A field on parts of shapes (2, 3), () and (4,), which all feel each other."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)

        def weights(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64) * 0.5)

        self.a, self.b, self.c = weights(3, 3), weights(), weights(4, 4)

    def forward(self, t: Tensor, y: States) -> States:
        matrix, number, vector = y
        return (
            torch.tanh(matrix @ self.a + vector.sum()),
            self.b * torch.sin(t) + matrix.mean(),
            torch.tanh(self.c @ vector) * number,
        )


class Packed(nn.Module):
    """The same field on one vector."""

    def __init__(self) -> None:
        super().__init__()
        self.f = Mixed()

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        parts = self.f(t, (y[:6].reshape(2, 3), y[6], y[7:]))
        return torch.cat([part.reshape(-1) for part in parts])


def parts() -> States:
    generator = torch.Generator().manual_seed(1)
    return tuple(
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in ((2, 3), (), (4,))
    )


def of_tuple(gradient: str, solver: RungeKutta, ts: Tensor) -> list[Tensor]:
    """The outputs and all gradients, as vectors."""
    f, y0, ts = Mixed(), parts(), ts.clone().requires_grad_()
    ys, _ = odeint(f, y0, ts, solver=solver, gradient=GRADIENTS[gradient])
    assert [tuple(y.shape) for y in ys] == [(len(ts), 2, 3), (len(ts),), (len(ts), 4)]
    loss = sum((y.square().sum() for y in ys), start=torch.zeros(()))
    found = torch.autograd.grad(loss, (*y0, ts, *f.parameters()))
    gy0 = torch.cat([g.reshape(-1) for g in found[:3]])
    return [torch.cat([y.reshape(len(ts), -1) for y in ys], dim=1), gy0, *found[3:]]


def of_vector(gradient: str, solver: RungeKutta, ts: Tensor) -> list[Tensor]:
    f, ts = Packed(), ts.clone().requires_grad_()
    y0 = torch.cat([part.detach().reshape(-1) for part in parts()]).requires_grad_()
    ys, _ = odeint(f, y0, ts, solver=solver, gradient=GRADIENTS[gradient])
    found = torch.autograd.grad(ys.square().sum(), (y0, ts, *f.parameters()))
    return [ys, *found]


@pytest.mark.parametrize("ts", [(0.0, 0.4, 1.0), (1.0, 0.4, 0.0)], ids=["rising", "falling"])
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_tuple_is_solved_and_differentiated_as_its_parts_together(
    gradient: str, ts: tuple[float, ...]
) -> None:
    for solver, allowed in ((steps("rk4", 0.1), 1e-12), (TIGHT, 1e-8)):
        found = of_tuple(gradient, solver, real(*ts))
        aim = of_vector(gradient, solver, real(*ts))
        torch.testing.assert_close(found, aim, rtol=allowed, atol=allowed)


@pytest.mark.parametrize("gradient", DISCRETE)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_a_tuple(method: str, gradient: str) -> None:
    ts = real(0, 0.4, 1)
    found, aim = (of(gradient, steps(method, 0.2), ts) for of in (of_tuple, of_vector))
    torch.testing.assert_close(found, aim, rtol=1e-12, atol=1e-12)


def test_a_tuple_of_one_is_a_tuple() -> None:
    ys, _ = odeint(
        lambda t, y: (-y[0],), (leaf(1.0, 2.0),), real(0, 1), solver=adaptive(),
        gradient=GRADIENTS["direct"],
    )  # fmt: skip
    assert isinstance(ys, tuple) and len(ys) == 1 and ys[0].shape == (2, 2)


def test_a_list_of_slopes_and_complex_parts_will_do() -> None:
    y0 = (torch.ones(2, dtype=torch.complex128), torch.ones((), dtype=torch.complex128))
    ys, _ = odeint(
        lambda t, y: [1j * y[0], -y[1]], y0, real(0, 1), solver=TIGHT,
        gradient=GRADIENTS["direct"],
    )  # fmt: skip
    exact = torch.exp(torch.tensor([1j, 1j, -1], dtype=torch.complex128))
    torch.testing.assert_close(torch.cat((ys[0][-1], ys[1][-1:])), exact, rtol=1e-10, atol=0)


def field(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack((y[1], -25 * y[0] * torch.cos(t)))


def with_idle(count: int, gradient: str) -> tuple[Tensor, Tensor, Stats]:
    """With a part of zeros that never move beside the state: the states, the gradient, the cost."""
    y0 = leaf(1.0, 0.5)
    if count:
        ys, stats = odeint(
            lambda t, y: (field(t, y[0]), torch.zeros_like(y[1])),
            (y0, torch.zeros(count, dtype=torch.float64)), real(0, 1.3, 3), solver=adaptive(),
            gradient=GRADIENTS[gradient], parameters=(),
        )  # fmt: skip
        states = ys[0]
    else:
        states, stats = odeint(
            field, y0, real(0, 1.3, 3), solver=adaptive(), gradient=GRADIENTS[gradient],
            parameters=(),
        )  # fmt: skip
    (found,) = torch.autograd.grad(states.sum(), y0)
    return states.detach(), found, stats


@pytest.mark.parametrize("gradient", sorted({*DISCRETE, *ADJOINTS} - {"adjoint_flat"}))
@pytest.mark.parametrize("count", [1, 1000])
def test_a_part_that_rests_does_not_change_the_steps(gradient: str, count: int) -> None:
    alone, beside = with_idle(0, gradient), with_idle(count, gradient)
    assert counts(beside[2]) == counts(alone[2])
    assert beside[2].backward is not None and alone[2].backward is not None
    assert counts(beside[2].backward) == counts(alone[2].backward)
    torch.testing.assert_close(beside[:2], alone[:2], rtol=1e-9, atol=1e-9)


def counts(stats: Stats) -> tuple[object, ...]:
    """Step sizes but for the rounding of norms, above which a first error hardly is."""
    sizes = (pytest.approx(stats.h_min, rel=1e-5), pytest.approx(stats.h_max, rel=1e-5))
    return stats.nfe, stats.nvjp, stats.accepted, stats.rejected, *sizes


def test_a_part_that_rests_dilutes_the_flat_norm_of_the_way_back() -> None:
    alone, beside = with_idle(0, "adjoint_flat")[2], with_idle(1000, "adjoint_flat")[2]
    assert alone.accepted == beside.accepted
    assert alone.backward is not None and beside.backward is not None
    assert beside.backward.accepted < alone.backward.accepted


REFUSALS: dict[str, tuple[Any, Callable[..., Any], str]] = {
    "no part": ((), lambda t, y: (), "a tuple of states must hold tensors, at least one"),
    "no tensor": ((real(1.0), 2.0), lambda t, y: y, "must hold tensors, at least one"),
    "dtypes": (
        (real(1.0), torch.ones(1)),
        lambda t, y: y,
        "the parts of a state must have one dtype and device, not torch.float32 on cpu and "
        "torch.float64 on cpu: convert them",
    ),
    "devices": (
        (real(1.0), torch.ones(1, dtype=torch.float64, device="meta")),
        lambda t, y: y,
        "one dtype and device, not torch.float64 on cpu and torch.float64 on meta",
    ),
    "integers": ((torch.tensor([1]),), lambda t, y: y, "y0 is torch.int64; a state is float32"),
    "a list": ([real(1.0)], lambda t, y: y, "y0 must be a tensor, not list"),
    "one slope less": (
        (real(1.0), real(1, 2)),
        lambda t, y: y[:1],
        r"f must return tensors like those of the state, of shapes \[\(1,\), \(2,\)\], and gave "
        r"\[\(1,\)\]",
    ),
    "other shapes": (
        (real(1.0), real(1, 2)),
        lambda t, y: (y[1], y[0]),
        r"of shapes \[\(1,\), \(2,\)\], and gave \[\(2,\), \(1,\)\]",
    ),
    "other dtypes": (
        (real(1.0), real(1, 2)),
        lambda t, y: (y[0], y[1].float()),
        "like those of the state, of torch.float64, and gave torch.float32",
    ),
    "no tensors": ((real(1.0),), lambda t, y: (1.0,), r"and gave \['float'\]"),
    "a tensor": ((real(1.0),), lambda t, y: y[0], "a tuple like the state, not Tensor"),
    "nothing": ((real(1.0),), lambda t, y: None, "a tuple like the state, not NoneType"),
}


@pytest.mark.parametrize("gradient", ["direct", "adjoint"])
@pytest.mark.parametrize(("y0", "f", "sentence"), REFUSALS.values(), ids=REFUSALS.keys())
def test_what_is_no_state_or_no_slope_is_refused(
    y0: Any,  # noqa: ANN401
    f: Callable[..., Any],
    sentence: str,
    gradient: str,
) -> None:
    with pytest.raises(SolverError, match=sentence) as caught:
        odeint(f, y0, real(0, 1), solver=adaptive(), gradient=GRADIENTS[gradient], parameters=())
    assert caught.value.kind == "bad_input" and "\n" not in str(caught.value)
