"""Labelled points of the plane, for classification: the label is the curve that a point lies on.

The curves are those of `curves`, which flows learn as densities.
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from annotated_types import Ge
from torch import Tensor

from node_repro.data import GeneratedData
from node_repro.data.curves import Curve, TwoCircles, TwoMoons, TwoSpirals
from node_repro.data.generated import content_hash, seeded_generator

VALIDATION, TEST = 500, 2_000  # points


class ScaledCurve(NamedTuple):
    """A curve at its own scale, and the factor that all lengths are multiplied with."""

    name: str
    curve: Curve
    scale: float


class LabelledPoints(NamedTuple):
    """Points x (N, 2) and their labels (N,), int64, from 0."""

    x: Tensor
    label: Tensor


@dataclass(frozen=True, kw_only=True)
class ClassificationData(GeneratedData):
    """Three splits of labelled points; `classes` is the number of labels."""

    classes: int
    train: LabelledPoints
    validation: LabelledPoints
    test: LabelledPoints

    @property
    def description(self) -> str:
        return f"{len(self.train.x)} + {TEST:,} points of {self.classes} classes"


@dataclass(frozen=True, kw_only=True)
class LabelledCurves:
    """Points of the branches of a curve, with Gaussian noise.

    Args:
        shape: The curve and its scale.
        points: Number of training points.
        noise: Standard deviation of the noise, before scaling.
        seed: Seed of the data; null is the seed of the run.
    """

    shape: ScaledCurve
    points: Annotated[int, Ge(3)]
    noise: Annotated[float, Ge(0.01)]
    seed: Annotated[int, Ge(0)] | None

    def load(self) -> ClassificationData:
        train = self._sample("train", self.points)
        return ClassificationData(
            name=self.shape.name,
            classes=self.shape.curve.branches,
            train=train,
            validation=self._sample("validation", VALIDATION),
            test=self._sample("test", TEST),
            sha256=content_hash(*train),
        )

    def _sample(self, split: str, count: int) -> LabelledPoints:
        random = seeded_generator(self.seed, split, "labelled")
        curve = self.shape.curve
        label = torch.randint(curve.branches, (count,), generator=random)
        s = torch.rand(count, generator=random, dtype=torch.float64)
        noise = torch.randn(count, 2, generator=random, dtype=torch.float64)
        x = self.shape.scale * (curve.place(label, s) + self.noise * noise)
        return LabelledPoints(x, label)


CIRCLES = ScaledCurve("labelled_circles", TwoCircles(noise=0.0, scale=1.0, factor=0.5), 2.0)
MOONS = ScaledCurve("labelled_moons", TwoMoons(noise=0.0, scale=1.0), 1.5)
SPIRALS = ScaledCurve("labelled_spirals", TwoSpirals(noise=0.0, scale=1.0), 3.0)
