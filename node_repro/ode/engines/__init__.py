"""The contract of an engine: how the stepping loop runs, and the mesh that it leaves behind."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from torch import Tensor

from node_repro.ode.controllers import Controller
from node_repro.ode.methods import Carry, Field, Method, State, Step, Time
from node_repro.ode.norm import Norm
from node_repro.ode.solution import Stats


class Mesh(NamedTuple):
    """The accepted steps: step n leads from points[n] to points[n + 1].

    observed[n] = (first, last): the outputs with first <= index < last are dense output of step n.
    Outputs before observed[0] are y0; the last output is the end of the last step.
    """

    points: tuple[float, ...]
    observed: tuple[tuple[int, int], ...]


class Start(NamedTuple):
    """What a step started from, as far as it cannot be found again: y, and a method's twin; solved:
    the slopes that it found by iteration.
    """

    y: Tensor
    twin: Tensor | None
    solved: tuple[Tensor, ...] = ()


class Trajectory(NamedTuple):
    """What a solve leaves behind.

    Attributes:
        ys: The states at the requested times, (T, *S).
        end: The state at t1.
        carry: What a next step would start from besides the state.
        mesh: The accepted steps.
        starts: The start of every step, if they were kept.
        h: The signed step to go on with, None where no step was taken.
        stats: What it cost.
        slope: f at the start, (*S), where it was evaluated.
    """

    ys: Tensor
    end: State
    carry: Carry
    mesh: Mesh
    starts: tuple[Start, ...]
    h: float | None
    stats: Stats
    slope: Tensor | None = None


class Leg(NamedTuple):
    """An accepted step from (t, y) to t1."""

    t: Time
    t1: Time
    y: Tensor
    step: Step


Watch = Callable[[Leg], bool]
"""Sees every accepted step; True ends the solve there."""


Report = Callable[[float, State, float], None]
"""Called with (t, state, h): where a step starts, and its signed size."""


class StepCallbacks(NamedTuple):
    """Functions that are called as the steps are taken, for logging and counting.

    attempted: before each attempt; accepted, rejected: after it. They cannot change the solve.
    """

    attempted: Report | None = None
    accepted: Report | None = None
    rejected: Report | None = None


class Engine(Protocol):
    """Runs a method under a controller from ts[0] to ts[-1]."""

    def integrate(
        self,
        f: Field,
        state: State,
        ts: Tensor,
        method: Method,
        controller: Controller,
        *,
        norm: Norm,
        max_steps: int,
        first_step: float | None,
        keep: bool,
        watch: Watch | None,
        callbacks: StepCallbacks | None,
    ) -> Trajectory:
        """ts: (T,) float64 on the host, monotone. keep: keep the starts of the accepted steps.

        Under autograd the result is differentiable in y, in f's parameters and in ts: steps keep
        their ends fixed, but for the first step's start and the last step's end.

        Raises:
            SolverError: dt_underflow, max_steps, non_finite_state or non_finite_dynamics.
        """
        ...


def interval(ts: Tensor, t: float, t1: float, *, first: bool, last: bool) -> tuple[Time, Time]:
    """A step's two ends: on the host, unless they are a time that wants a gradient."""
    if not ts.requires_grad:
        return t, t1
    return ts[0] if first else t, ts[-1] if last else t1


def at_start(y: Tensor, ts: Tensor, slope: Tensor | None) -> Tensor:
    """The outputs at the start, (m, *S): y, moving at the rate f with a time that may move."""
    still = y.expand(len(ts), *y.shape)
    if slope is None or len(ts) == 1:
        return still
    moved = (ts - ts[0]).reshape(-1, *(1 for _ in y.shape))
    return still + moved.to(slope) * slope


def positions(ts: Tensor, observed: tuple[int, int], t: Time, t1: Time) -> Tensor:
    """Where the observed times lie within a step, as fractions of it: (m,) float64."""
    return (ts[observed[0] : observed[1]] - t) / (t1 - t)
