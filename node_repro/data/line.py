"""Noisy points of a line through a known point."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from annotated_types import Ge
from torch import Tensor

from node_repro.data import Facts, GeneratedData
from node_repro.data.generated import content_hash, seeded_generator

LENGTH = 5.0  # of the interval [0, LENGTH] of x
TEST = 200  # points


class LinePoints(NamedTuple):
    """x (N,), float64, increasing; noisy values y and noiseless values clean, (N, 1)."""

    x: Tensor
    y: Tensor
    clean: Tensor


@dataclass(frozen=True, kw_only=True)
class LineData(GeneratedData):
    """Points of y = start + slope x, where `start` is known and `slope` is to be estimated."""

    slope: float
    start: float
    noise_sd: float
    train: LinePoints
    test: LinePoints

    @property
    def description(self) -> str:
        return f"{len(self.train.x)} points of a line through a known start"

    @property
    def facts(self) -> Facts:
        return {**super().facts, "noise_sd": self.noise_sd}


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line with Gaussian noise, at uniform x.

    Args:
        slope: Slope of the line.
        start: Value of the line at x = 0, which the model is given.
        points: Number of training points.
        noise_sd: Standard deviation of the noise.
        seed: Seed of the data; null is the seed of the run.
    """

    slope: float
    start: float
    points: Annotated[int, Ge(3)]
    noise_sd: Annotated[float, Ge(0)]
    seed: Annotated[int, Ge(0)] | None

    def load(self) -> LineData:
        train = self._sample("train", self.points)
        return LineData(
            name="line",
            slope=self.slope,
            start=self.start,
            noise_sd=self.noise_sd,
            train=train,
            test=self._sample("test", TEST),
            sha256=content_hash(train.x, train.y),
        )

    def _sample(self, split: str, count: int) -> LinePoints:
        random = seeded_generator(self.seed, split, "line")
        x = LENGTH * torch.rand(count, generator=random, dtype=torch.float64).sort().values
        clean = (self.start + self.slope * x)[:, None]
        noise = torch.randn(count, 1, generator=random, dtype=torch.float64)
        return LinePoints(x, clean + self.noise_sd * noise, clean)
