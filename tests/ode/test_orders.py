"""Orders of convergence: the slope of the logarithm of the error over that of the number of steps.

Float64 has room for six halvings of the step up to order 4; between the first step that is small
enough and the rounding errors lie five at order 5 and two at order 8, and the points between lie
closer. To gain that much, errors are averaged over copies of the problem whose phases differ by
1e-3: they share the truncation error, and their rounding errors cancel.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pytest
import torch
from chosen import GRADIENTS, METHODS, leaf, real, steps
from torch import Tensor

from node_repro.ode import odeint

COPIES = 1024
SPREAD = torch.linspace(-1e-3, 1e-3, COPIES, dtype=torch.float64)
LOW_ORDER = [name for name, method in METHODS.items() if method.order <= 4]
DIRECT = GRADIENTS["direct"]


class Errors(NamedTuple):
    """Mean errors of the solution and of the gradients of its sum with respect to y0 and theta."""

    y: float
    gy0: float
    gtheta: float


class Range(NamedTuple):
    """A problem y' = theta y cos(w t + p) to a final time, and the numbers of steps it is clean
    for."""

    w: float
    p: float
    end: float
    counts: tuple[int, ...]


def clean_range(order: int) -> Range:
    if order <= 4:
        return Range(0.645, -1.0, 3.45, tuple(12 * 2**k for k in range(7)))
    if order <= 5:
        return Range(0.5, 2.7, 7.0, (24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768))
    return Range(1.0, 0.0, 2.0, (6, 7, 8, 10, 12, 14, 16, 20, 24, 28))


def slope(sizes: Sequence[float], errors: Sequence[float]) -> float:
    """The order that errors at these step sizes speak for."""
    return float(np.polyfit(np.log(sizes), np.log(np.abs(errors)), 1)[0])


def growth(method: str, count: int) -> Errors:
    """y' = theta y cos(w t + p): y = y0 exp(theta s) with s = (sin(w t + p) - sin p) / w."""
    w, p, end, _ = clean_range(METHODS[method].order)
    phases = p + SPREAD
    y0, theta = leaf(*[1.0] * COPIES), leaf(*[1.0] * COPIES)

    def f(t: Tensor, y: Tensor) -> Tensor:
        return theta * y * torch.cos(w * t + phases)

    ys, stats = odeint(f, y0, real(0, end), solver=steps(method, end / count), gradient=DIRECT)
    assert stats.accepted == count
    gy0, gtheta = torch.autograd.grad(ys[-1].sum(), (y0, theta))
    s = (torch.sin(w * end + phases) - torch.sin(phases)) / w
    y = torch.exp(s)
    return Errors(*(x.mean().item() for x in (ys[-1] - y, gy0 - y, gtheta - s * y)))


def riccati(method: str, count: int) -> Errors:
    """y' = theta y^2 cos t with y(0) = 1/2: y = 1 / (1/y0 - theta sin t)."""
    y0, theta = leaf(0.5), leaf(1.0)

    def f(t: Tensor, y: Tensor) -> Tensor:
        return theta * y * y * torch.cos(t)

    ys, stats = odeint(f, y0, real(0, 1), solver=steps(method, 1 / count), gradient=DIRECT)
    assert stats.accepted == count
    gy0, gtheta = torch.autograd.grad(ys[-1].sum(), (y0, theta))
    y = 1 / (2 - math.sin(1))
    exact = (y, (y / 0.5) ** 2, math.sin(1) * y**2)
    found = (ys[-1].item(), gy0.item(), gtheta.item())
    return Errors(*(a - b for a, b in zip(found, exact, strict=True)))


def slopes(
    method: str, errors: Callable[[str, int], Errors], counts: Sequence[int]
) -> tuple[float, ...]:
    columns = zip(*(errors(method, count) for count in counts), strict=True)
    return tuple(slope([1 / count for count in counts], column) for column in columns)


@pytest.mark.parametrize("method", METHODS)
def test_solution_and_gradients_converge_with_the_stated_order(method: str) -> None:
    order = METHODS[method].order
    found = slopes(method, growth, clean_range(order).counts)
    assert found == pytest.approx((order,) * 3, abs=0.1)


@pytest.mark.parametrize("method", LOW_ORDER)
def test_solution_and_gradients_of_a_nonlinear_problem_do_too(method: str) -> None:
    found = slopes(method, riccati, [8 * 2**k for k in range(7)])
    assert found == pytest.approx((METHODS[method].order,) * 3, abs=0.1)


def dense_error(method: str, h: float) -> float:
    """The largest error within one step from y(0) = 0 of y' = (1 + y^2) cos(t + p)."""
    phases = SPREAD - 0.7
    ts = h * real(0, 0.2, 0.4, 0.6, 0.8, 1)
    ys, stats = odeint(
        lambda t, y: (1 + y * y) * torch.cos(t + phases),
        torch.zeros_like(phases),
        ts,
        solver=steps(method, h),
        gradient=DIRECT,
    )
    assert stats.accepted == 1
    half = ts[1:-1, None] / 2
    exact = torch.tan(2 * torch.sin(half) * torch.cos(half + phases))
    return (ys[1:-1] - exact).mean(1).abs().max().item()


@pytest.mark.parametrize("method", METHODS)
def test_dense_output_errs_within_a_step_with_one_order_more_than_it_states(method: str) -> None:
    order = METHODS[method].tableau.dense_order
    largest = {1: 0.1, 2: 0.002, 3: 0.1, 4: 0.15}.get(order, 0.4)
    sizes = [largest / 2**k for k in range(7 if order <= 4 else 4)]
    found = slope(sizes, [dense_error(method, h) for h in sizes])
    if order <= 4:
        assert found == pytest.approx(order + 1, abs=0.1)
    else:  # the term that gives the order is so small that float64 shows the next one
        assert found > order + 1 - 0.1
