"""Engines: the interface of the stepping loop, its options and its result."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from node_repro.ode.controllers import Controller
from node_repro.ode.methods import Carry, Field, Method, State, Step, Time, to_device
from node_repro.ode.norm import STATE, Norm
from node_repro.ode.solution import Stats


class Mesh(NamedTuple):
    """The accepted steps of a solve.

    Attributes:
        points: N + 1 times: step n leads from points[n] to points[n + 1].
        observed: One pair (first, last) per step: the outputs with first <= index < last are dense
            output of that step. Outputs before observed[0] are y0, and the last output is the end
            of the last step.
    """

    points: tuple[float, ...]
    observed: tuple[tuple[int, int], ...]


class Start(NamedTuple):
    """The start of a step, stored so that the step can be repeated.

    Attributes:
        y: The state, (*S).
        twin: The second state of a reversible method, (*S).
        solved: The stage slopes that an implicit method computed by iteration.
    """

    y: Tensor
    twin: Tensor | None
    solved: tuple[Tensor, ...] = ()


class Trajectory(NamedTuple):
    """The result of a solve.

    Attributes:
        ys: The states at the requested times, (T, *S).
        end: The state at t1.
        carry: What the next step would need besides the state.
        mesh: The accepted steps.
        starts: The start of every step, with keep_starts.
        h: The signed step to continue with, None where no step was taken.
        stats: The cost of the solve.
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
"""Called with every accepted step; returns True to end the solve there."""


Report = Callable[[float, State, float], None]
"""Called with (t, state, h): the start of a step and its signed size."""


class StepCallbacks(NamedTuple):
    """Functions that are called during the solve, for logging and counting; they cannot change it.

    Attributes:
        attempted: Called before each attempt.
        accepted: Called after an attempt that was accepted.
        rejected: Called after an attempt that was rejected.

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> times = []
        >>> callbacks = ode.StepCallbacks(accepted=lambda t, state, h: times.append(t + h))
        >>> solver = ode.rk4(step_size=0.5, callbacks=callbacks)
        >>> ts = torch.tensor([0.0, 2.0])
        >>> ys, stats = ode.odeint(
        ...     lambda t, y: -y, torch.ones(1), ts, solver=solver, gradient=ode.Direct()
        ... )
        >>> times
        [0.5, 1.0, 1.5, 2.0]
    """

    attempted: Report | None = None
    accepted: Report | None = None
    rejected: Report | None = None


@dataclass(frozen=True)
class SolveOptions:
    """Options of a solve.

    Args:
        norm: Measures the error of a step in units of its tolerances; has no effect on constant
            steps.
        first_step: The signed size of the first step; None leaves it to the solver.
        keep_starts: Whether to store the start of every step in the trajectory.
        watch: Called with every accepted step; may end the solve.

    Example:
        >>> from node_repro import ode
        >>> options = ode.SolveOptions(norm=ode.FULL, first_step=-0.1)  # backwards in time
    """

    norm: Norm = STATE
    first_step: float | None = None
    keep_starts: bool = False
    watch: Watch | None = None


DEFAULT_OPTIONS = SolveOptions()


class Stepper(Protocol):
    """The part of a solver that an engine needs: method, controller, limit and callbacks."""

    @property
    def method(self) -> Method:
        """The method, which takes a step of a given size."""
        ...

    @property
    def controller(self) -> Controller[Any]:
        """The controller, which chooses the step sizes."""
        ...

    @property
    def max_steps(self) -> int:
        """The most attempted steps of one solve."""
        ...

    @property
    def callbacks(self) -> StepCallbacks | None:
        """Functions to call at every attempt; None for none."""
        ...


class Engine(Protocol):
    """Runs the stepping loop: attempt a step, let the controller decide, continue or retry."""

    def integrate(
        self, stepper: Stepper, f: Field, state: State, ts: Tensor, options: SolveOptions
    ) -> Trajectory:
        """Integrate f from ts[0] to ts[-1].

        Under autograd the result is differentiable in y, in f's parameters and in ts. The ends of
        the steps are constants, except the first step's start and the last step's end.

        Args:
            stepper: How the steps are taken.
            f: The field.
            state: The state at ts[0].
            ts: The times of the outputs, (T,) float64 on the host, monotone.
            options: See SolveOptions.

        Raises:
            SolverError: The solve failed (kinds dt_underflow, max_steps, no_convergence,
                non_finite_state and non_finite_dynamics).
        """
        ...


def interval(ts: Tensor, t: float, t1: float, *, first: bool, last: bool) -> tuple[Time, Time]:
    """The ends of a step as floats, or as elements of ts at t0 and t1 if ts requires a gradient."""
    if not ts.requires_grad:
        return t, t1
    return ts[0] if first else t, ts[-1] if last else t1


def at_start(y: Tensor, ts: Tensor, slope: Tensor | None) -> Tensor:
    """The outputs at the start, (m, *S): y, with dy/dt = slope if ts requires a gradient."""
    still = y.expand(len(ts), *y.shape)
    if slope is None or len(ts) == 1:
        return still
    moved = (ts - ts[0]).reshape(-1, *(1 for _ in y.shape))
    return still + to_device(moved, slope) * slope


def positions(ts: Tensor, observed: tuple[int, int], t: Time, t1: Time) -> Tensor:
    """The observed times within a step, as fractions of it: (m,) float64."""
    return (ts[observed[0] : observed[1]] - t) / (t1 - t)
