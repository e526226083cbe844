"""Learning-rate schedules: a factor of lr as a function of the fraction of the training done."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

from annotated_types import Ge, Gt, Le, Lt


class Schedule(Protocol):
    """Interface of a schedule. It depends on the progress only, so it has no state to resume."""

    def __call__(self, progress: float) -> float:
        """Return the factor of the learning rate at the fraction `progress` in [0, 1)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Constant:
    """Constant learning rate."""

    def __call__(self, progress: float) -> float:
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """Cosine decay from 1 to final (Loshchilov and Hutter 2017), after a linear warm-up.

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
    """Step decay: the learning rate is multiplied by a factor at every milestone.

    Args:
        milestones: Increasing fractions of the training at which the rate falls.
        factor: Factor of the rate at each milestone.
    """

    milestones: Sequence[Annotated[float, Gt(0), Lt(1)]]
    factor: Annotated[float, Gt(0), Le(1)]

    def __call__(self, progress: float) -> float:
        return self.factor ** sum(progress >= milestone for milestone in self.milestones)
