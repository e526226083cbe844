"""Unnormalised densities exp(-U) in the plane: U1 to U4 of Rezende and Mohamed (2015), table 1.

U2 to U4 are infinite bands, so the integral of exp(-U) diverges. A soft wall around the square
[-box, box]^2 makes it finite: outside, (distance / (2 WALL))^2 / 2 is added to U per coordinate.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import torch
from annotated_types import Gt, Le
from torch import Tensor
from torch.nn.functional import relu

from node_repro.data import DataError, Facts
from node_repro.data.potential import Moments, Potential

WALL = 0.1
POINTS = 1200  # points per side of the integration grid
MARGIN = 2.0  # exp(-U) is below 1e-20 at this distance from the box


@dataclass(frozen=True)
class Energy(Potential):
    """An energy U with its soft wall, if it needs one (`box` is not None)."""

    name: str
    u: Callable[[Tensor], Tensor]
    box: float | None

    notice = None

    @property
    def dimensions(self) -> int:
        return 2

    def __call__(self, q: Tensor) -> Tensor:
        energy = self.u(q)
        if self.box is not None:
            energy = energy + (relu(q.abs() - self.box) / (2 * WALL)).square().sum(dim=1) / 2
        return energy

    @cached_property
    def log_z(self) -> float:
        """The log of the integral of exp(-U) over the plane."""
        return self.log_integral(walled=True)

    def log_integral(self, *, walled: bool) -> float:
        """The log of the integral of exp(-U), by the midpoint rule on a grid.

        Integrates over the plane with the wall, or over the box alone. Without a box the grid
        extends to +-8.
        """
        z, step = self._grid(walled=walled)
        return float(torch.logsumexp(-(self(z) if walled else self.u(z)), dim=0)) + math.log(
            step**2
        )

    @cached_property
    def moments(self) -> Moments:
        """The moments by the midpoint rule on the same grid."""
        z, _ = self._grid(walled=True)
        weights = torch.softmax(-self(z), dim=0)
        return Moments(weights @ z, weights @ z.square(), weights @ z.pow(4))

    def planar_density(self, points: Tensor) -> Tensor:
        return (-self(points) - self.log_z).exp()

    def _grid(self, *, walled: bool) -> tuple[Tensor, float]:
        """Midpoints (N, 2) of the cells of the integration grid, and the side of a cell."""
        side = 8.0 if self.box is None else self.box + (MARGIN if walled else 0.0)
        step = 2 * side / POINTS
        places = (torch.arange(POINTS, dtype=torch.float64) + 0.5) * step - side
        return torch.cartesian_prod(places, places), step

    @property
    def description(self) -> str:
        where = "on the plane" if self.box is None else f"with a soft wall at ±{self.box:g}"
        return f"the density exp(-U) {where}; -log Z = {-self.log_z:.4f} nats"

    @property
    def facts(self) -> Facts:
        square = self.log_z if self.box is None else self.log_integral(walled=False)
        return {
            "box": self.box,
            "floor_nats": -self.log_z,
            "floor_of_the_square_nats": -square,
        }


def _band(name: str, u: Callable[[Tensor], Tensor], box: float | None) -> Energy:
    """Raises DataError if an infinite band has no wall."""
    if box is None:
        raise DataError(
            f"data={name} is an infinite band, so exp(-U) has no integral: set data.box=..., "
            "for example data.box=4"
        )
    return Energy(name, u, box)


@dataclass(frozen=True)
class U1:
    """Two half moons facing each other on a ring; it has an integral without a wall.

    Args:
        box: Half the side of the square with a soft wall. None for no wall.
    """

    box: Annotated[float, Gt(0), Le(100)] | None

    def load(self) -> Energy:
        return Energy("u1", self.energy, self.box)

    @staticmethod
    def energy(z: Tensor) -> Tensor:
        ring = (((z.norm(dim=1) - 2) / 0.4) ** 2) / 2
        return ring - torch.logaddexp(_bump(z[:, 0] - 2, 0.6), _bump(z[:, 0] + 2, 0.6))


@dataclass(frozen=True)
class U2:
    """A sine wave.

    Args:
        box: Half the side of the square with a soft wall. None for no wall.
    """

    box: Annotated[float, Gt(0), Le(100)] | None

    def load(self) -> Energy:
        return _band("u2", self.energy, self.box)

    @staticmethod
    def energy(z: Tensor) -> Tensor:
        return -_bump(z[:, 1] - _w1(z), 0.4)


@dataclass(frozen=True)
class U3:
    """A sine wave that splits into two and joins again.

    Args:
        box: Half the side of the square with a soft wall. None for no wall.
    """

    box: Annotated[float, Gt(0), Le(100)] | None

    def load(self) -> Energy:
        return _band("u3", self.energy, self.box)

    @staticmethod
    def energy(z: Tensor) -> Tensor:
        height, w2 = z[:, 1] - _w1(z), 3 * _bump(z[:, 0] - 1, 0.6).exp()
        return -torch.logaddexp(_bump(height, 0.35), _bump(height + w2, 0.35))


@dataclass(frozen=True)
class U4:
    """A sine wave that splits into two.

    Args:
        box: Half the side of the square with a soft wall. None for no wall.
    """

    box: Annotated[float, Gt(0), Le(100)] | None

    def load(self) -> Energy:
        return _band("u4", self.energy, self.box)

    @staticmethod
    def energy(z: Tensor) -> Tensor:
        height, w3 = z[:, 1] - _w1(z), 3 * ((z[:, 0] - 1) / 0.3).sigmoid()
        return -torch.logaddexp(_bump(height, 0.4), _bump(height + w3, 0.35))


def _w1(z: Tensor) -> Tensor:
    return (2 * math.pi * z[:, 0] / 4).sin()


def _bump(x: Tensor, width: float) -> Tensor:
    """The logarithm of exp(-(x / width)^2 / 2)."""
    return -((x / width) ** 2) / 2
