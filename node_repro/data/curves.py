"""Curves and points blurred by isotropic Gaussian noise: two circles, two moons, two spirals, eight
Gaussians.

Their density is a mixture of Gaussians over the curve, on a grid that is fine enough for a noise of
0.01 and more.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from node_repro.data.density import Density, mixture

GRID = 512  # places on a curve


class Curve(Protocol):
    """branches: how many parts, equally likely. grid: places on one part for the density."""

    @property
    def branches(self) -> int: ...

    @property
    def grid(self) -> int: ...

    def place(self, branch: Tensor, s: Tensor) -> Tensor:
        """Points (N, 2) of the branches (N,) at s (N,) in [0, 1), which is uniform."""
        ...


@dataclass(frozen=True)
class Blurred:
    """x = scale (place + noise * standard normal), the curve's branch and place drawn uniformly."""

    name: str
    curve: Curve
    noise: float
    scale: float

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        branch = torch.randint(self.curve.branches, (count,), generator=generator)
        s = torch.rand(count, generator=generator, dtype=torch.float64)
        blur = torch.randn(count, 2, generator=generator, dtype=torch.float64)
        return self.scale * (self.curve.place(branch, s) + self.noise * blur)

    def log_density(self, x: Tensor) -> Tensor:
        grid = self.curve.grid
        s = (torch.arange(grid, dtype=torch.float64) + 0.5) / grid
        branches = torch.arange(self.curve.branches)
        centres = torch.cat([self.curve.place(b.expand(grid), s) for b in branches])
        log_weights = torch.full((len(centres),), -math.log(len(centres)), dtype=torch.float64)
        inside = mixture(x / self.scale, centres, log_weights, self.noise)
        return inside - 2 * math.log(self.scale)


@dataclass(frozen=True)
class TwoCircles:
    """Radii 1 and `factor` (scikit-learn's make_circles)."""

    noise: float
    scale: float
    factor: float
    branches = 2
    grid = GRID

    def load(self) -> Density:
        return Density(Blurred("two_circles", self, self.noise, self.scale))

    def place(self, branch: Tensor, s: Tensor) -> Tensor:
        radius = torch.where(branch == 0, 1.0, self.factor)
        return radius[:, None] * _circle(2 * math.pi * s)


@dataclass(frozen=True)
class TwoMoons:
    """Two interleaving half circles (scikit-learn's make_moons), centred."""

    noise: float
    scale: float
    branches = 2
    grid = GRID

    def load(self) -> Density:
        return Density(Blurred("two_moons", self, self.noise, self.scale))

    def place(self, branch: Tensor, s: Tensor) -> Tensor:
        upper = _circle(math.pi * s)
        lower = torch.tensor([1.0, 0.5], dtype=torch.float64) - upper
        centre = torch.tensor([0.5, 0.25], dtype=torch.float64)
        return torch.where(branch[:, None] == 0, upper, lower) - centre


@dataclass(frozen=True)
class TwoSpirals:
    """Two arms of one and a half turns, their points uniform in the square of the angle."""

    noise: float
    scale: float
    branches = 2
    grid = GRID

    def load(self) -> Density:
        return Density(Blurred("two_spirals", self, self.noise, self.scale))

    def place(self, branch: Tensor, s: Tensor) -> Tensor:
        angle = 3 * math.pi * s.sqrt()
        arm = _circle(math.pi - angle) * angle[:, None] / (3 * math.pi)
        return torch.where(branch[:, None] == 0, arm, -arm)


@dataclass(frozen=True)
class EightGaussians:
    """Eight points on the unit circle."""

    noise: float
    scale: float
    branches = 8
    grid = 1

    def load(self) -> Density:
        return Density(Blurred("eight_gaussians", self, self.noise, self.scale))

    def place(self, branch: Tensor, s: Tensor) -> Tensor:
        return _circle(branch.double() * (math.pi / 4))


def _circle(angle: Tensor) -> Tensor:
    return torch.stack((angle.cos(), angle.sin()), dim=1)
