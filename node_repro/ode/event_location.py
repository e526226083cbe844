"""Locate the first sign change of an event function on the dense output of each step."""

from collections.abc import Callable

import torch
from torch import Tensor

from node_repro.ode.engines import Leg
from node_repro.ode.methods import Method, at

ScalarEvents = Callable[[Tensor, Tensor], Tensor]
"""g(t, y) -> (m,) real numbers, each a separate event."""

# Fractions of a step:
OFFSET = 1e-4  # where the initial sign is evaluated if g starts at zero
BRACKET = 1e-12  # the width at which the search ends, before the final Newton step

ITERATIONS = 120
JUMP = 1e-3  # of |g| at the step's start: a smooth g is smaller this close to its zero


class FirstSignChange:
    """A Watch that ends a solve in the step in which an element of g changes its sign.

    Two changes of sign of one element within a step are missed.

    Args:
        g: The event function.
        method: The method of the solve, whose dense output is searched.
        t0: The time at which the solve starts.
        y0: The state at t0, (*S).
        direction: 1 for signs that rise along the solve, -1 for those that fall, 0 for both.

    Attributes:
        index: Which element of g changed its sign first; None if none did.
        t: The time of the change.
        t_before: A time just before t, at which the sign has not changed.
        h: The signed size of the step.
        in_time_only: Whether the element jumps to 0 as a function of time alone.
    """

    def __init__(
        self, g: ScalarEvents, method: Method, t0: float, y0: Tensor, direction: int
    ) -> None:
        self.g, self.method, self.direction = g, method, direction
        self.index: int | None = None
        self.t: float | None = None
        self.t_before, self.h, self.in_time_only = 0.0, 0.0, False
        self._signs = torch.sign(g(at(t0, y0), y0)).tolist()

    def __call__(self, leg: Leg) -> bool:
        """Search a step; returns True to end the solve."""
        if 0.0 in self._signs:
            later = torch.sign(self._inside(leg, OFFSET)).tolist()
            self._signs = [old or new for old, new in zip(self._signs, later, strict=True)]
        signs = torch.sign(self.g(at(leg.t1, leg.y), leg.step.end.y)).tolist()
        pairs = list(zip(self._signs, signs, strict=True))
        changed = [
            i
            for i, (old, new) in enumerate(pairs)
            if (old * new < 0 or (old != 0 and new == 0)) and old != self.direction
        ]
        self._signs = [new or old for old, new in pairs]
        if not changed:
            return False
        (x, x_before), self.index = min((self._bracket(leg, i), i) for i in changed)
        self.h = float(leg.t1 - leg.t)
        self.t, self.t_before = (float(leg.t) + place * self.h for place in (x, x_before))
        self.in_time_only = self._jumps_in_time(leg, x, x_before)
        return True

    def _jumps_in_time(self, leg: Leg, x: float, x_before: float) -> bool:
        """Whether g jumps to 0 at the fraction x of a step as a function of time alone: it is also
        0 for the state at the step's start, and is not small just before.
        """
        then, start = at(float(leg.t) + x * self.h, leg.y), leg.y.detach()
        zero = all(float(g[self.index]) == 0.0 for g in (self._inside(leg, x), self.g(then, start)))
        near, far = (abs(float(self._inside(leg, place)[self.index])) for place in (x_before, 0.0))
        return zero and near > JUMP * far

    def _inside(self, leg: Leg, x: float) -> Tensor:
        """g at the fraction x of a step."""
        h = leg.t1 - leg.t
        places = torch.tensor([x], dtype=torch.float64)
        y = self.method.interpolate(leg.y, h, leg.step.stages, places)[0]
        return self.g(at(leg.t + x * h, y), y)

    def _bracket(self, leg: Leg, index: int) -> tuple[float, float]:
        """The fraction of the step at which an element of g is zero, and one just before.

        Regula falsi with the Illinois modification (Dowell, Jarratt 1971: A modified regula falsi
        method, BIT 11), and a bisection in every third iteration for functions that are flat at
        their zero.
        """

        def value_at(x: float) -> float:
            return float(self._inside(leg, x)[index])

        low, high = 0.0, 1.0
        at_low, at_high = value_at(low), value_at(high)
        if at_low == 0.0 or at_low * at_high > 0:  # g started as zero
            low, at_low = OFFSET, value_at(OFFSET)
        for i in range(ITERATIONS):
            if high - low < BRACKET:
                break
            if at_high == 0.0:  # an exact zero, or g is 0 from an earlier time on
                before = max(low, high - BRACKET)
                if value_at(before) != 0.0:
                    low = before
                    break
                high = before
            x = high - at_high * (high - low) / (at_high - at_low)
            if at_high == 0.0 or i % 3 == 2 or not low < x < high:
                x = (low + high) / 2
            value = value_at(x)
            if value * at_low <= 0:
                high, at_high, at_low = x, value, at_low / 2
            else:
                low, at_low, at_high = x, value, at_high / 2
        return high, low
