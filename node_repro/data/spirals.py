"""Two-dimensional spirals in both directions, irregularly observed (section 5.1 of the paper).

The paper says: 1,000 spirals, each from another start, 100 equally spaced times, half of them
clockwise, Gaussian noise, n of the 100 observed, 100 further times to predict. It gives neither
formula nor noise. `paper_like` is what its figure 8 and table 2 suggest: inwards, one and a quarter
turns observed and as many ahead, radius 2 at most, noise 0.1; starts lie at radii from 1 to 2, so
that what lies ahead of one spiral others have passed. `torchdiffeq` is the generator of that
library's example: windows of two fixed curves, here only windows that have a future.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from node_repro.data import DataError
from node_repro.data.series import Series, digest, generator

WINDOW = 100  # times that can be observed; as many follow
STEP = 0.1  # time between two points of a paper-like spiral
RADIUS = 2.0
RADIUS_SPREAD = 0.5  # starts lie within this fraction of the outer radius
INNER = 0.2  # the radius at the last time, as a fraction of that at the first
TURNS = 2.5  # over all 200 times
VALIDATION, TEST = 0.1, 0.2  # fractions of the trajectories


class Curves(NamedTuple):
    """ts: (2 WINDOW,) float64; x: (B, 2 WINDOW, 2) without noise; direction: (B,), 1 for
    counter-clockwise and -1 for clockwise.
    """

    ts: Tensor
    x: Tensor
    direction: Tensor


class Shape(Protocol):
    """Draws so many curves."""

    __name__: str

    def __call__(self, count: int, random: torch.Generator) -> Curves: ...


class SpiralSplit(NamedTuple):
    """observed: n noisy points of each window. clean, noisy: (B, 2 WINDOW, 2), the window and its
    future. direction: (B,), 1 counter-clockwise, -1 clockwise.
    """

    observed: Series
    clean: Tensor
    noisy: Tensor
    direction: Tensor

    @property
    def examples(self) -> int:
        return len(self.direction)

    def of(self, chosen: Tensor) -> "SpiralSplit":
        """The spirals at the indices chosen: (b,)."""
        rest = (part[chosen] for part in self[1:])
        return SpiralSplit(self.observed.of(chosen), *rest)

    def to(self, device: torch.device, dtype: torch.dtype) -> "SpiralSplit":
        """Everything but the grid on the device, in the dtype."""
        rest = (part.to(device, dtype) for part in self[1:])
        return SpiralSplit(self.observed.to(device, dtype), *rest)


@dataclass(frozen=True, kw_only=True)
class SpiralData:
    """sha256 identifies curves, noise and sampling."""

    name: str
    train: SpiralSplit
    validation: SpiralSplit
    test: SpiralSplit
    sha256: str
    notice: str | None = None

    @property
    def description(self) -> str:
        parts = (self.train, self.validation, self.test)
        counts = " + ".join(str(len(part.direction)) for part in parts)
        seen = self.train.observed.at.shape[1]
        return f"{counts} generated spirals to train, select and test, {seen} of {WINDOW} seen"

    @property
    def facts(self) -> Mapping[str, bool | int | float | str | None]:
        return {"sha256": self.sha256, "train_count": len(self.train.direction)}


@dataclass(frozen=True, kw_only=True)
class Spirals:
    """shape: draws the curves. trajectories: in all, of which seven tenths train, a tenth selects,
    two tenths test. observed: points seen of each window. noise_sd: of the noise. seed: of
    all of it.

    The curves, their noise and the split do not depend on `observed`.
    """

    shape: Shape
    trajectories: int
    observed: int
    noise_sd: float
    seed: int

    def load(self) -> SpiralData:
        """The three splits. Raises DataError where a number makes no sense."""
        if self.trajectories < 10:
            raise DataError(f"data.trajectories={self.trajectories} cannot be split: take >= 10.")
        if not 1 <= self.observed <= WINDOW:
            raise DataError(
                f"data.observed={self.observed} must be between 1 and {WINDOW}, the points of a "
                "window."
            )
        curves = self.shape(self.trajectories, generator(self.seed, "curves"))
        noise = torch.randn(curves.x.shape, generator=generator(self.seed, "noise")).double()
        noisy = curves.x + self.noise_sd * noise
        at = sampled(self.trajectories, self.observed, generator(self.seed, "times"))
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
        train, validation, tested = (whole.of(part) for part in parts)
        return SpiralData(
            name=f"spirals-{self.shape.__name__}-{self.observed}",
            train=train,
            validation=validation,
            test=tested,
            sha256=digest(curves.x, noisy, at),
        )


def paper_like(count: int, random: torch.Generator) -> Curves:
    """Inward spirals about the origin: constant angular speed, the radius falls exponentially."""
    direction = balanced(count, random)
    phase = 2 * math.pi * torch.rand(count, generator=random).double()
    start = RADIUS * (1 - RADIUS_SPREAD * torch.rand(count, generator=random).double())
    progress = torch.linspace(0, 1, 2 * WINDOW, dtype=torch.float64)
    radius = start[:, None] * INNER**progress
    angle = phase[:, None] + direction[:, None] * 2 * math.pi * TURNS * progress
    x = torch.stack((radius * angle.cos(), radius * angle.sin()), dim=2)
    return Curves(STEP * torch.arange(2 * WINDOW, dtype=torch.float64), x, direction)


def torchdiffeq(count: int, random: torch.Generator) -> Curves:
    """Windows of 200 of the 500 points of two fixed curves over [0, 6 pi].

    Clockwise about (-5, 0) with r = 15 / z, z = 6 pi + 1 - t; counter-clockwise about (5, 0) with
    r = 0.3 t. Windows start at point 100 to 300, the last that have all their future.
    """
    stop, points = 6 * math.pi, 500
    direction = balanced(count, random)
    first = torch.randint(100, points - 2 * WINDOW + 1, (count,), generator=random)
    t = torch.linspace(0, stop, points, dtype=torch.float64)
    z = stop + 1 - t
    inward = torch.stack((15 / z * z.cos() - 5, 15 / z * z.sin()), dim=1)
    outward = torch.stack((0.3 * t * t.cos() + 5, 0.3 * t * t.sin()), dim=1)
    curves = torch.stack((inward, outward))
    places = first[:, None] + torch.arange(2 * WINDOW)
    x = curves[(direction > 0).long()[:, None], places]
    return Curves(t[: 2 * WINDOW].clone(), x, direction)


def balanced(count: int, random: torch.Generator) -> Tensor:
    """As many 1 as -1, in random order: (count,) float64."""
    signs = torch.ones(count, dtype=torch.float64)
    signs[1::2] = -1
    return signs[torch.randperm(count, generator=random)]


def sampled(count: int, observed: int, random: torch.Generator) -> Tensor:
    """For every trajectory `observed` places of its window, drawn without replacement, sorted."""
    order = torch.rand(count, WINDOW, generator=random).argsort(1)
    return order[:, :observed].sort(1).values
