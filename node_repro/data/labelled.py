"""Points of the plane with the branch of the curve that they lie on as their label: kind "classes".

The curves are those of `curves`, which flows learn as densities; here their parts are told apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from node_repro.data.curves import Curve, TwoCircles, TwoMoons, TwoSpirals
from node_repro.data.series import digest, generator

VALIDATION, TEST = 500, 2_000  # points


class Shape(NamedTuple):
    """curve: at its own scale. scale: what all lengths are multiplied with."""

    name: str
    curve: Curve
    scale: float


class LabelledPoints(NamedTuple):
    """x: (N, 2). label: (N,) int64, from 0."""

    x: Tensor
    label: Tensor

    def of(self, chosen: Tensor) -> "LabelledPoints":
        """The points at the indices chosen: (n,)."""
        return LabelledPoints(self.x[chosen], self.label[chosen])

    def to(self, device: torch.device, dtype: torch.dtype) -> "LabelledPoints":
        return LabelledPoints(self.x.to(device, dtype), self.label.to(device))


@dataclass(frozen=True, kw_only=True)
class ClassData:
    """classes: how many labels there are."""

    name: str
    classes: int
    train: LabelledPoints
    validation: LabelledPoints
    test: LabelledPoints
    sha256: str
    notice: str | None = None

    @property
    def description(self) -> str:
        return f"{len(self.train.x)} + {TEST:,} points of {self.classes} classes"

    @property
    def facts(self) -> Mapping[str, bool | int | float | str | None]:
        return {"sha256": self.sha256}


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """points: to train on. noise: standard deviation of the blur, before scaling. seed: theirs."""

    shape: Shape
    points: int
    noise: float
    seed: int

    def load(self) -> ClassData:
        train = self._drawn("train", self.points)
        return ClassData(
            name=self.shape.name,
            classes=self.shape.curve.branches,
            train=train,
            validation=self._drawn("validation", VALIDATION),
            test=self._drawn("test", TEST),
            sha256=digest(*train),
        )

    def _drawn(self, split: str, count: int) -> LabelledPoints:
        random = generator(self.seed, split, "labelled")
        curve = self.shape.curve
        label = torch.randint(curve.branches, (count,), generator=random)
        s = torch.rand(count, generator=random, dtype=torch.float64)
        blur = torch.randn(count, 2, generator=random, dtype=torch.float64)
        return LabelledPoints(self.shape.scale * (curve.place(label, s) + self.noise * blur), label)


CIRCLES = Shape("labelled_circles", TwoCircles(noise=0.0, scale=1.0, factor=0.5), 2.0)
MOONS = Shape("labelled_moons", TwoMoons(noise=0.0, scale=1.0), 1.5)
SPIRALS = Shape("labelled_spirals", TwoSpirals(noise=0.0, scale=1.0), 3.0)
