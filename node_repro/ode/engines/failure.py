"""Errors of the stepping loop, with the time, the state and a remedy in the message."""

import math
from typing import Any, NamedTuple

import torch

from node_repro.ode.controllers import Controller
from node_repro.ode.controllers.adaptive import AdaptiveController
from node_repro.ode.methods import State, Step
from node_repro.ode.methods.newton import NoConvergence
from node_repro.ode.norm import Tolerances
from node_repro.ode.solution import SolverError, count_non_finite


class Failure(NamedTuple):
    """The position of a loop that fails.

    Attributes:
        t: The current time.
        h: The signed size of the next step.
        state: The state at t.
        step: The last step with a decision; None if there was none.
        error: The error of that step, in units of the tolerances.
        tolerances: None where no error is controlled.
    """

    t: float
    h: float
    state: State
    step: Step | None
    error: float
    tolerances: Tolerances | None

    @property
    def largest(self) -> str:
        """The largest element of the state."""
        y = self.state.y.detach().abs()
        return f"{float(y.max()):.3g}" if y.numel() else "0"

    @property
    def worst_error(self) -> str:
        """The element with the largest error, as a part of a sentence; may be empty."""
        if self.step is None or self.tolerances is None:
            return ""
        words = describe_worst_error(self.state, self.step, self.tolerances)
        return f"; {words}" if words else ""


def describe_worst_error(before: State, step: Step, tolerances: Tolerances) -> str:
    """Name the element of the state with the largest error in units of its tolerance.

    Args:
        before: The state at the start of the step.
        step: The step.
        tolerances: The tolerances of its error.

    Returns:
        A part of a message; empty for a step without an error estimate.
    """
    if step.error is None or not step.error.y.numel():
        return ""
    error, end = step.error.y.detach().abs(), step.end.y.detach()
    allowed = tolerances.scale(before.y.detach(), end)
    ratios = (error / allowed).reshape(-1)
    worst = int(ratios.argmax())
    place = tuple(int(i) for i in torch.unravel_index(torch.tensor(worst), error.shape))
    return (
        f"the error is largest in element {place} of the state, {float(ratios[worst]):.3g} "
        f"times the {float(allowed.reshape(-1)[worst]):.3g} that rtol and atol allow"
    )


def check_finite(state: State, t: float) -> None:
    """Raises SolverError (non_finite_state) if the state is not finite."""
    if not torch.isfinite(state.y).all():
        raise SolverError(
            "non_finite_state",
            f"{count_non_finite(state.y)} of the state at t = {t:g} are NaN or infinite; take "
            "smaller steps or an adaptive solver, and check the parameters",
            t=t,
        )


def too_short(h: float, span: float, max_steps: int) -> SolverError:
    """The error of constant steps that cannot reach the end."""
    return SolverError(
        "max_steps",
        f"a span of {abs(span):g} needs {abs(span / h):.0f} steps of {abs(h):g}, more than "
        f"max_steps = {max_steps}: increase step_size or raise max_steps",
        h=h,
    )


def too_many(max_steps: int, end: float, at: Failure) -> SolverError:
    """The error of a solve that needs more than max_steps."""
    return SolverError(
        "max_steps",
        f"{max_steps} steps were not enough: t = {at.t:g} of {end:g}, step {at.h:.3g}"
        f"{at.worst_error}; the problem may be stiff or the tolerance too small: raise rtol and "
        "atol, or raise max_steps",
        t=at.t,
        h=at.h,
    )


def underflow(at: Failure) -> SolverError:
    """The error of a step that is too short."""
    if not math.isfinite(at.error):
        return SolverError(
            "non_finite_dynamics",
            f"f is not finite beyond t = {at.t:g}, however small the step (now {at.h:.3g}); the "
            f"state there is at most {at.largest}: the solution may blow up, or leave the domain "
            "of f",
            t=at.t,
            h=at.h,
        )
    return SolverError(
        "dt_underflow",
        f"the step fell to {at.h:.3g} at t = {at.t:g}, where the state is at most {at.largest}"
        f"{at.worst_error}; the problem may be stiff or blow up there: raise rtol and atol, or use "
        "float64",
        t=at.t,
        h=at.h,
    )


def shorter(failed: NoConvergence, h: float, smallest: float, controller: Controller[Any]) -> float:
    """The size of the next attempt after Newton's iteration did not converge.

    Args:
        failed: The failure.
        h: The signed size of the failed step.
        smallest: The length of the shortest step.
        controller: The controller; one without tolerances prescribes the step sizes.

    Returns:
        A quarter of h.

    Raises:
        NoConvergence: The size is prescribed, or a shorter step is not allowed.
    """
    least = smallest
    if isinstance(controller, AdaptiveController):
        least = max(least, controller.min_step or 0.0)
    if controller.tolerances is None or not abs(h) / 4 > least:
        raise failed
    return h / 4
