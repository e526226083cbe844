"""Two-dimensional spirals in both directions, irregularly observed (section 5.1 of the paper).

The paper describes 1,000 spirals with different starts, half of them clockwise, 100 equally spaced
times, Gaussian noise, n of the 100 points observed, and 100 further times to predict. It gives
neither the formula nor the noise. `paper_like` follows its figure 8 and table 2: inward, one and a
quarter turns in the window and as many after it, radius at most 2, noise 0.1. Starts have radii
from 1 to 2, so that other spirals cover the region in which one continues after its window.
`loose` and `tight` are the same with half and with twice the number of turns, for how much results
depend on this choice. `torchdiffeq` is the generator of that library's example, windows of two
fixed curves, limited to windows with a future.
"""

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple, Protocol

import torch
from annotated_types import Ge, Le
from torch import Tensor

from node_repro.data import DataError, Facts, GeneratedData
from node_repro.data.examples import select_examples
from node_repro.data.generated import content_hash, seeded_generator
from node_repro.data.series import Series

WINDOW = 100  # times that can be observed; as many more are predicted
STEP = 0.1  # time between two points of a paper-like spiral
RADIUS = 2.0
RADIUS_SPREAD = 0.5  # range of the starts' radii, as a fraction of the largest
INNER = 0.2  # radius at the last time, as a fraction of that at the first
TURNS = 2.5  # over all 200 times
VALIDATION, TEST = 0.1, 0.2  # fractions of the trajectories


class Curves(NamedTuple):
    """Noiseless curves x (B, 2 WINDOW, 2) at times ts (2 WINDOW,), float64.

    direction (B,) is 1 for counter-clockwise and -1 for clockwise.
    """

    ts: Tensor
    x: Tensor
    direction: Tensor


class Shape(Protocol):
    """Draws `count` curves."""

    __name__: str

    def __call__(self, count: int, random: torch.Generator) -> Curves: ...


class SpiralSplit(NamedTuple):
    """B spirals.

    observed: n noisy points of each window. clean, noisy: (B, 2 WINDOW, 2), the window and the
    times after it. direction: (B,), 1 for counter-clockwise and -1 for clockwise.
    """

    observed: Series
    clean: Tensor
    noisy: Tensor
    direction: Tensor


@dataclass(frozen=True, kw_only=True)
class SpiralData(GeneratedData):
    """Three splits of spirals; `sha256` identifies curves, noise and observed points."""

    train: SpiralSplit
    validation: SpiralSplit
    test: SpiralSplit

    @property
    def description(self) -> str:
        parts = (self.train, self.validation, self.test)
        counts = " + ".join(str(len(part.direction)) for part in parts)
        seen = self.train.observed.at.shape[1]
        return f"{counts} generated spirals to train, select and test, {seen} of {WINDOW} seen"

    @property
    def facts(self) -> Facts:
        return {**super().facts, "train_count": len(self.train.direction)}


@dataclass(frozen=True, kw_only=True)
class Spirals:
    """Spirals, split 7:1:2 into training, validation and test.

    The curves, their noise and the split do not depend on `observed`.

    Args:
        shape: The function that draws the curves.
        trajectories: Number of spirals in all.
        observed: Observed points of the 100 in a window.
        noise_sd: Standard deviation of the noise.
        seed: Seed of the data; null is the seed of the run.
    """

    shape: Shape
    trajectories: Annotated[int, Ge(10)]
    observed: Annotated[int, Ge(1), Le(100)]
    noise_sd: Annotated[float, Ge(0)]
    seed: Annotated[int, Ge(0)] | None

    def load(self) -> SpiralData:
        """The three splits. Raises DataError if an option is out of range."""
        if self.trajectories < 10:
            raise DataError(
                f"data.trajectories={self.trajectories} cannot be split: use at least 10."
            )
        if not 1 <= self.observed <= WINDOW:
            raise DataError(
                f"data.observed={self.observed} must be between 1 and {WINDOW}, the points of a "
                "window."
            )
        curves = self.shape(self.trajectories, seeded_generator(self.seed, "curves"))
        noise = torch.randn(curves.x.shape, generator=seeded_generator(self.seed, "noise")).double()
        noisy = curves.x + self.noise_sd * noise
        at = observed_places(self.trajectories, self.observed, seeded_generator(self.seed, "times"))
        x = noisy.gather(1, at[..., None].expand(-1, -1, 2))
        count = torch.full((len(at),), self.observed)
        whole = SpiralSplit(
            Series(curves.ts, count, at, x, torch.ones_like(x, dtype=torch.bool)),
            curves.x,
            noisy,
            curves.direction,
        )
        test, held = round(TEST * len(at)), round(VALIDATION * len(at))
        parts = torch.arange(len(at)).split([len(at) - held - test, held, test])
        train, validation, tested = (select_examples(whole, part) for part in parts)
        return SpiralData(
            name=f"spirals-{self.shape.__name__}-{self.observed}",
            train=train,
            validation=validation,
            test=tested,
            sha256=content_hash(curves.x, noisy, at),
        )


