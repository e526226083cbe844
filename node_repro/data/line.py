"""Noisy points of a line through a known start: kind "line"."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from node_repro.data.series import digest, generator

LENGTH = 5.0  # the line is over [0, LENGTH]
TEST = 200  # points


class OnLine(NamedTuple):
    """x: (N,) float64, rising. y: (N, 1), noisy. clean: (N, 1)."""

    x: Tensor
    y: Tensor
    clean: Tensor


@dataclass(frozen=True, kw_only=True)
class LineData:
    """y = start + slope x, with y(0) = start known and the slope to be found."""

    slope: float
    start: float
    noise_sd: float
    train: OnLine
    test: OnLine
    sha256: str
    name: str = "line"
    notice: str | None = None

    @property
    def description(self) -> str:
        return f"{len(self.train.x)} points of a line through a known start"

    @property
    def facts(self) -> Mapping[str, bool | int | float | str | None]:
        return {"sha256": self.sha256, "noise_sd": self.noise_sd}


@dataclass(frozen=True, kw_only=True)
class Line:
    """points: to train on. noise_sd: of what is added to their y. seed: theirs."""

    slope: float
    start: float
    points: int
    noise_sd: float
    seed: int

    def load(self) -> LineData:
        train = self._drawn("train", self.points)
        return LineData(
            slope=self.slope,
            start=self.start,
            noise_sd=self.noise_sd,
            train=train,
            test=self._drawn("test", TEST),
            sha256=digest(train.x, train.y),
        )

    def _drawn(self, split: str, count: int) -> OnLine:
        random = generator(self.seed, split, "line")
        x = LENGTH * torch.rand(count, generator=random, dtype=torch.float64).sort().values
        clean = (self.start + self.slope * x)[:, None]
        noise = torch.randn(count, 1, generator=random, dtype=torch.float64)
        return OnLine(x, clean + self.noise_sd * noise, clean)
