"""Initial value problems whose solutions are known, for tests and scripts/work_precision.py.

Closed forms where there are any; else a reference by another's code (scipy's DOP853) at a tolerance
of 1e-13. `test_problems.py` checks the closed forms against that reference.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]

REFERENCE = 1e-13
"""rtol and atol of the references."""


def vector(*values: float) -> Tensor:
    """A float64 vector."""
    return torch.tensor(values, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Problem:
    """y' = f(t, y) from y0 at t0 to t1. exact: y(t), if a closed form is known.

    jacobian: dy(t) / dy0 in closed form, (n, n). source: where the problem is from.
    """

    name: str
    f: Field
    y0: Tensor
    t1: float
    t0: float = 0.0
    exact: Callable[[float], Tensor] | None = None
    jacobian: Callable[[float], Tensor] | None = None
    source: str = ""

    def at(self, t: float) -> Tensor:
        """y(t): the closed form, or the reference."""
        return self.exact(t) if self.exact is not None else reference(self, t)

    def error(self, y: Tensor, t: float | None = None) -> float:
        """The root mean square of y - y(t) in units of 1 + |y(t)|; t is t1 if not given.

        In these units a tolerance rtol = atol = tol is tol.
        """
        aim = self.at(self.t1 if t is None else t)
        return float(((y.detach() - aim) / (1 + aim.abs())).square().mean().sqrt())


def for_numpy(f: Field) -> Callable[[float, np.ndarray], np.ndarray]:
    """The same field for scipy."""
    return lambda t, y: f(torch.tensor(t, dtype=torch.float64), torch.from_numpy(y)).numpy()


@cache
def reference(problem: Problem, t: float) -> Tensor:
    """y(t) by scipy's DOP853 with a tolerance of 1e-13."""
    found = solve_ivp(
        for_numpy(problem.f), (problem.t0, t), problem.y0.numpy(), method="DOP853",
        rtol=REFERENCE, atol=REFERENCE,
    )  # fmt: skip
    assert found.success, f"{problem.name}: {found.message}"
    return torch.from_numpy(found.y[:, -1].copy())


def linear(name: str, a: Tensor, y0: Tensor, t1: float, source: str = "") -> Problem:
    return Problem(
        name, lambda t, y: a @ y, y0, t1, source=source,
        exact=lambda t: torch.linalg.matrix_exp(a * t) @ y0,
        jacobian=lambda t: torch.linalg.matrix_exp(a * t),
    )  # fmt: skip


def quadratic_decay(t1: float, t0: float = 0.0, y0: float = 5.0) -> Problem:
    """y' = -y^2: y = y0 / (1 + y0 (t - t0))."""
    return Problem(
        f"quadratic decay to {t1:g}", lambda t, y: -y * y, vector(y0), t1, t0,
        exact=lambda t: vector(y0 / (1 + y0 * (t - t0))),
        jacobian=lambda t: vector((1 + y0 * (t - t0)) ** -2)[None],
    )  # fmt: skip


def exponential(rate: float, t1: float) -> Problem:
    """y' = rate y."""
    return linear(f"exponential {rate:g}", vector(rate)[None], vector(1.0), t1)


def rotation(t1: float) -> Problem:
    """The harmonic oscillator: y' = i y as two real numbers."""
    return linear("oscillator", torch.stack((vector(0, 1), vector(-1, 0))), vector(1, 0), t1)


def linear_ten() -> Problem:
    """Ten equations with eigenvalues of all kinds."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(10, 10, generator=generator, dtype=torch.float64) / 3
    y0 = torch.randn(10, generator=generator, dtype=torch.float64)
    return linear("linear, 10 equations", a, y0, 5.0)


def line(a: float = 0.2, b: float = 3.0) -> Problem:
    """y' = a + (y - (a t + b))^5 with y(1) = a + b: y = a t + b (a test of torchdiffeq)."""
    return Problem(
        "line", lambda t, y: a + (y - (a * t + b)) ** 5, vector(a + b), 8.0, 1.0,
        exact=lambda t: vector(a * t + b), source="torchdiffeq's tests",
    )  # fmt: skip


def _sine(t: float) -> float:
    square, cube, fourth = t**2, t**3, t**4
    return (
        -fourth * math.cos(2 * t) / 2 + cube * math.sin(2 * t) / 2 + square * math.cos(2 * t) / 4
        - cube + 2 * fourth + (math.pi - 0.25) * square
    )  # fmt: skip


