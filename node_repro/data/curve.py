"""Noisy values of a known function of one number: kind "curve"."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from node_repro.data.series import digest, generator

VALIDATION, TEST = 200, 1_000  # points


class Shape(NamedTuple):
    """A function, applied to each element, and where its inputs lie."""

    name: str
    value: Callable[[Tensor], Tensor]
    low: float
    high: float


class Points(NamedTuple):
    """x: (N, 1). y: (N, 1), noisy. clean: (N, 1), without the noise."""

    x: Tensor
    y: Tensor
    clean: Tensor

    def of(self, chosen: Tensor) -> "Points":
        """The points at the indices chosen: (n,)."""
        return Points(*(part[chosen] for part in self))

    def to(self, device: torch.device, dtype: torch.dtype) -> "Points":
        return Points(*(part.to(device, dtype) for part in self))


@dataclass(frozen=True, kw_only=True)
class CurveData:
    """noise_sd: the root mean square error that no prediction can be below."""

    shape: Shape
    train: Points
    validation: Points
    test: Points
    noise_sd: float
    sha256: str
    notice: str | None = None

    @property
    def name(self) -> str:
        return self.shape.name

    @property
    def description(self) -> str:
        return f"{len(self.train.x)} + {TEST:,} points, noise {self.noise_sd:g}"

    @property
    def facts(self) -> Mapping[str, bool | int | float | str | None]:
        return {"sha256": self.sha256, "noise_sd": self.noise_sd}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """points: to train on, uniform between the ends. noise_sd: of what is added. seed: theirs."""

    shape: Shape
    points: int
    noise_sd: float
    seed: int

    def load(self) -> CurveData:
        train = self._drawn("train", self.points)
        return CurveData(
            shape=self.shape,
            train=train,
            validation=self._drawn("validation", VALIDATION),
            test=self._drawn("test", TEST),
            noise_sd=self.noise_sd,
            sha256=digest(*train),
        )

    def _drawn(self, split: str, count: int) -> Points:
        random = generator(self.seed, split, "curve")
        low, high = self.shape.low, self.shape.high
        x = low + (high - low) * torch.rand(count, 1, generator=random, dtype=torch.float64)
        noise = torch.randn(count, 1, generator=random, dtype=torch.float64)
        clean = self.shape.value(x)
        return Points(x, clean + self.noise_sd * noise, clean)


def _plateaus(x: Tensor) -> Tensor:
    return 2 * torch.tanh(2 * (x - 2.5)) + 2 * torch.tanh(2 * (x + 2.5)) + 0.15 * x


def _wave(x: Tensor) -> Tensor:
    return torch.sin(math.pi * x) + 0.5 * x


PLATEAUS = Shape("plateaus", _plateaus, -5.0, 5.0)
"""A rising map of [-5, 5] onto itself, almost, that gathers its inputs near -4, 0 and 4."""

WAVE = Shape("wave", _wave, -2.0, 2.0)
"""A sine on a slope, which no rising map is."""
