"""Errors of failed steps that are also AssertionErrors with torchdiffeq's messages."""

from dataclasses import dataclass
from typing import Any

from node_repro.ode.engines import Trajectory
from node_repro.ode.engines.eager import Eager
from node_repro.ode.solution import Kind, SolverError

BEGINNINGS: dict[Kind, str] = {
    "max_steps": "max_num_steps exceeded",
    "dt_underflow": "underflow in dt",
    "non_finite_dynamics": "underflow in dt",
    "non_finite_state": "non-finite values in state",
}
"""The first words of torchdiffeq's messages, which programs test for."""


class StepError(SolverError, AssertionError):
    """A SolverError that is also an AssertionError, as torchdiffeq raises for failed steps."""


@dataclass(frozen=True)
class AssertingEngine(Eager):
    """The eager engine, which raises a StepError for the kinds of error in BEGINNINGS."""

    def integrate(self, *arguments: Any, **options: Any) -> Trajectory:
        try:
            return super().integrate(*arguments, **options)
        except SolverError as error:
            if error.kind not in BEGINNINGS:
                raise
            message = str(error).removeprefix(f"{error.kind}: ")
            message = message.replace("raise max_steps", "raise max_num_steps")
            translated = StepError(error.kind, message, t=error.t, h=error.h)
            translated.args = (f"{BEGINNINGS[error.kind]}: {message}",)
            raise translated from error
