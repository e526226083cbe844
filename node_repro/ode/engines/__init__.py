"""Engines: the interface of the stepping loop, its options and its result."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import torch
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


class Starts(NamedTuple):
    """The starts of consecutive steps in one block of memory.

    Attributes:
        count: The number of steps.
        ys: The states, (C, *S) with C >= count.
        twins: The second states of a reversible method, (C, *S).
        solved: The stage slopes that an implicit method computed by iteration, (C, *S) each.
    """

    count: int
    ys: Tensor
    twins: Tensor | None = None
    solved: tuple[Tensor, ...] = ()

    @classmethod
    def of(cls, start: Start) -> "Starts":
        """A block of one step, without a copy."""
        twins = None if start.twin is None else start.twin.unsqueeze(0)
        return cls(1, start.y.unsqueeze(0), twins, tuple(k.unsqueeze(0) for k in start.solved))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors of the block."""
        return (self.ys, *(() if self.twins is None else (self.twins,)), *self.solved)

    def start(self, i: int) -> Start:
        """The start of one step."""
        twin = None if self.twins is None else self.twins[i]
        return Start(self.ys[i], twin, tuple(k[i] for k in self.solved))


class Trajectory(NamedTuple):
    """The result of a solve.

    Attributes:
        ys: The states at the requested times, (T, *S).
        end: The state at t1.
        carry: What the next step would need besides the state.
        mesh: The accepted steps.
        starts: The starts of the steps in blocks, with keep_starts.
        h: The signed step to continue with, None where no step was taken.
        stats: The cost of the solve.
        slope: f at the start, (*S), where it was evaluated.
        deviation: The largest value that the jump measured, a scalar.
    """

    ys: Tensor
    end: State
    carry: Carry
    mesh: Mesh
    starts: tuple[Starts, ...]
    h: float | None
    stats: Stats
    slope: Tensor | None = None
    deviation: Tensor | None = None


class Leg(NamedTuple):
    """An accepted step from (t, y) to t1."""

    t: Time
    t1: Time
    y: Tensor
    step: Step


class Jump(NamedTuple):
    """A change of the state at every output time between the first and the last.

    Steps end at these times, and the solve continues as a new one, with the step size that it had.
    The trajectory's ys are then the states at the first and the last time only.

    Attributes:
        function: Called with the state (*S) that the solve arrives with, and the row of each tensor
            for the output time; returns the state to continue with, and a scalar, of which the
            trajectory has the largest as `deviation`.
        tensors: Tensors with one row for every output time, (T, ...).
    """

    function: Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, Tensor]]
    tensors: tuple[Tensor, ...]


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
        jump: Changes the state at the output times. A solver that does not handle it calls
            solve_with_jumps.

    Example:
        >>> from node_repro import ode
        >>> options = ode.SolveOptions(norm=ode.FULL, first_step=-0.1)  # backwards in time
    """

    norm: Norm = STATE
    first_step: float | None = None
    keep_starts: bool = False
    watch: Watch | None = None
    jump: Jump | None = None


DEFAULT_OPTIONS = SolveOptions()


Solve = Callable[[State, Tensor, SolveOptions], Trajectory]
"""solve(state, ts, options): a solve of one field by one solver."""


def solve_with_jumps(
    solve: Solve, state: State, ts: Tensor, options: SolveOptions, jump: Jump
) -> Trajectory:
    """Solve from each output time to the next, with the jump between two solves.

    The states of the result are the first and the last.
    """
    stats, options = Stats(), replace(options, jump=None)
    points, observed = [float(ts[0])], []
    y0, deviations = state.y, []
    leg = slope = None
    for i in range(1, len(ts)):
        leg = solve(state, ts[[i - 1, i]], options)
        stats.add(leg.stats)
        points += leg.mesh.points[1:]
        observed += [(i, i)] * len(leg.mesh.observed)
        slope = leg.slope if i == 1 else slope
        state, options = leg.end, replace(options, first_step=leg.h)
        if i < len(ts) - 1:
            y, deviation = jump.function(state.y, tuple(x[i] for x in jump.tensors))
            state = state._replace(y=y)
            deviations.append(deviation)
    assert leg is not None
    return Trajectory(
        torch.stack((y0, leg.end.y)),
        leg.end,
        leg.carry,
        Mesh(tuple(points), tuple(observed)),
        (),
        leg.h,
        stats,
        slope,
        torch.stack(deviations).max() if deviations else None,
    )


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
