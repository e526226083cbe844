"""Learning-rate schedules: the factor of lr as a function of the fraction of training done."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

from annotated_types import Ge, Gt, Le, Lt


class Schedule(Protocol):
    """A function of the progress alone, so that a resumed run needs nothing but its position."""

    def __call__(self, progress: float) -> float:
        """The factor of the learning rate when a fraction `progress` in [0, 1) is done."""
        ...


@dataclass(frozen=True, kw_only=True)
class Constant:
    """Always 1."""

    def __call__(self, progress: float) -> float:
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """Half a cosine from 1 to final (Loshchilov and Hutter 2017), after a linear warm-up.

    Args:
        final: Last learning rate as a fraction of lr.
        warmup: Fraction of the training during which the rate rises from 0.
    """

    final: Annotated[float, Ge(0), Le(1)]
    warmup: Annotated[float, Ge(0), Lt(1)]

    def __call__(self, progress: float) -> float:
        if progress < self.warmup:
            return progress / self.warmup
        x = (progress - self.warmup) / (1 - self.warmup)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * x))


@dataclass(frozen=True, kw_only=True)
class Step:
    """Multiplied by a factor at every milestone.

    Args:
        milestones: Increasing fractions of the training at which the rate falls.
        factor: What the rate is multiplied by at a milestone.
    """

    milestones: Sequence[Annotated[float, Gt(0), Lt(1)]]
    factor: Annotated[float, Gt(0), Le(1)]

    def __call__(self, progress: float) -> float:
        return self.factor ** sum(progress >= milestone for milestone in self.milestones)
