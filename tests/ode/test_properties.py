"""What holds for any shape, span, tolerance and precision: examples drawn by hypothesis."""

import hypothesis.strategies as st
import torch
from chosen import ADAPTIVE, GRADIENTS, controller
from hypothesis import given, settings
from torch import Tensor

from node_repro.ode import RungeKutta, odeint
from node_repro.ode.field import VectorField
from node_repro.ode.methods.reversible import Coupled
from node_repro.ode.solution import Stats

DIRECT = GRADIENTS["direct"]
EXPLICIT = {name: m for name, m in ADAPTIVE.items() if not isinstance(m, Coupled)}

few = settings(max_examples=20, deadline=None, derandomize=True, database=None)
methods = st.sampled_from(sorted(EXPLICIT))
higher = st.sampled_from(sorted(name for name, m in EXPLICIT.items() if m.order >= 3))
shapes = st.lists(st.integers(1, 4), max_size=3).map(tuple)
starts = st.floats(-5, 5)
lengths = st.floats(1e-3, 4) | st.floats(-4, -1e-3)
exponents = st.integers(2, 6)
dtypes = st.sampled_from([torch.float32, torch.float64])
seeds = st.integers(0, 1000)


def f(t: Tensor, y: Tensor) -> Tensor:
    """Smooth, with time, each element on its own, neither growing nor decaying fast."""
    return torch.sin(t + y) - y / 4


def state(shape: tuple[int, ...], seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def span(start: float, length: float, *parts: float) -> Tensor:
    """start, some fractions of the way, and the end."""
    return torch.tensor([start + length * x for x in (0.0, *parts, 1.0)], dtype=torch.float64)


def solve(
    method: str,
    exponent: int,
    y0: Tensor,
    ts: Tensor,
    field: VectorField = f,
    atol: float | None = None,
) -> tuple[Tensor, Stats]:
    tol = 10.0**-exponent
    control = controller("integral", rtol=tol, atol=tol if atol is None else atol)
    solver = RungeKutta(ADAPTIVE[method], control)
    ys, stats = odeint(field, y0, ts, solver=solver, gradient=DIRECT)
    return ys, stats


@few
@given(higher, shapes, starts, lengths, exponents, dtypes, seeds)
def test_the_error_is_in_proportion_to_the_tolerance(
    method: str, shape: tuple[int, ...], start: float, length: float, exponent: int,
    dtype: torch.dtype, seed: int,
) -> None:  # fmt: skip
    tol, y0, ts = 10.0**-exponent, state(shape, seed, dtype), span(start, length)
    if tol < 4 * torch.finfo(dtype).eps:
        return
    ys, _ = solve(method, exponent, y0, ts)
    assert ys.shape == (2, *shape) and ys.dtype == dtype
    aim, _ = solve("dopri8", 12, y0.double(), ts)
    error = ((ys[-1] - aim[-1]) / (1 + aim[-1].abs())).square().mean().sqrt()
    # errors grow by exp(5/4 |length|) at most, and by a rounding a step
    assert float(error) < 10 * tol * 150 + 1000 * torch.finfo(dtype).eps


@few
@given(methods, shapes, starts, lengths, exponents, seeds, st.lists(st.floats(0, 1), max_size=5))
def test_observations_change_nothing_bitwise(
    method: str, shape: tuple[int, ...], start: float, length: float, exponent: int, seed: int,
    parts: list[float],
) -> None:  # fmt: skip
    y0 = state(shape, seed)
    plain, stats = solve(method, exponent, y0, span(start, length))
    observed, same = solve(method, exponent, y0, span(start, length, *sorted(parts)))
    assert torch.equal(observed[-1], plain[-1]) and same == stats
    assert observed.shape == (2 + len(parts), *shape)


@few
@given(methods, shapes, starts, lengths, exponents, seeds, st.integers(-20, 20))
def test_other_units_of_the_state_change_nothing_bitwise(
    method: str, shape: tuple[int, ...], start: float, length: float, exponent: int, seed: int,
    power: int,
) -> None:  # fmt: skip
    # y in units of 2^power, and atol with it: every number is the same but for its exponent
    unit, y0, ts = 2.0**power, state(shape, seed), span(start, length, 0.3)
    plain, stats = solve(method, exponent, y0, ts)
    scaled, same = solve(
        method, exponent, y0 * unit, ts, lambda t, y: unit * f(t, y / unit),
        atol=10.0**-exponent * unit,
    )  # fmt: skip
    assert torch.equal(scaled, plain * unit) and same == stats


@few
@given(methods, shapes, starts, lengths, exponents, seeds)
def test_time_may_run_backwards(
    method: str, shape: tuple[int, ...], start: float, length: float, exponent: int, seed: int
) -> None:
    y0, ts = state(shape, seed), span(start, length, 0.3)
    forth, stats = solve(method, exponent, y0, ts)
    back, same = solve(method, exponent, y0, -ts, lambda t, y: -f(-t, y))
    assert torch.equal(back, forth) and same == stats


@few
@given(methods, shapes, starts, lengths, exponents, seeds)
def test_the_shape_of_a_state_is_only_its_shape(
    method: str, shape: tuple[int, ...], start: float, length: float, exponent: int, seed: int
) -> None:
    y0, ts = state(shape, seed), span(start, length, 0.6)
    shaped, stats = solve(method, exponent, y0, ts)
    flat, same = solve(method, exponent, y0.reshape(-1), ts)
    torch.testing.assert_close(flat.reshape(shaped.shape), shaped, rtol=1e-13, atol=1e-13)
    assert (same.accepted, same.rejected) == (stats.accepted, stats.rejected)


@few
@given(methods, starts, lengths, exponents, seeds, st.permutations(range(6)))
def test_rows_may_come_in_any_order_and_in_copies(
    method: str, start: float, length: float, exponent: int, seed: int, order: list[int]
) -> None:
    y0, ts = state((6, 2), seed), span(start, length)
    plain, stats = solve(method, exponent, y0, ts)
    changed, same = solve(method, exponent, y0[order].repeat(2, 1), ts)
    torch.testing.assert_close(changed[:, :6], plain[:, order], rtol=1e-10, atol=1e-10)
    assert same.accepted == stats.accepted


@few
@given(methods, shapes, starts, lengths, exponents, seeds)
def test_discrete_gradients_agree_whatever_is_solved(
    method: str, shape: tuple[int, ...], start: float, length: float, exponent: int, seed: int
) -> None:
    found = []
    for gradient in ("direct", "checkpointed"):
        y0, ts = state(shape, seed).requires_grad_(), span(start, length, 0.4).requires_grad_()
        tol = 10.0**-exponent
        solver = RungeKutta(ADAPTIVE[method], controller("integral", rtol=tol, atol=tol))
        ys, _ = odeint(f, y0, ts, solver=solver, gradient=GRADIENTS[gradient], parameters=())
        found.append(torch.autograd.grad(ys.square().sum(), (y0, ts)))
    for a, b in zip(*found, strict=True):
        # times that want a gradient are tensors: other roundings, which the error estimates see
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
