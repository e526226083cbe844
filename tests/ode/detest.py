"""DETEST: the 25 non-stiff problems of Hull, Enright, Fellen, Sedgwick (1972), all to t = 20.

T. E. Hull, W. H. Enright, B. M. Fellen, A. E. Sedgwick: Comparing numerical methods for ordinary
differential equations, SIAM J. Numer. Anal. 9, 1972; classes A (single equations), B (small
systems), C (moderate systems), D (orbits), E (equations of higher order).
"""

import math
from dataclasses import replace

import torch
from problems import (
    Problem,
    cubic_decay,
    exponential,
    kepler,
    linear,
    logistic,
    modulated,
    vector,
)
from torch import Tensor

END = 20.0


def spiral(t: Tensor, y: Tensor) -> Tensor:
    """A5, a spiral curve."""
    return (y - t) / (y + t)


def conflict(t: Tensor, y: Tensor) -> Tensor:
    """B1, the growth of two conflicting populations."""
    y1, y2 = y.unbind()
    return torch.stack((2 * (y1 - y1 * y2), y1 * y2 - y2))


def reaction(t: Tensor, y: Tensor) -> Tensor:
    """B3, a nonlinear chemical reaction."""
    y1, y2, _ = y.unbind()
    return torch.stack((-y1, y1 - y2 * y2, y2 * y2))


def torus(t: Tensor, y: Tensor) -> Tensor:
    """B4, the integral surface of a torus."""
    y1, y2, y3 = y.unbind()
    r = torch.hypot(y1, y2)
    return torch.stack((-y2 - y1 * y3 / r, y1 - y2 * y3 / r, y1 / r))


def rigid_body(t: Tensor, y: Tensor) -> Tensor:
    """B5, Euler's equations of a rigid body."""
    y1, y2, y3 = y.unbind()
    return torch.stack((y2 * y3, -y1 * y3, -0.51 * y1 * y2))


def chain(size: int, loss: list[float]) -> Tensor:
    """Each member decays into the next: C1 and C2."""
    a = torch.zeros(size, size, dtype=torch.float64)
    for i, rate in enumerate(loss):
        a[i, i], a[i + 1, i] = -rate, rate
    return a


def heat(size: int) -> Tensor:
    """The second difference on a line: C3 and C4."""
    ones = torch.ones(size, dtype=torch.float64)
    return torch.diag(ones[1:], 1) + torch.diag(ones[1:], -1) - 2 * torch.diag(ones)


def first(size: int) -> Tensor:
    """(1, 0, ..., 0)."""
    return torch.eye(size, dtype=torch.float64)[0]


K2 = 2.95912208286
SUN = 1.00000597682
PLANETS = vector(
    0.954786104043e-3, 0.285583733151e-3, 0.437273164546e-4, 0.517759138449e-4, 0.277777777778e-5
)
POSITIONS = (
    (3.42947415189, 3.35386959711, 1.35494901715),
    (6.64145542550, 5.97156957878, 2.18231499728),
    (11.2630437207, 14.6952576794, 6.27960525067),
    (-30.1552268759, 1.65699966404, 1.43785752721),
    (-21.1238353380, 28.4465098142, 15.3882659679),
)
VELOCITIES = (
    (-0.557160570446, 0.505696783289, 0.230578543901),
    (-0.415570776342, 0.365682722812, 0.169143213293),
    (-0.325325669158, 0.189706021964, 0.0877265322780),
    (-0.0240476254170, -0.287659532608, -0.117219543175),
    (-0.176860753121, -0.216393453025, -0.0148647893090),
)


def five_bodies(t: Tensor, y: Tensor) -> Tensor:
    """C5, the motion of the five outer planets around the sun."""
    position, velocity = y.reshape(2, 5, 3)
    pull = position / position.norm(dim=1, keepdim=True) ** 3
    between = position[None] - position[:, None]
    distance = between.norm(dim=2) + torch.eye(5, dtype=y.dtype)  # no body pulls itself
    direct = torch.einsum("k,jki->ji", PLANETS, between / distance[..., None] ** 3)
    indirect = PLANETS @ pull - PLANETS[:, None] * pull
    force = K2 * (direct - indirect - (SUN + PLANETS)[:, None] * pull)
    return torch.cat((velocity, force)).reshape(-1)


