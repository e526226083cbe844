"""Noisy motions of mechanical systems of unit mass: a pendulum, and a planet around a fixed sun.

A state y = (q, v) holds n coordinates and their velocities. As the mass is one, v is the momentum
conjugate to q as well. The motions are computed by scipy's DOP853 at a tolerance of 1e-12.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
import torch
from annotated_types import Ge, Gt
from scipy.integrate import solve_ivp
from torch import Tensor

from node_repro.data import Facts, GeneratedData
from node_repro.data.generated import content_hash, seeded_generator

HORIZONS = 10  # length of a test motion, in training horizons
VALIDATION, TEST = 16, 32  # motions
TOLERANCE = 1e-12


class MechanicalSystem(NamedTuple):
    """A system without friction.

    Attributes:
        name: Name of the data set.
        coordinates: The number n of coordinates.
        acceleration: dv/dt (B, n) at coordinates q (B, n).
        energy: The energy (...) of states y (..., 2 n).
        starts: Draws initial states (count, 2 n), float64, whose energy is not near zero.
        plane: The states (N, 2 n) at points (N, 2) of the plane in which fields are drawn: of q and
            v, or of q with the velocities that motions typically have there.
    """

    name: str
    coordinates: int
    acceleration: Callable[[Tensor], Tensor]
    energy: Callable[[Tensor], Tensor]
    starts: Callable[[int, torch.Generator], Tensor]
    plane: Callable[[Tensor], Tensor]

    def field(self, y: Tensor) -> Tensor:
        """dy/dt (B, 2 n) at states y (B, 2 n)."""
        q, v = y.chunk(2, dim=-1)
        return torch.cat((v, self.acceleration(q)), dim=-1)


class Motions(NamedTuple):
    """States of B motions at T times, (B, T, 2 n), with and without noise."""

    noisy: Tensor
    true: Tensor


@dataclass(frozen=True, kw_only=True)
class MechanicsData(GeneratedData):
    """Motions of a system.

    Test motions have the times `ts`, which extend to HORIZONS times the training horizon. Training
    and validation motions have the first `points` of them.
    """

    system: MechanicalSystem
    ts: Tensor
    points: int
    noise_sd: float
    train: Motions
    validation: Motions
    test: Motions

    @property
    def description(self) -> str:
        end = float(self.ts[self.points - 1])
        return f"{len(self.train.true)} motions over [0, {end:g}], by scipy's DOP853"

    @property
    def facts(self) -> Facts:
        return {**super().facts, "noise_sd": self.noise_sd}


@dataclass(frozen=True, kw_only=True)
class Mechanics:
    """Motions of a mechanical system from random initial states, with Gaussian noise.

    Args:
        system: The system.
        motions: Number of training motions.
        points: Times of a training motion, with the initial one.
        horizon: Time of the last of them.
        noise_sd: Standard deviation of the noise.
        seed: Seed of the data; null is the seed of the run.
    """

    system: MechanicalSystem
    motions: Annotated[int, Ge(1)]
    points: Annotated[int, Ge(3)]
    horizon: Annotated[float, Gt(0)]
    noise_sd: Annotated[float, Ge(0)]
    seed: Annotated[int, Ge(0)] | None

    def load(self) -> MechanicsData:
        steps = torch.arange(HORIZONS * (self.points - 1) + 1, dtype=torch.float64)
        ts = steps * (self.horizon / (self.points - 1))
        train = self._motions("train", self.motions, ts[: self.points])
        return MechanicsData(
            name=self.system.name,
            system=self.system,
            ts=ts,
            points=self.points,
            noise_sd=self.noise_sd,
            train=train,
            validation=self._motions("validation", VALIDATION, ts[: self.points]),
            test=self._motions("test", TEST, ts),
            sha256=content_hash(*train),
        )

    def _motions(self, split: str, count: int, ts: Tensor) -> Motions:
        random = seeded_generator(self.seed, split, "motions")
        true = solve(self.system, self.system.starts(count, random), ts)
        noise = torch.randn(true.shape, generator=random, dtype=torch.float64)
        return Motions(true + self.noise_sd * noise, true)


def solve(system: MechanicalSystem, y0: Tensor, ts: Tensor) -> Tensor:
    """The states (B, T, 2 n) at times ts (T,) from y0 (B, 2 n) at ts[0]."""

    def slope(t: float, y: np.ndarray) -> np.ndarray:
        return system.field(torch.from_numpy(y).view(y0.shape)).flatten().numpy()

    span, start = (float(ts[0]), float(ts[-1])), y0.flatten().numpy()
    options = {"t_eval": ts.numpy(), "rtol": TOLERANCE, "atol": TOLERANCE}
    solution = solve_ivp(slope, span, start, "DOP853", **options)
    return torch.from_numpy(solution.y.reshape(*y0.shape, -1)).movedim(-1, 1).contiguous()


def _uniform(low: float, high: float, count: int, random: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=random, dtype=torch.float64)


def _pendulum_energy(y: Tensor) -> Tensor:
    return y[..., 1].square() / 2 + 1 - y[..., 0].cos()


def _swings(count: int, random: torch.Generator) -> Tensor:
    """States of swings with amplitudes of 0.8 to 2.2, at a random angle and direction."""
    amplitude = _uniform(0.8, 2.2, count, random)
    angle = amplitude * _uniform(-1, 1, count, random)
    speed = (2 * (angle.cos() - amplitude.cos())).sqrt()
    direction = torch.randint(2, (count,), generator=random) * 2 - 1
    return torch.stack((angle, direction * speed), dim=1)


def _kepler_energy(y: Tensor) -> Tensor:
    return y[..., 2:].square().sum(-1) / 2 - 1 / y[..., :2].norm(dim=-1)


def _orbits(count: int, random: torch.Generator) -> Tensor:
    """States of counter-clockwise ellipses, with semi-major axes of 0.8 to 1.2 and eccentricities
    of up to 0.3, at a random place of the orbit.
    """
    axis = _uniform(0.8, 1.2, count, random)
    eccentricity = _uniform(0, 0.3, count, random)
    anomaly, turn = (_uniform(0, 2 * math.pi, count, random) for _ in range(2))
    parameter = axis * (1 - eccentricity.square())
    radius = parameter / (1 + eccentricity * anomaly.cos())
    q = torch.stack((radius * anomaly.cos(), radius * anomaly.sin()), dim=1)
    v = (
        torch.stack((-anomaly.sin(), eccentricity + anomaly.cos()), dim=1)
        / parameter.sqrt()[:, None]
    )
    rotation = torch.stack((turn.cos(), -turn.sin(), turn.sin(), turn.cos()), dim=1).view(-1, 2, 2)
    return torch.cat([(rotation @ part[:, :, None])[:, :, 0] for part in (q, v)], dim=1)


def _circular(q: Tensor) -> Tensor:
    """The states of counter-clockwise circular orbits at places q (N, 2)."""
    turned = torch.stack((-q[:, 1], q[:, 0]), dim=1)
    return torch.cat((q, turned / q.norm(dim=1, keepdim=True).clamp(min=0.1) ** 1.5), dim=1)


PENDULUM = MechanicalSystem(
    "pendulum", 1, lambda q: -q.sin(), _pendulum_energy, _swings, lambda y: y
)
"""d²q/dt² = −sin q. The energy v²/2 + 1 − cos q is 0 at rest, and 2 where the pendulum turns over.
"""

KEPLER = MechanicalSystem(
    "kepler",
    2,
    lambda q: -q / q.norm(dim=-1, keepdim=True) ** 3,
    _kepler_energy,
    _orbits,
    _circular,
)
"""d²q/dt² = −q / |q|³: two bodies that attract each other, in their relative coordinates. An
ellipse with semi-major axis a has the energy −1 / (2 a) and the period 2 π a^(3/2).
"""
