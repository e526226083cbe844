"""Balls that bounce off a floor: noisy heights and noisy times of the bounces, in closed form.

A ball falls with constant acceleration, and each bounce turns its speed around and multiplies it by
the restitution.
"""

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from node_repro.data import Facts, GeneratedData
from node_repro.data.generated import content_hash, seeded_generator

HORIZONS = 2  # length of a test throw, in training horizons
VALIDATION, TEST = 4, 16  # throws
HEIGHTS = (0.5, 2.0)  # of the starts, above the floor
SPEEDS = (-3.0, 3.0)  # of the starts, upwards


class BallConstants(NamedTuple):
    """Acceleration downwards, height of the floor, and speed after over speed before a bounce."""

    gravity: float
    floor: float
    restitution: float


class Throws(NamedTuple):
    """Throws of B balls.

    start: Height and velocity at time 0, (B, 2). heights: Noisy heights (B, T). true: Heights
    without noise (B, T). bounces: Noisy times of the first bounces, (B, K). true_bounces: The same
    without noise.
    """

    start: Tensor
    heights: Tensor
    true: Tensor
    bounces: Tensor
    true_bounces: Tensor


@dataclass(frozen=True, kw_only=True)
class BallData(GeneratedData):
    """Throws whose starts are known.

    Test throws have the times `ts`, which extend to HORIZONS times the training horizon. Training
    and validation throws have the first `points` of them.
    """

    constants: BallConstants
    ts: Tensor
    points: int
    train: Throws
    validation: Throws
    test: Throws

    @property
    def description(self) -> str:
        end = float(self.ts[self.points - 1])
        return f"{len(self.train.start)} throws of a bouncing ball, observed for {end:g} seconds"

    @property
    def facts(self) -> Facts:
        return {**super().facts, **self.constants._asdict()}


@dataclass(frozen=True, kw_only=True)
class BouncingBall:
    """Throws of a bouncing ball with Gaussian noise, in metres and seconds.

    Args:
        gravity: Acceleration downwards.
        floor: Height of the floor.
        restitution: Speed after a bounce over the speed before it.
        throws: Number of training throws.
        points: Times at which the height of a training throw is observed, with the initial one.
        horizon: Time of the last of them.
        bounces: Number of bounces of a throw whose times are observed.
        height_sd: Standard deviation of the noise of heights.
        time_sd: Standard deviation of the noise of times.
        seed: Seed of the data; null is the seed of the run.
    """

    gravity: Annotated[float, Gt(0)]
    floor: float
    restitution: Annotated[float, Gt(0), Lt(1)]
    throws: Annotated[int, Ge(1)]
    points: Annotated[int, Ge(3)]
    horizon: Annotated[float, Gt(0)]
    bounces: Annotated[int, Ge(1)]
    height_sd: Annotated[float, Ge(0)]
    time_sd: Annotated[float, Ge(0)]
    seed: Annotated[int, Ge(0)] | None

    def load(self) -> BallData:
        steps = torch.arange(HORIZONS * (self.points - 1) + 1, dtype=torch.float64)
        ts = steps * (self.horizon / (self.points - 1))
        train = self._throws("train", self.throws, ts[: self.points])
        return BallData(
            name="bouncing_ball",
            constants=self._constants,
            ts=ts,
            points=self.points,
            train=train,
            validation=self._throws("validation", VALIDATION, ts[: self.points]),
            test=self._throws("test", TEST, ts),
            sha256=content_hash(*train),
        )

    @property
    def _constants(self) -> BallConstants:
        return BallConstants(self.gravity, self.floor, self.restitution)

    def _throws(self, split: str, count: int, ts: Tensor) -> Throws:
        random = seeded_generator(self.seed, split, "throws")

        def uniform(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(count, generator=random, dtype=torch.float64)

        def noise(like: Tensor) -> Tensor:
            return torch.randn(like.shape, generator=random, dtype=torch.float64)

        start = torch.stack((self.floor + uniform(*HEIGHTS), uniform(*SPEEDS)), dim=1)
        motions = [throw(self._constants, one, ts, self.bounces) for one in start.tolist()]
        true, bounces = (torch.stack(parts) for parts in zip(*motions, strict=True))
        heights = true + self.height_sd * noise(true)
        heights[:, 0] = true[:, 0]
        return Throws(start, heights, true, bounces + self.time_sd * noise(bounces), bounces)


def throw(
    constants: BallConstants, start: tuple[float, float], ts: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """The heights (T,) at times ts (T,), increasing from 0, and the times (count,) of the first
    bounces.

    A ball that has bounced infinitely often rests on the floor.
    """
    gravity, floor, restitution = constants
    (height, speed), time = start, 0.0
    times: list[float] = []
    heights = torch.full_like(ts, floor)
    while len(times) < count or time < float(ts[-1]):
        duration = (speed + math.sqrt(speed**2 + 2 * gravity * (height - floor))) / gravity
        if time + duration == time:
            break
        s = ts - time
        flight = (s >= 0) & (s <= duration)
        path = height + speed * s - gravity / 2 * s.square()
        heights = torch.where(flight, path, heights)
        time += duration
        times.append(time)
        height, speed = floor, restitution * (gravity * duration - speed)
    times += [time] * (count - len(times))
    return heights, torch.tensor(times[:count], dtype=torch.float64)
