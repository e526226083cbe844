"""Failures as programs for torchdiffeq expect them: AssertionErrors that begin in known words."""

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
"""Of torchdiffeq's messages, by the kinds of ours."""


class Failure(SolverError, AssertionError):
    """A SolverError that is an AssertionError too. Its message begins as torchdiffeq's does."""

    def __init__(self, error: SolverError) -> None:
        super().__init__(error.kind, "", t=error.t, h=error.h)
        sentence = str(error).removeprefix(f"{error.kind}: ").replace("max_steps", "max_num_steps")
        self.args = (f"{BEGINNINGS[error.kind]}: {sentence}",)
        for note in getattr(error, "__notes__", ()):
            self.add_note(note)


class Asserting(Eager):
    """The Engine of forward and backward solves, whose failures are Failures."""

    def integrate(self, *arguments: Any, **given: Any) -> Trajectory:
        try:
            return super().integrate(*arguments, **given)
        except SolverError as error:
            if error.kind not in BEGINNINGS:
                raise
            raise Failure(error).with_traceback(error.__traceback__) from None