def sine() -> Problem:
    """y' = 2 y / t + t^4 sin 2t - t^2 + 4 t^3 from t = 1 (a test of torchdiffeq)."""
    return Problem(
        "sine", lambda t, y: 2 * y / t + t**4 * torch.sin(2 * t) - t**2 + 4 * t**3,
        vector(_sine(1.0)), 8.0, 1.0, exact=lambda t: vector(_sine(t)),
        jacobian=lambda t: vector(t * t)[None], source="torchdiffeq's tests",
    )  # fmt: skip


def cubic_decay(t1: float = 20.0) -> Problem:
    """y' = -y^3 / 2: y = (1 + t)^(-1/2)."""
    return Problem(
        "cubic decay", lambda t, y: -(y**3) / 2, vector(1.0), t1,
        exact=lambda t: vector((1 + t) ** -0.5), jacobian=lambda t: vector((1 + t) ** -1.5)[None],
    )  # fmt: skip


def modulated(t1: float = 20.0) -> Problem:
    """y' = y cos t: y = exp(sin t)."""
    return Problem(
        "y cos t", lambda t, y: y * torch.cos(t), vector(1.0), t1,
        exact=lambda t: vector(math.exp(math.sin(t))),
        jacobian=lambda t: vector(math.exp(math.sin(t)))[None],
    )  # fmt: skip


def logistic(t1: float = 20.0) -> Problem:
    """y' = y / 4 (1 - y / 20): y = 20 / (1 + 19 exp(-t / 4))."""
    return Problem(
        "logistic", lambda t, y: y / 4 * (1 - y / 20), vector(1.0), t1,
        exact=lambda t: vector(20 / (1 + 19 * math.exp(-t / 4))),
        jacobian=lambda t: vector(400 * math.exp(-t / 4) / (1 + 19 * math.exp(-t / 4)) ** 2)[None],
    )  # fmt: skip


def _two_bodies(t: Tensor, y: Tensor) -> Tensor:
    position, velocity = y[:2], y[2:]
    return torch.cat((velocity, -position / position.norm() ** 3))


def _on_ellipse(e: float, t: float) -> Tensor:
    """Kepler's equation E - e sin E = t by Newton's iteration from pi, which converges."""
    turns = math.floor(t / (2 * math.pi))
    mean = t - 2 * math.pi * turns
    eccentric = math.pi
    for _ in range(60):
        eccentric -= (eccentric - e * math.sin(eccentric) - mean) / (1 - e * math.cos(eccentric))
    sin, cos, minor = math.sin(eccentric), math.cos(eccentric), math.sqrt(1 - e * e)
    rate = 1 / (1 - e * cos)
    return vector(cos - e, minor * sin, -sin * rate, minor * cos * rate)


def kepler(e: float, t1: float = 20.0) -> Problem:
    """Two bodies from the pericentre, with semi-major axis 1: a turn takes 2 pi."""
    y0 = vector(1 - e, 0, 0, math.sqrt((1 + e) / (1 - e)))
    return Problem(
        f"Kepler e={e:g}", _two_bodies, y0, t1, exact=lambda t: _on_ellipse(e, t),
        source="Hull, Enright, Fellen, Sedgwick 1972: D1-D5",
    )  # fmt: skip


def energy_and_momentum(y: Tensor) -> tuple[float, float]:
    """What Kepler's motion keeps."""
    position, velocity = y[:2], y[2:]
    energy = velocity.square().sum() / 2 - 1 / position.norm()
    return float(energy), float(position[0] * velocity[1] - position[1] * velocity[0])


def arenstorf() -> Problem:
    """A periodic orbit of a satellite around earth and moon (HNW I, II.0, eq. (0.1))."""
    moon = 0.012277471
    earth = 1 - moon

    def f(t: Tensor, y: Tensor) -> Tensor:
        y1, y2, v1, v2 = y.unbind()
        d1 = ((y1 + moon) ** 2 + y2**2) ** 1.5
        d2 = ((y1 - earth) ** 2 + y2**2) ** 1.5
        a1 = y1 + 2 * v2 - earth * (y1 + moon) / d1 - moon * (y1 - earth) / d2
        a2 = y2 - 2 * v1 - earth * y2 / d1 - moon * y2 / d2
        return torch.stack((v1, v2, a1, a2))

    return Problem(
        "Arenstorf", f, vector(0.994, 0, 0, -2.00158510637908252240537862224),
        17.0652165601579625588917206249, source="Hairer, Norsett, Wanner: Solving ODEs I, II.0",
    )  # fmt: skip


