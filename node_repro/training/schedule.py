"""Learning-rate schedules: a factor as a function of the fraction of the training that is done."""

import math
from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """Stateless, so that a resumed run needs nothing but its position."""

    def __call__(self, progress: float) -> float:
        """The factor of the learning rate; progress in [0, 1)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Constant:
    """Always 1."""

    def __call__(self, progress: float) -> float:
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """Half a cosine from 1 to final (Loshchilov and Hutter 2017), after a linear warm-up."""

    final: float
    warmup: float

    def __call__(self, progress: float) -> float:
        if progress < self.warmup:
            return progress / self.warmup
        x = (progress - self.warmup) / (1 - self.warmup)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * x))


@dataclass(frozen=True, kw_only=True)
class Step:
    """Times factor at every milestone, which are fractions of the training."""

    milestones: tuple[float, ...]
    factor: float

    def __call__(self, progress: float) -> float:
        return self.factor ** sum(progress >= milestone for milestone in self.milestones)