def bessel(t: Tensor, y: Tensor) -> Tensor:
    """E1, Bessel's equation of order 1/2 with the origin moved by 1."""
    y1, y2 = y.unbind()
    x = t + 1
    return torch.stack((y2, -(y2 / x + (1 - 0.25 / x**2) * y1)))


def bessel_exact(t: float) -> Tensor:
    """J of order 1/2: sqrt(2 / (pi x)) sin x, and its derivative."""
    x = t + 1
    size = math.sqrt(2 / (math.pi * x))
    return vector(size * math.sin(x), size * (math.cos(x) - math.sin(x) / (2 * x)))


def van_der_pol(t: Tensor, y: Tensor) -> Tensor:
    """E2."""
    y1, y2 = y.unbind()
    return torch.stack((y2, (1 - y1 * y1) * y2 - y1))


def duffing(t: Tensor, y: Tensor) -> Tensor:
    """E3, Duffing's equation."""
    y1, y2 = y.unbind()
    return torch.stack((y2, y1**3 / 6 - y1 + 2 * torch.sin(2.78535 * t)))


def falling(t: Tensor, y: Tensor) -> Tensor:
    """E4, a falling body with resistance."""
    return torch.stack((y[1], 0.032 - 0.4 * y[1] ** 2))


def falling_exact(t: float) -> Tensor:
    """The speed tends to sqrt(0.032 / 0.4)."""
    rate, limit = math.sqrt(0.032 * 0.4), math.sqrt(0.032 / 0.4)
    return vector(30 + math.log(math.cosh(rate * t)) / 0.4, limit * math.tanh(rate * t))


def pursuit(t: Tensor, y: Tensor) -> Tensor:
    """E5, a linear pursuit."""
    return torch.stack((y[1], torch.sqrt(1 + y[1] ** 2) / (25 - t)))


def pursuit_exact(t: float) -> Tensor:
    """The slope is sinh(log(25 / (25 - t)))."""
    left = 25 - t
    return vector(12.5 * math.log(25 / left) + (left**2 - 625) / 100, (25 / left - left / 25) / 2)


def _problems() -> dict[str, Problem]:
    three = torch.stack((vector(-1, 1, 0), vector(1, -2, 1), vector(0, 1, -1)))
    planets = torch.tensor((POSITIONS, VELOCITIES), dtype=torch.float64).reshape(-1)
    found = {
        "A1": exponential(-1.0, END),
        "A2": cubic_decay(END),
        "A3": modulated(END),
        "A4": logistic(END),
        "A5": Problem("", spiral, vector(4.0), END),
        "B1": Problem("", conflict, vector(1, 3), END),
        "B2": linear("", three, vector(2, 0, 1), END),
        "B3": Problem("", reaction, vector(1, 0, 0), END),
        "B4": Problem("", torus, vector(3, 0, 0), END),
        "B5": Problem("", rigid_body, vector(0, 1, 1), END),
        "C1": linear("", chain(10, [1.0] * 9), first(10), END),
        "C2": linear("", chain(10, [float(i) for i in range(1, 10)]), first(10), END),
        "C3": linear("", heat(10), first(10), END),
        "C4": linear("", heat(51), first(51), END),
        "C5": Problem("", five_bodies, planets, END),
        "E1": Problem("", bessel, bessel_exact(0.0), END, exact=bessel_exact),
        "E2": Problem("", van_der_pol, vector(2, 0), END),
        "E3": Problem("", duffing, vector(0, 0), END),
        "E4": Problem("", falling, vector(30, 0), END, exact=falling_exact),
        "E5": Problem("", pursuit, vector(0, 0), END, exact=pursuit_exact),
    } | {f"D{k}": kepler((2 * k - 1) / 10, END) for k in range(1, 6)}
    return {key: replace(found[key], name=key) for key in sorted(found)}


DETEST: dict[str, Problem] = _problems()
"""By the names of the report: A1 to E5."""
