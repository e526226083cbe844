"""Measured orders of convergence: the slope of the logarithm of the error over that of the step.

Float64 has room for six halvings of the step up to order 4; between the first step that is small
enough and the rounding errors lie five at order 5 and two at order 8, and the points between lie
closer. To gain that much, errors are averaged over copies of the problem whose phases differ by
1e-3: they share the truncation error, and their rounding errors cancel.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from chosen import GRADIENTS, leaf, real
from problems import rotation
from torch import Tensor

from node_repro.ode import RungeKutta, odeint
from node_repro.ode.controllers.constant import Constant
from node_repro.ode.methods import Carry, Field, Method, State, Step, Time

COPIES = 1024
SPREAD = torch.linspace(-1e-3, 1e-3, COPIES, dtype=torch.float64)


class Errors(NamedTuple):
    """Errors of the solution and of the gradients of its sum with respect to y0 and theta."""

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


def growth(method: Method, count: int, gradient: str = "direct") -> Errors:
    """y' = theta y cos(w t + p): y = y0 exp(theta s) with s = (sin(w t + p) - sin p) / w."""
    w, p, end, _ = clean_range(method.order)
    phases = p + SPREAD
    y0, theta = leaf(*[1.0] * COPIES), leaf(*[1.0] * COPIES)

    def f(t: Tensor, y: Tensor) -> Tensor:
        return theta * y * torch.cos(w * t + phases)

    solver = RungeKutta(method, Constant(end / count))
    ys, stats = odeint(
        f, y0, real(0, end), solver=solver, gradient=GRADIENTS[gradient], parameters=(theta,)
    )
    assert stats.accepted == count
    gy0, gtheta = torch.autograd.grad(ys[-1].sum(), (y0, theta))
    s = (torch.sin(w * end + phases) - torch.sin(phases)) / w
    y = torch.exp(s)
    return Errors(*(x.mean().item() for x in (ys[-1] - y, gy0 - y, gtheta - s * y)))


def riccati(method: Method, count: int, gradient: str = "direct") -> Errors:
    """y' = theta y^2 cos t: y = 1 / (1/y0 - theta sin t).

    Root mean squares over some y0: the error of one may cross zero as the step falls.
    """
    start = (-0.6, -0.3, 0.2, 0.35, 0.5, 0.6)
    y0, theta = leaf(*start), leaf(*[1.0] * len(start))

    def f(t: Tensor, y: Tensor) -> Tensor:
        return theta * y * y * torch.cos(t)

    solver = RungeKutta(method, Constant(1 / count))
    ys, stats = odeint(
        f, y0, real(0, 1), solver=solver, gradient=GRADIENTS[gradient], parameters=(theta,)
    )
    assert stats.accepted == count
    gy0, gtheta = torch.autograd.grad(ys[-1].sum(), (y0, theta))
    y = 1 / (1 / real(*start) - math.sin(1))
    exact = (y, (y / real(*start)) ** 2, math.sin(1) * y**2)
    pairs = zip((ys[-1], gy0, gtheta), exact, strict=True)
    return Errors(*((a - b).square().mean().sqrt().item() for a, b in pairs))


def oscillator(method: Method, count: int, end: float = 3.0) -> float:
    """The error of y'' = -y: as the norm of two numbers it does not cross zero."""
    problem = rotation(end)
    solver = RungeKutta(method, Constant(problem.t1 / count))
    ys, _ = odeint(
        problem.f, problem.y0, real(0, problem.t1), solver=solver, gradient=GRADIENTS["direct"]
    )
    return float((ys[-1] - problem.at(problem.t1)).norm())


def slopes(errors: Callable[[int], Errors], counts: Sequence[int]) -> Errors:
    """The orders of the solution and of its gradients over these numbers of steps."""
    columns = zip(*map(errors, counts), strict=True)
    return Errors(*(slope([1 / count for count in counts], column) for column in columns))


@dataclass(frozen=True)
class Embedded:
    """The Method that goes on with the embedded solution: what the error estimate compares with."""

    method: Method
    adaptive: bool = False

    @property
    def name(self) -> str:
        return f"{self.method.name}, embedded"

    @property
    def order(self) -> int:
        return self.method.error_order - 1

    @property
    def error_order(self) -> int:
        return self.method.error_order

    @property
    def dense_order(self) -> int:
        return self.method.dense_order

    def init(self, f: Field, t: Time, y: Tensor, twin: Tensor | None = None) -> Carry:
        return self.method.init(f, t, y)

    def step(
        self, f: Field, t: Time, t1: Time, state: State, carry: Carry, *, advance_only: bool = False
    ) -> Step:
        step = self.method.step(f, t, t1, state, carry)
        assert step.error is not None
        return Step(State(step.end.y - step.error.y), None, Carry(), step.stages)

    def interpolate(self, y: Tensor, h: Time, stages: tuple[Tensor, ...], x: Tensor) -> Tensor:
        return self.method.interpolate(y, h, stages, x)

    def rate(self, h: Time, stages: tuple[Tensor, ...], x: Tensor) -> Tensor:
        return self.method.rate(h, stages, x)


def embedded_slope(method: Method) -> float:
    """The order of the embedded solution of an adaptive method."""
    embedded = Embedded(method)
    if embedded.order <= 2:  # in one step: over many, a factor such as 1/512 hides the order
        sizes = [2e-3 / 2**k for k in range(7)]
        return slope(sizes, [oscillator(embedded, 1, end=h) for h in sizes]) - 1
    counts = [4, 5, 6, 7, 8, 10, 12, 14, 16]
    if embedded.order <= 4:
        counts = [8 * 2**k for k in range(7)]
    return slope([1 / count for count in counts], [oscillator(embedded, n) for n in counts])


def dense_error(method: Method, h: float) -> float:
    """The largest error within one step from y(0) = 0 of y' = (1 + y^2) cos(t + p)."""
    phases = SPREAD - 0.7
    ts = h * real(0, 0.2, 0.4, 0.6, 0.8, 1)
    ys, stats = odeint(
        lambda t, y: (1 + y * y) * torch.cos(t + phases),
        torch.zeros_like(phases),
        ts,
        solver=RungeKutta(method, Constant(h)),
        gradient=GRADIENTS["direct"],
    )
    assert stats.accepted == 1
    half = ts[1:-1, None] / 2
    exact = torch.tan(2 * torch.sin(half) * torch.cos(half + phases))
    return (ys[1:-1] - exact).mean(1).abs().max().item()


def dense_slope(method: Method) -> float:
    """The power of h that the dense output's error within a step falls with."""
    dense_order = method.dense_order
    largest = {1: 0.1, 2: 0.002, 3: 0.1, 4: 0.15}.get(dense_order, 0.4)
    sizes = [largest / 2**k for k in range(7 if dense_order <= 4 else 4)]
    return slope(sizes, [dense_error(method, h) for h in sizes])
