"""Densities of curves with isotropic Gaussian noise: circles, moons, spirals, eight Gaussians.

The density is a mixture of Gaussians on a grid over the curve, fine enough for noise >= 0.01.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Protocol

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from node_repro.data.density import Density, log_mixture

GRID = 512  # points on one branch of a curve


class Curve(Protocol):
    """A curve of equally likely branches; the density has `grid` Gaussians on each of them."""

    @property
    def branches(self) -> int: ...

    @property
    def grid(self) -> int: ...

    def place(self, branch: Tensor, s: Tensor) -> Tensor:
        """Points (N, 2) on the branches (N,) at s (N,), uniform in [0, 1)."""
        ...


@dataclass(frozen=True)
class NoisyCurve:
    """The law of x = scale (place + noise * standard normal), with a uniform branch and s."""

    name: str
    curve: Curve
    noise: float
    scale: float

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        branch = torch.randint(self.curve.branches, (count,), generator=generator)
        s = torch.rand(count, generator=generator, dtype=torch.float64)
        normal = torch.randn(count, 2, generator=generator, dtype=torch.float64)
        return self.scale * (self.curve.place(branch, s) + self.noise * normal)

    def log_density(self, x: Tensor) -> Tensor:
        grid = self.curve.grid
        s = (torch.arange(grid, dtype=torch.float64) + 0.5) / grid
        branches = torch.arange(self.curve.branches)
        centres = torch.cat([self.curve.place(b.expand(grid), s) for b in branches])
        log_weights = torch.full((len(centres),), -math.log(len(centres)), dtype=torch.float64)
        log_density = log_mixture(x / self.scale, centres, log_weights, self.noise)
        return log_density - 2 * math.log(self.scale)


@dataclass(frozen=True)
class TwoCircles:
    """Two concentric circles with radii 1 and `factor`, as scikit-learn's make_circles.

    Args:
        noise: Standard deviation of the noise, before scaling.
        scale: Factor of all lengths.
        factor: Radius of the inner circle, before scaling.
    """

    noise: Annotated[float, Ge(0.01)]
    scale: Annotated[float, Gt(0)]
    factor: Annotated[float, Gt(0), Lt(1)]
    branches = 2
    grid = GRID

    def load(self) -> Density:
        return Density(NoisyCurve("two_circles", self, self.noise, self.scale))

    def place(self, branch: Tensor, s: Tensor) -> Tensor:
        radius = torch.where(branch == 0, 1.0, self.factor)
        return radius[:, None] * _circle(2 * math.pi * s)


@dataclass(frozen=True)
class TwoMoons:
    """Two interleaving half circles, as scikit-learn's make_moons, centred.

    Args:
        noise: Standard deviation of the noise, before scaling.
        scale: Factor of all lengths.
    """

    noise: Annotated[float, Ge(0.01)]
    scale: Annotated[float, Gt(0)]
    branches = 2
    grid = GRID

    def load(self) -> Density:
        return Density(NoisyCurve("two_moons", self, self.noise, self.scale))

    def place(self, branch: Tensor, s: Tensor) -> Tensor:
        upper = _circle(math.pi * s)
        lower = torch.tensor([1.0, 0.5], dtype=torch.float64) - upper
        centre = torch.tensor([0.5, 0.25], dtype=torch.float64)
        return torch.where(branch[:, None] == 0, upper, lower) - centre


@dataclass(frozen=True)
class TwoSpirals:
    """Two arms of one and a half turns, with points uniform in the square of the angle.

    Args:
        noise: Standard deviation of the noise, before scaling.
        scale: Factor of all lengths.
    """

    noise: Annotated[float, Ge(0.01)]
    scale: Annotated[float, Gt(0)]
    branches = 2
    grid = GRID

    def load(self) -> Density:
        return Density(NoisyCurve("two_spirals", self, self.noise, self.scale))

    def place(self, branch: Tensor, s: Tensor) -> Tensor:
        angle = 3 * math.pi * s.sqrt()
        arm = _circle(math.pi - angle) * angle[:, None] / (3 * math.pi)
        return torch.where(branch[:, None] == 0, arm, -arm)


@dataclass(frozen=True)
class EightGaussians:
    """Eight Gaussians on the unit circle.

    Args:
        noise: Standard deviation of each Gaussian, before scaling.
        scale: Factor of all lengths.
    """

    noise: Annotated[float, Ge(0.01)]
    scale: Annotated[float, Gt(0)]
    branches = 8
    grid = 1

    def load(self) -> Density:
        return Density(NoisyCurve("eight_gaussians", self, self.noise, self.scale))

    def place(self, branch: Tensor, s: Tensor) -> Tensor:
        return _circle(branch.double() * (math.pi / 4))


def _circle(angle: Tensor) -> Tensor:
    return torch.stack((angle.cos(), angle.sin()), dim=1)
