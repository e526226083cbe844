"""How a stepping loop ends without a solution, in words: where, how large, and what to change."""

import math
from typing import NamedTuple

import torch

from node_repro.ode.controllers import Controller, Verdict
from node_repro.ode.methods import State, Step
from node_repro.ode.methods.newton import NoConvergence
from node_repro.ode.solution import SolverError, count_non_finite


class Failure(NamedTuple):
    """Where a loop stands: at (t, state), about to take a step h; the last attempt, if there was
    one, and its verdict.
    """

    t: float
    h: float
    state: State
    step: Step | None
    verdict: Verdict | None
    controller: Controller

    @property
    def largest(self) -> str:
        """The size of the state."""
        y = self.state.y.detach().abs()
        return f"{float(y.max()):.3g}" if y.numel() else "0"

    @property
    def blame(self) -> str:
        """Where the last attempt's error was largest, as a part of a sentence."""
        if self.step is None or self.step.error is None:
            return ""
        words = self.controller.blame(self.state, self.step)
        return f"; {words}" if words else ""


def check_finite(state: State, t: float) -> None:
    """Raises SolverError (non_finite_state) if the state is not."""
    if not torch.isfinite(state.y).all():
        raise SolverError(
            "non_finite_state",
            f"{count_non_finite(state.y)} of the state at t = {t:g} are NaN or infinite; take "
            "smaller steps or an adaptive solver, and check the parameters",
            t=t,
        )


def too_short(h: float, span: float, max_steps: int) -> SolverError:
    """Constant steps that cannot reach the end."""
    return SolverError(
        "max_steps",
        f"a time of {abs(span):g} takes {abs(span / h):.0f} steps of {abs(h):g}, more than "
        f"max_steps = {max_steps}: take a longer step_size or raise max_steps",
        h=h,
    )


def too_many(max_steps: int, end: float, at: Failure) -> SolverError:
    """All the steps that were allowed are taken."""
    return SolverError(
        "max_steps",
        f"{max_steps} steps were not enough: t = {at.t:g} of {end:g}, step {at.h:.3g}{at.blame}; "
        "the problem may be stiff or the tolerance too small: raise rtol and atol, or raise "
        "max_steps",
        t=at.t,
        h=at.h,
    )


def underflow(at: Failure) -> SolverError:
    """The step shrank to nothing."""
    if at.verdict is not None and not math.isfinite(at.verdict.ratio):
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
        f"{at.blame}; the problem may be stiff or blow up there: raise rtol and atol, or use "
        "float64",
        t=at.t,
        h=at.h,
    )


def shorter(failed: NoConvergence, h: float, smallest: float, controller: Controller) -> float:
    """The step to try after one of size h for which Newton's iteration did not converge. Raises
    what failed where the size is given, or the step would be shorter than is allowed.
    """
    least = max(smallest, getattr(controller, "min_step", None) or 0.0)
    if not controller.adaptive or not abs(h) / 4 > least:
        raise failed
    return h / 4
