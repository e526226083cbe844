"""A normal distribution in many dimensions, with independent coordinates of different widths."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from node_repro.data import Facts
from node_repro.data.potential import Moments, Potential


@dataclass(frozen=True)
class NormalPotential(Potential):
    """U(q) = sum_i (q_i / sd_i)^2 / 2, with sd (D,) float64, in increasing order."""

    sd: Tensor

    notice = None

    @property
    def name(self) -> str:
        return "scaled_gaussian"

    @property
    def dimensions(self) -> int:
        return len(self.sd)

    def __call__(self, q: Tensor) -> Tensor:
        return (q / self.sd.to(q)).square().sum(dim=1) / 2

    @cached_property
    def moments(self) -> Moments:
        return Moments(torch.zeros_like(self.sd), self.sd.square(), 3 * self.sd.pow(4))

    def planar_density(self, points: Tensor) -> Tensor:
        sd = self.sd[-2:].to(points)
        return (points / sd).square().sum(dim=1).div(-2).exp() / (2 * math.pi * sd.prod())

    @property
    def description(self) -> str:
        low, high = float(self.sd[0]), float(self.sd[-1])
        return f"{len(self.sd)} normal coordinates with standard deviations {low:g} to {high:g}"

    @property
    def facts(self) -> Facts:
        return {"dimensions": self.dimensions}


@dataclass(frozen=True, kw_only=True)
class ScaledGaussian:
    """Independent normal coordinates whose standard deviations are evenly spaced up to 1.

    Args:
        dimensions: Number of coordinates.
        condition: Ratio of the largest standard deviation to the smallest.
    """

    dimensions: Annotated[int, Ge(2)]
    condition: Annotated[float, Ge(1)]

    def load(self) -> NormalPotential:
        smallest = 1 / self.condition
        return NormalPotential(torch.linspace(smallest, 1, self.dimensions, dtype=torch.float64))
