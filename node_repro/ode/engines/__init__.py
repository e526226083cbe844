"""The contract of an engine: how the stepping loop runs, and what a solve leaves behind."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from node_repro.ode.controllers import Controller
from node_repro.ode.methods import Carry, Field, Method, State, Step, Time
from node_repro.ode.norm import STATE, Norm
from node_repro.ode.solution import Stats


class Mesh(NamedTuple):
    """The accepted steps of a solve.

    Attributes:
        points: N + 1 times: step n leads from points[n] to points[n + 1].
        observed: One pair (first, last) a step: the outputs with first <= index < last are dense
            output of that step. Outputs before observed[0] are y0, and the last output is the end
            of the last step.
    """

    points: tuple[float, ...]
    observed: tuple[tuple[int, int], ...]


class Start(NamedTuple):
    """What is kept of the start of a step to take the step again.

    Attributes:
        y: The state, (*S).
        twin: The second state of a reversible method, (*S).
        solved: The stages' slopes that an implicit method found by iteration.
    """

    y: Tensor
    twin: Tensor | None
    solved: tuple[Tensor, ...] = ()


class Trajectory(NamedTuple):
    """The result of a solve.

    Attributes:
        ys: The states at the requested times, (T, *S).
        end: The state at t1.
        carry: What a next step would start from besides the state.
        mesh: The accepted steps.
        starts: The start of every step, if they were to be kept.
        h: The signed step to continue with, None where no step was taken.
        stats: What the solve cost.
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
"""Is called with every accepted step; True ends the solve there."""


Report = Callable[[float, State, float], None]
"""Is called with (t, state, h): where a step starts, and its signed size."""


class StepCallbacks(NamedTuple):
    """Functions that are called as the steps are taken, for logging and counting.

    They cannot change the solve.

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
    """What a solve is asked for besides the problem.

    Args:
        norm: Measures the error of a step in units of its tolerances; without effect on constant
            steps.
        first_step: The signed size of the first step; None leaves it to the solver.
        keep_starts: Whether the trajectory has the starts of its steps.
        watch: Is shown every accepted step, and may end the solve.

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
    """How steps are taken: the part of a solver that an engine needs to run it."""

    @property
    def method(self) -> Method:
        """Takes a step of a given size."""
        ...

    @property
    def controller(self) -> Controller[Any]:
        """Chooses the sizes."""
        ...

    @property
    def max_steps(self) -> int:
        """Attempts that are allowed in one solve."""
        ...

    @property
    def callbacks(self) -> StepCallbacks | None:
        """Is told of the attempts."""
        ...


class Engine(Protocol):
    """Runs the stepping loop: attempts a step, asks the controller, and goes on or tries again."""

    def integrate(
        self, stepper: Stepper, f: Field, state: State, ts: Tensor, options: SolveOptions
    ) -> Trajectory:
        """Integrate f from ts[0] to ts[-1].

        Under autograd the result is differentiable in y, in f's parameters and in ts: steps keep
        their ends fixed, but for the first step's start and the last step's end.

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
    """The ends of a step: floats, but for those that are a time of ts that wants a gradient."""
    if not ts.requires_grad:
        return t, t1
    return ts[0] if first else t, ts[-1] if last else t1


def at_start(y: Tensor, ts: Tensor, slope: Tensor | None) -> Tensor:
    """The outputs at the start, (m, *S): y, and where their times want a gradient dy/dt = slope."""
    still = y.expand(len(ts), *y.shape)
    if slope is None or len(ts) == 1:
        return still
    moved = (ts - ts[0]).reshape(-1, *(1 for _ in y.shape))
    return still + moved.to(slope) * slope


def positions(ts: Tensor, observed: tuple[int, int], t: Time, t1: Time) -> Tensor:
    """The observed times within a step, as fractions of it: (m,) float64."""
    return (ts[observed[0] : observed[1]] - t) / (t1 - t)
