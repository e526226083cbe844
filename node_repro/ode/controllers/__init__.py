"""The contract of a step-size controller: is a step good enough, and how long shall the next one
be?
"""

from typing import NamedTuple, Protocol

from torch import Tensor

from node_repro.ode.methods import Field, Method, Slope, State, Step
from node_repro.ode.norm import Norm


class Beginning(NamedTuple):
    """Where a solve begins, at (t, state) with the slope there, and the time at which it ends."""

    f: Field
    t: float
    state: State
    slope: Slope
    end: float


class Verdict(NamedTuple):
    """accept the step or not; h: the signed step to take next; memory: for the next verdict; ratio:
    the error in units of the tolerance (0 without an error estimate).
    """

    accept: bool
    h: float
    memory: float
    ratio: float


class Controller(Protocol):
    """Steps are signed; a verdict is given for the step as taken."""

    @property
    def adaptive(self) -> bool:
        """Whether verdicts need an error estimate."""
        ...

    def check(self, y: Tensor) -> None:
        """Raises SolverError (bad_input) where the tolerance does not fit the state y."""
        ...

    def with_tolerance(
        self, rtol: float | Tensor | None, atol: float | Tensor | None
    ) -> "Controller":
        """The same controller with other tolerances; None keeps one. Raises SolverError (bad_input)
        for a tolerance where no error is controlled.
        """
        ...

    def first(self, start: Beginning, method: Method, norm: Norm) -> float:
        """The signed first step."""
        ...

    def judge(
        self, before: State, step: Step, h: float, method: Method, memory: float, norm: Norm
    ) -> Verdict:
        """The verdict on a step of size h. memory: the last verdict's, 0 at first."""
        ...

    def blame(self, before: State, step: Step) -> str:
        """Where a step's error is largest, in words for a message; empty if no error is judged."""
        ...
