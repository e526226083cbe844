"""Newton's iteration for the stages of an implicit step (Hairer, Wanner: Solving ODEs II, IV.8).

The unknowns are the slopes k_i = f(t_i, y_i + h sum_j a_ij k_j) of stages that are solved together.
The simplified iteration uses one df/dy, from the start of the step or from an earlier step.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from node_repro.ode.methods import Newton, Rate, to_device
from node_repro.ode.methods.linear_system import LinearSystem
from node_repro.ode.solution import SolverError

SLOWEST = 0.9  # the iteration stops with a failure at this contraction


class NoConvergence(SolverError):
    """Newton's iteration did not converge.

    Attributes:
        newton: What the next attempt may reuse.
    """

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
    """The stopping criterion of the iteration.

    Attributes:
        measure: measure(change, y) is the size of a change of the stages, (m, *S), in units of the
            tolerance, given the largest states (*S).
        part: The allowed remaining error, in these units.
        floor: Changes below it that do not shrink are rounding errors.
        tries: The maximum number of iterations.
        exact: Whether the convergence is always measured, and full Newton iteration, with df/dy at
            every iterate, is used if the simplified one fails.
        linear: The relative accuracy of an iterative linear solver.
        advice: The end of the error message.
    """

    measure: Callable[[Tensor, Tensor], Tensor]
    part: float
    floor: float
    tries: int
    exact: bool
    linear: float
    advice: str


def to_rounding(dtype: torch.dtype) -> Accuracy:
    """Convergence to rounding errors, for steps without tolerances."""
    eps = torch.finfo(dtype.to_real()).eps
    advice = (
        "relative to the state): take smaller steps, an adaptive method such as esdirk54, or "
        "float64, and check that f is smooth"
    )
    return Accuracy(_relative_size, 4 * eps, 2e3 * eps, 40, True, 1e-4, advice)


def to_tolerance(measure: Callable[[Tensor, Tensor], Tensor]) -> Accuracy:
    """Convergence to a small fraction of a step's tolerance."""
    advice = (
        "times the tolerance), even for short steps: check that f is smooth and finite there, "
        "raise rtol and atol, or use float64"
    )
    return Accuracy(measure, 0.01, 0.03, 8, False, 1e-2, advice)


def _relative_size(change: Tensor, y: Tensor) -> Tensor:
    """The largest element of a change, relative to the largest element of y."""
    largest = y.abs().amax()
    return change.abs().amax() / largest.clamp_min(torch.finfo(largest.dtype).tiny)


@dataclass(frozen=True)
class Stages:
    """The equations of m stages that are solved together.

    Args:
        rates: The field at the time of each stage.
        times: The times of the stages.
        known: The part of the states that does not depend on the unknown slopes, (m, *S).
        coupling: The coefficients a_ij of these stages.
        h: The signed step size.
        y: The state at the start of the step, (*S).
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
        a = to_device(torch.tensor(self.coupling, dtype=slopes.dtype), slopes)
        return torch.tensordot(a * self.h, slopes, dims=1)

    def residual(self, slopes: Tensor) -> Tensor:
        """f(t_i, y_i) - k_i."""
        states = self.states(slopes)
        pairs = zip(self.rates, states, strict=True)
        return torch.stack([rate(y, integrands=False).dy for rate, y in pairs]) - slopes

    def size(self, change: Tensor, slopes: Tensor, accuracy: Accuracy) -> float:
        """The size of the change of the states for a change of the slopes. One host read."""
        largest = torch.maximum(self.y.abs(), self.states(slopes).abs().amax(0))
        return float(accuracy.measure(self.moved(change), largest))


class IterationResult(NamedTuple):
    """The result of an iteration.

    Attributes:
        slopes: The slopes of the stages, (m, *S).
        contraction: The rate of convergence of the slowest iteration.
        size: The size of the last change.
        converged: Whether it converged.
    """

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
) -> IterationResult:
    """Solve the equations of the stages by Newton's iteration.

    Args:
        stages: The equations.
        slopes: The predicted slopes, (m, *S).
        system: Returns the linear equations at the current slopes.
        accuracy: The stopping criterion.
        contraction: The rate of convergence of earlier stages, with which one iteration may
            suffice; None measures it first.
    """
    worst, last, size = 0.0, None, math.inf
    for count in range(accuracy.tries):
        change = system(stages, slopes).solve(stages.residual(slopes))
        slopes = slopes + change
        size, before = stages.size(change, slopes, accuracy), size
        if not math.isfinite(size):
            break
        if size == 0.0:
            return IterationResult(slopes, worst, size, True)
        if count:
            rate = size / before
            worst = max(worst, rate) if size > accuracy.floor else worst
            last = rate
            if size <= accuracy.floor and rate > 0.5:
                return IterationResult(slopes, worst, size, True)
        else:
            last = contraction
        if last is None:
            continue
        if count and last >= (2.0 if accuracy.exact else SLOWEST):
            break
        if last < 1.0 and last / (1.0 - last) * size <= accuracy.part:
            return IterationResult(slopes, worst, size, True)
        left = accuracy.tries - 1 - count
        if count and not accuracy.exact and last**left / (1.0 - last) * size > accuracy.part:
            break
    return IterationResult(slopes, 1.0, size, False)
