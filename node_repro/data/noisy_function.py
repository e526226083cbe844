"""Noisy values of a known function of one number, for regression."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from annotated_types import Ge
from torch import Tensor

from node_repro.data import Facts, GeneratedData
from node_repro.data.generated import content_hash, seeded_generator

VALIDATION, TEST = 200, 1_000  # points


class TargetFunction(NamedTuple):
    """A function, applied elementwise, and the interval [low, high] of its inputs."""

    name: str
    value: Callable[[Tensor], Tensor]
    low: float
    high: float


class RegressionPoints(NamedTuple):
    """Inputs x, noisy values y and noiseless values clean, each (N, 1)."""

    x: Tensor
    y: Tensor
    clean: Tensor


@dataclass(frozen=True, kw_only=True)
class RegressionData(GeneratedData):
    """Three splits of noisy values.

    `noise_sd`, the standard deviation of the noise, is a lower bound of the root mean square error
    of any prediction.
    """

    shape: TargetFunction
    train: RegressionPoints
    validation: RegressionPoints
    test: RegressionPoints
    noise_sd: float

    @property
    def description(self) -> str:
        return f"{len(self.train.x)} + {TEST:,} points, noise {self.noise_sd:g}"

    @property
    def facts(self) -> Facts:
        return {**super().facts, "noise_sd": self.noise_sd}


@dataclass(frozen=True, kw_only=True)
class NoisyFunction:
    """Values of a function with Gaussian noise, at inputs uniform in an interval.

    Args:
        shape: The function and its interval.
        points: Number of training points.
        noise_sd: Standard deviation of the noise.
        seed: Seed of the data; null is the seed of the run.
    """

    shape: TargetFunction
    points: Annotated[int, Ge(3)]
    noise_sd: Annotated[float, Ge(0)]
    seed: Annotated[int, Ge(0)] | None

    def load(self) -> RegressionData:
        train = self._sample("train", self.points)
        return RegressionData(
            name=self.shape.name,
            shape=self.shape,
            train=train,
            validation=self._sample("validation", VALIDATION),
            test=self._sample("test", TEST),
            noise_sd=self.noise_sd,
            sha256=content_hash(*train),
        )

    def _sample(self, split: str, count: int) -> RegressionPoints:
        random = seeded_generator(self.seed, split, "curve")
        low, high = self.shape.low, self.shape.high
        x = low + (high - low) * torch.rand(count, 1, generator=random, dtype=torch.float64)
        noise = torch.randn(count, 1, generator=random, dtype=torch.float64)
        clean = self.shape.value(x)
        return RegressionPoints(x, clean + self.noise_sd * noise, clean)


def _plateaus(x: Tensor) -> Tensor:
    return 2 * torch.tanh(2 * (x - 2.5)) + 2 * torch.tanh(2 * (x + 2.5)) + 0.15 * x


def _wave(x: Tensor) -> Tensor:
    return torch.sin(math.pi * x) + 0.5 * x


PLATEAUS = TargetFunction("plateaus", _plateaus, -5.0, 5.0)
"""An increasing map of [-5, 5] almost onto itself, with plateaus near -4, 0 and 4."""

WAVE = TargetFunction("wave", _wave, -2.0, 2.0)
"""A sine on a slope, which is not monotone."""
