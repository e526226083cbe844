"""Newton's iteration for the stages of an implicit step (Hairer, Wanner: Solving ODEs II, IV.8).

Unknown are the slopes k_i = f(t_i, y_i + h sum_j a_ij k_j) of stages that are found together. The
simplified iteration solves with one df/dy, of the step's start or of an earlier step.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from node_repro.ode.methods import Newton, Rate
from node_repro.ode.methods.linear_system import LinearSystem
from node_repro.ode.solution import SolverError

SLOWEST = 0.9  # contraction beyond which the iteration is given up


class NoConvergence(SolverError):
    """Newton's iteration did not converge. newton: what the next attempt may reuse."""

    def __init__(
        self, t: float, h: float, size: float, *, advice: str, newton: Newton | None
    ) -> None:
        super().__init__(
            "no_convergence",
            f"Newton's iteration for the stages of an implicit step from t = {t:g} with "
            f"h = {h:.3g} did not converge (its last change was {size:.2g} {advice}",
            t=t,
            h=h,
        )
        self.newton = newton


class Accuracy(NamedTuple):
    """When the iteration ends: measure(change, y) is the size of a change (m, *S) of the stages in
    units of what is allowed, given the largest states (*S); its error may be at most part of that.

    floor: changes below it that do not shrink are rounding errors. tries: iterations. exact:
    whether Newton's own iteration, with df/dy at every iterate, follows where the simplified one
    fails, and convergence is always measured. linear: relative accuracy of an iterative linear
    solver. advice: the end of a message.
    """

    measure: Callable[[Tensor, Tensor], Tensor]
    part: float
    floor: float
    tries: int
    exact: bool
    linear: float
    advice: str


def to_rounding(dtype: torch.dtype) -> Accuracy:
    """As exact as the dtype allows: for steps whose size is given."""
    eps = torch.finfo(dtype.to_real()).eps
    advice = (
        "relative to the state): take smaller steps, an adaptive method such as esdirk54, or "
        "float64, and see that f is smooth"
    )
    return Accuracy(_relative_size, 4 * eps, 2e3 * eps, 40, True, 1e-4, advice)


def to_tolerance(measure: Callable[[Tensor, Tensor], Tensor]) -> Accuracy:
    """A small part of the error that a step is allowed."""
    advice = (
        "times the tolerance), however short the step: see that f is smooth and finite there, "
        "raise rtol and atol, or use float64"
    )
    return Accuracy(measure, 0.01, 0.03, 8, False, 1e-2, advice)


def _relative_size(change: Tensor, y: Tensor) -> Tensor:
    """The largest element, relative to that of y."""
    largest = y.abs().amax()
    return change.abs().amax() / largest.clamp_min(torch.finfo(largest.dtype).tiny)


@dataclass(frozen=True)
class Stages:
    """The equations of stages that are found together: their rates and times, what of their states
    is known (m, *S), the coefficients that couple them, and the state at the step's start.
    """

    rates: Sequence[Rate]
    times: Sequence[float]
    known: Tensor
    coupling: tuple[tuple[float, ...], ...]
    h: float
    y: Tensor

    def states(self, slopes: Tensor) -> Tensor:
        """y_i = known_i + h sum_j a_ij k_j."""
        return self.known + self.moved(slopes)

    def moved(self, slopes: Tensor) -> Tensor:
        """h sum_j a_ij k_j."""
        if len(self.coupling) == 1:
            return slopes * (self.h * self.coupling[0][0])
        a = torch.tensor(self.coupling, dtype=slopes.dtype, device=slopes.device)
        return torch.tensordot(a * self.h, slopes, dims=1)

    def residual(self, slopes: Tensor) -> Tensor:
        """f(t_i, y_i) - k_i."""
        states = self.states(slopes)
        pairs = zip(self.rates, states, strict=True)
        return torch.stack([rate(y, integrands=False).dy for rate, y in pairs]) - slopes

    def size(self, change: Tensor, slopes: Tensor, accuracy: Accuracy) -> float:
        """Of a change of the slopes, in what it changes the states. The one read of the host."""
        largest = torch.maximum(self.y.abs(), self.states(slopes).abs().amax(0))
        return float(accuracy.measure(self.moved(change), largest))


class Found(NamedTuple):
    """slopes: (m, *S); contraction: of the slowest iteration; size: of the last change."""

    slopes: Tensor
    contraction: float
    size: float
    converged: bool


def iterate(
    stages: Stages,
    slopes: Tensor,
    system: Callable[[Stages, Tensor], LinearSystem],
    accuracy: Accuracy,
    contraction: float | None,
) -> Found:
    """Newton's iteration from a guess of the slopes.

    system: the linear equations at the present slopes. contraction: as is known from earlier
    stages, so that one iteration may be enough; None: it is measured first.
    """
    worst, last, size = 0.0, None, math.inf
    for count in range(accuracy.tries):
        change = system(stages, slopes).solve(stages.residual(slopes))
        slopes = slopes + change
        size, before = stages.size(change, slopes, accuracy), size
        if not math.isfinite(size):
            break
        if size == 0.0:
            return Found(slopes, worst, size, True)
        if count:
            rate = size / before
            worst = max(worst, rate) if size > accuracy.floor else worst
            last = rate
            if size <= accuracy.floor and rate > 0.5:
                return Found(slopes, worst, size, True)
        else:
            last = contraction
        if last is None:
            continue
        if count and last >= (2.0 if accuracy.exact else SLOWEST):
            break
        if last < 1.0 and last / (1.0 - last) * size <= accuracy.part:
            return Found(slopes, worst, size, True)
        left = accuracy.tries - 1 - count
        if count and not accuracy.exact and last**left / (1.0 - last) * size > accuracy.part:
            break
    return Found(slopes, 1.0, size, False)