def lorenz() -> Problem:
    """Lorenz 1963 with sigma = 10, r = 28, b = 8/3, as long as the chaos leaves digits."""

    def f(t: Tensor, y: Tensor) -> Tensor:
        y1, y2, y3 = y.unbind()
        return torch.stack((10 * (y2 - y1), y1 * (28 - y3) - y2, y1 * y2 - 8 / 3 * y3))

    return Problem("Lorenz", f, vector(1, 1, 1), 5.0, source="Lorenz 1963")


def brusselator() -> Problem:
    """Lefever and Nicolis 1971 with A = 1, B = 3 (HNW I, equation (I.16.12))."""

    def f(t: Tensor, y: Tensor) -> Tensor:
        u, v = y.unbind()
        return torch.stack((1 + u * u * v - 4 * u, 3 * u - u * u * v))

    return Problem("Brusselator", f, vector(1.5, 3.0), 20.0, source="HNW I, II.4, figure 4.1")


SMOOTH: tuple[Problem, ...] = (
    quadratic_decay(10.0), exponential(-0.1, 10.0), exponential(1.0, 3.0), rotation(20.0), line(),
    sine(), linear_ten(), cubic_decay(), modulated(), logistic(), kepler(0.1), kepler(0.5),
    kepler(0.9), arenstorf(), lorenz(), brusselator(),
)  # fmt: skip
"""Every explicit method solves these."""


def prothero_robinson(rate: float) -> Problem:
    """y' = rate (y - cos t) - sin t: y = cos t whatever the rate (Prothero, Robinson 1974)."""
    return Problem(
        f"Prothero-Robinson {rate:g}", lambda t, y: rate * (y - torch.cos(t)) - torch.sin(t),
        vector(1.0), 10.0, exact=lambda t: vector(math.cos(t)),
        jacobian=lambda t: vector(math.exp(rate * t))[None],
    )  # fmt: skip


def van_der_pol(mu: float) -> Problem:
    """y'' = mu (1 - y^2) y' - y from (2, 0), for about a turn."""

    def f(t: Tensor, y: Tensor) -> Tensor:
        y1, y2 = y.unbind()
        return torch.stack((y2, mu * (1 - y1 * y1) * y2 - y1))

    return Problem(f"van der Pol {mu:g}", f, vector(2, 0), 2 * max(mu, 5.0))


def robertson() -> Problem:
    """Robertson 1966: rates from 4e-2 to 3e7 (HNW II, equation (IV.1.4))."""

    def f(t: Tensor, y: Tensor) -> Tensor:
        y1, y2, y3 = y.unbind()
        slow, fast, fastest = 0.04 * y1, 1e4 * y2 * y3, 3e7 * y2 * y2
        return torch.stack((fast - slow, slow - fast - fastest, fastest))

    return Problem("Robertson", f, vector(1, 0, 0), 1e4, source="HNW II, IV.1")


STIFF: tuple[Problem, ...] = (
    *(prothero_robinson(-(10.0**k)) for k in range(7)),
    *(van_der_pol(10.0**k) for k in range(4)),
    robertson(),
)
"""From easy to hopeless for an explicit method."""


def jump() -> Problem:
    """y' = -y / 2 before t = 1/2 and y^2 from there."""

    def exact(t: float) -> Tensor:
        if t < 0.5:
            return vector(math.exp(-t / 2))
        return vector(1 / (math.exp(0.25) - (t - 0.5)))

    f: Field = lambda t, y: torch.where(t < 0.5, -y / 2, y * y)  # noqa: E731
    return Problem("jump", f, vector(1.0), 1.5, exact=exact)


def square_root() -> Problem:
    """y' = sqrt(20 - y), undefined above 20, which a long first step meets."""
    return Problem(
        "square root", lambda t, y: torch.sqrt(20 - y), vector(1.0), 8.0,
        exact=lambda t: vector(20 - (math.sqrt(19) - t / 2) ** 2),
    )  # fmt: skip


def logarithm() -> Problem:
    """y' = -y log y, undefined below 0: y = y0^exp(-t)."""
    return Problem(
        "logarithm", lambda t, y: -y * torch.log(y), vector(1e-3), 4.0,
        exact=lambda t: vector(1e-3 ** math.exp(-t)),
    )  # fmt: skip


def blow_up() -> Problem:
    """y' = y^2: y = 1 / (1 - t), which ends before the span does."""
    return Problem("blow-up", lambda t, y: y * y, vector(1.0), 2.0)


DOMAIN = (square_root(), logarithm())
"""f is undefined where a long step leads."""