def paper_like(count: int, random: torch.Generator) -> Curves:
    """Inward spirals of TURNS turns."""
    return inward_spirals(count, random, TURNS)


def loose(count: int, random: torch.Generator) -> Curves:
    """Inward spirals of half as many turns."""
    return inward_spirals(count, random, TURNS / 2)


def tight(count: int, random: torch.Generator) -> Curves:
    """Inward spirals of twice as many turns."""
    return inward_spirals(count, random, 2 * TURNS)


def inward_spirals(count: int, random: torch.Generator, turns: float) -> Curves:
    """Inward spirals about the origin, with constant angular speed and exponential radius."""
    direction = balanced_signs(count, random)
    phase = 2 * math.pi * torch.rand(count, generator=random).double()
    start = RADIUS * (1 - RADIUS_SPREAD * torch.rand(count, generator=random).double())
    progress = torch.linspace(0, 1, 2 * WINDOW, dtype=torch.float64)
    radius = start[:, None] * INNER**progress
    angle = phase[:, None] + direction[:, None] * 2 * math.pi * turns * progress
    x = torch.stack((radius * angle.cos(), radius * angle.sin()), dim=2)
    return Curves(STEP * torch.arange(2 * WINDOW, dtype=torch.float64), x, direction)


def torchdiffeq(count: int, random: torch.Generator) -> Curves:
    """Windows of 200 of the 500 points of two fixed curves over [0, 6 pi].

    One is clockwise about (-5, 0) with r = 15 / z, z = 6 pi + 1 - t; the other is counter-clockwise
    about (5, 0) with r = 0.3 t. Windows start at points 100 to 300, so that all have a future.
    """
    stop, points = 6 * math.pi, 500
    direction = balanced_signs(count, random)
    first = torch.randint(100, points - 2 * WINDOW + 1, (count,), generator=random)
    t = torch.linspace(0, stop, points, dtype=torch.float64)
    z = stop + 1 - t
    inward = torch.stack((15 / z * z.cos() - 5, 15 / z * z.sin()), dim=1)
    outward = torch.stack((0.3 * t * t.cos() + 5, 0.3 * t * t.sin()), dim=1)
    curves = torch.stack((inward, outward))
    places = first[:, None] + torch.arange(2 * WINDOW)
    x = curves[(direction > 0).long()[:, None], places]
    return Curves(t[: 2 * WINDOW].clone(), x, direction)


def balanced_signs(count: int, random: torch.Generator) -> Tensor:
    """As many 1 as -1, in random order, (count,) float64."""
    signs = torch.ones(count, dtype=torch.float64)
    signs[1::2] = -1
    return signs[torch.randperm(count, generator=random)]


def observed_places(count: int, observed: int, random: torch.Generator) -> Tensor:
    """Sorted indices (count, observed) into the window, drawn without replacement."""
    order = torch.rand(count, WINDOW, generator=random).argsort(1)
    return order[:, :observed].sort(1).values
