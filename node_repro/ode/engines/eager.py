"""The stepping loop in plain Python. f is never called outside of [t0, t1].

Host reads: one per attempted step and two for the automatic first step; with constant steps one at
the end.
"""

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from node_repro.ode.controllers import SolveStart, StepDecision
from node_repro.ode.engines import (
    Leg,
    Mesh,
    SolveOptions,
    Start,
    Starts,
    StepCallbacks,
    Stepper,
    Trajectory,
    at_start,
    interval,
    positions,
    solve_with_jumps,
)
from node_repro.ode.engines.failure import (
    Failure,
    check_finite,
    shorter,
    too_many,
    too_short,
    underflow,
)
from node_repro.ode.field import Counted
from node_repro.ode.methods import Carry, Field, State, Step, Time
from node_repro.ode.methods.newton import NoConvergence
from node_repro.ode.norm import error_ratio
from node_repro.ode.solution import Stats

SNAP = 1e-10  # a step that would end this close to t1, as a fraction of itself, ends at t1
STRETCH = 0.1  # the same for error-controlled steps: (1.1 * 0.9)^p < 1 for every order p
ULPS = 16  # the shortest step, in units in the last place of t
SPAN = 1e-24  # the shortest step, as a fraction of the span


@dataclass(frozen=True)
class Eager:
    """Runs the steps one by one in Python: the reference, whose results other engines give.

    Examples:
        >>> from node_repro import ode
        >>> solver = ode.dopri5(rtol=1e-5, atol=1e-5, engine=ode.Eager())
        >>> solver == ode.dopri5(rtol=1e-5, atol=1e-5)
        True
    """

    def integrate(
        self, stepper: Stepper, f: Field, state: State, ts: Tensor, options: SolveOptions
    ) -> Trajectory:
        """See Engine.integrate."""
        if options.jump is not None:
            solve = partial(self.integrate, stepper, f)
            return solve_with_jumps(solve, state, ts, options, options.jump)
        loop = _Loop(stepper, f, ts, options)
        if loop.leading == len(loop.times):
            return loop.stay(state)
        at = loop.start(state)
        while at.t != loop.end and not at.stopped:
            attempt = loop.attempt(at)
            if attempt is None:  # the stage equations were not solved: retry with a shorter step
                continue
            if loop.decide(at, attempt).accept:
                loop.accept(at, attempt)
            else:
                loop.reject(at, attempt.t1)
        return loop.finish(at)


@dataclass
class _Progress:
    """The progress of a solve.

    Attributes:
        t: The current time.
        state: The state at t.
        carry: What the next step needs besides the state.
        h: The planned signed size of the next step.
        seen: The number of outputs computed so far.
        outputs: The outputs computed so far, as tensors (m, *S) for m consecutive times.
        points: The ends of the accepted steps, the start first.
        observed: The outputs inside of each step, as in Mesh.
        starts: The starts of the steps, with keep_starts.
        step: The last step with a decision, accepted or not.
        error: The error of that step, in units of the tolerances.
        finite: Whether that step led to the end of the solve, to a state known to be finite.
        decision: The controller's decision on it.
        shortened: Whether Newton's iteration failed since the last accepted step.
        stopped: Whether a watch ended the solve.
    """

    t: float
    state: State
    carry: Carry
    h: float
    seen: int
    outputs: list[Tensor]
    points: list[float]
    observed: list[tuple[int, int]] = field(default_factory=list)
    starts: list[Starts] = field(default_factory=list)
    step: Step | None = None
    error: float = 0.0
    finite: bool = False
    decision: StepDecision[Any] | None = None
    shortened: bool = False
    stopped: bool = False


class _Attempt(NamedTuple):
    """An attempted step.

    Attributes:
        t1: Its end.
        last: Whether t1 is the end of the solve.
        ends: Its two ends for the method: floats, or tensors that require a gradient.
        step: The step itself.
    """

    t1: float
    last: bool
    ends: tuple[Time, Time]
    step: Step


class _Loop:
    """The phases of the loop, with what they share; what changes from step to step is _Progress.

    Attributes:
        method, controller, tolerances, max_steps: Of the stepper.
        on_attempt, on_accept, on_reject: The callbacks of the stepper, or None.
        options: What else the solve is asked for.
        ts, times: The times of the outputs, as a tensor (T,) and as floats.
        t0, end: The first and the last of them.
        leading: The number of leading times that equal t0.
        f, stats: The field, only called within [t0, end], and the counts of the work.
        slope: f at t0, once it is evaluated.
        reach: A step that ends within this multiple of its size ends at `end`.
    """

    def __init__(self, stepper: Stepper, f: Field, ts: Tensor, options: SolveOptions) -> None:
        self.method, self.controller = stepper.method, stepper.controller
        self.max_steps, self.options, self.ts = stepper.max_steps, options, ts
        self.on_attempt, self.on_accept, self.on_reject = stepper.callbacks or StepCallbacks()
        self.tolerances = self.controller.tolerances
        self.times: list[float] = ts.tolist()
        self.t0, self.end = self.times[0], self.times[-1]
        self.leading = leading(self.times)
        self.stats = Stats()
        self.f = Counted(f, self.stats, (self.t0, self.end))
        self.slope: Tensor | None = None
        self.reach = 1 + (SNAP if self.tolerances is None else STRETCH)

    def stay(self, state: State) -> Trajectory:
        """The trajectory if all times are equal; f is evaluated only for their gradients."""
        y, ts, carry = state.y, self.ts, Carry()
        if ts.requires_grad:
            carry = self.method.init(self.f, ts[0], y)
        ys = at_start(y, ts, carry.slope.dy) if carry.slope else at_start(y, ts, None).clone()
        mesh = Mesh((self.t0,), ())
        return Trajectory(ys, state, carry, mesh, (), self.options.first_step, self.stats)

    def start(self, state: State) -> _Progress:
        """Start: evaluate f at t0, make the outputs there, and choose the first step."""
        ts, t, end = self.ts, self.t0, self.end
        carry = self.method.init(self.f, ts[0] if ts.requires_grad else t, state.y)
        slope = carry.slope
        assert slope is not None
        self.slope = slope.dy
        outputs = [at_start(state.y, ts[: self.leading], slope.dy if ts.requires_grad else None)]
        h = self.options.first_step
        if h is None:
            order, norm = self.method.error_order, self.options.norm
            h = self.controller.first(SolveStart(self.f, t, state, slope, end, order, norm))
        if self.tolerances is None and abs(end - t) > abs(h) * self.max_steps * (1 + SNAP):
            raise too_short(h, end - t, self.max_steps)
        return _Progress(t, state, carry, h, self.leading, outputs, [t])

    def attempt(self, at: _Progress) -> _Attempt | None:
        """Attempt: take a step of the planned size, or to the end if it is about as far.

        Returns:
            The step, or None if the equations of an implicit method's stages were not solved.

        Raises:
            SolverError: No attempts are left, or the step is too short (kinds max_steps,
                dt_underflow and non_finite_dynamics).
        """
        if self.stats.accepted + self.stats.rejected == self.max_steps:
            raise too_many(self.max_steps, self.end, self._failure(at))
        # a retry must not be stretched to the size that was just rejected
        retry = at.decision is not None and not at.decision.accept
        last = abs(at.h) * (1 + SNAP if retry else self.reach) >= abs(self.end - at.t)
        t1 = self.end if last else at.t + at.h
        smallest = max(ULPS * math.ulp(at.t), SPAN * abs(self.end - self.t0))
        if not abs(t1 - at.t) > smallest and not last:  # NaN too
            raise underflow(self._failure(at))
        ends = interval(self.ts, at.t, t1, first=len(at.points) == 1, last=last)
        if self.on_attempt is not None:
            self.on_attempt(at.t, at.state, t1 - at.t)
        try:
            return _Attempt(t1, last, ends, self._step(at, t1, ends))
        except NoConvergence as failed:
            at.h = shorter(failed, t1 - at.t, smallest, self.controller)
            self.reject(at, t1, failed)
            return None

    def _step(self, at: _Progress, t1: float, ends: tuple[Time, Time]) -> Step:
        """Take the step. An exception raised by f gets a note with t and h."""
        evaluations = self.stats.nfe
        try:
            carry = at.carry
            if carry.slope is None:
                begin = self.method.init(self.f, ends[0], at.state.y, carry.twin)
                at.carry = carry = begin._replace(history=carry.history, newton=carry.newton)
            return self.method.step(self.f, *ends, at.state, carry)
        except NoConvergence:
            raise
        except Exception as error:
            tries = self.stats.accepted + self.stats.rejected
            error.add_note(
                f"in step {tries + 1}, from t = {at.t:g} with h = {t1 - at.t:g}, at its "
                f"evaluation {self.stats.nfe - evaluations} of f"
            )
            raise

    def decide(self, at: _Progress, attempt: _Attempt) -> StepDecision[Any]:
        """Decide: measure the error in units of the tolerances, and ask the controller."""
        step, h = attempt.step, attempt.t1 - at.t
        if self.tolerances is not None:
            with torch.no_grad():  # the choice of the steps is not differentiated
                ratio = error_ratio(at.state, step, self.tolerances, self.options.norm)
                if attempt.last:  # one host read of a step: whether its end is finite is read along
                    finite = torch.isfinite(step.end.y).all().to(ratio)
                    error, finite = torch.stack((ratio, finite)).cpu()
                    at.error, at.finite = float(error), bool(finite)
                else:
                    at.error, at.finite = float(ratio), False
        memory = at.decision.state if at.decision is not None else None
        at.step = step
        at.decision = self.controller.judge(at.error, h, self.method.error_order, memory)
        return at.decision

    def accept(self, at: _Progress, attempt: _Attempt) -> None:
        """Accept: compute the outputs within the step, and move to its end."""
        t1, last, ends, step = attempt
        decision, planned = at.decision, at.h
        assert decision is not None
        at.h = decision.h
        if at.shortened:  # do not grow again right after Newton's iteration failed
            at.h, at.shortened = min(at.h, t1 - at.t, key=abs), False
        if last:  # a step cut by t1 is no reason to reduce the planned size
            at.h = max(at.h, planned, key=abs)
        self.stats.accept(t1 - at.t)
        if self.on_accept is not None:
            self.on_accept(at.t, at.state, t1 - at.t)
        inside = (at.seen, passed(self.times, at.seen, t1, self.end - self.t0))
        if inside[0] < inside[1]:
            x = positions(self.ts, inside, *ends)
            h = ends[1] - ends[0]
            at.outputs.append(self.method.interpolate(at.state.y, h, step.stages, x))
        if self.options.keep_starts:
            start = Start(at.state.y, at.carry.twin, step.solved)
            at.starts.append(Starts.of(start))
        at.points.append(t1)
        at.observed.append(inside)
        y = at.state.y
        at.seen, at.t, at.state, at.carry = inside[1], t1, step.end, step.carry
        if self.options.watch is not None:
            # do not keep Newton's matrices alive: they are large
            light = step._replace(carry=step.carry._replace(newton=None))
            at.stopped = self.options.watch(Leg(*ends, y, light))

    def reject(self, at: _Progress, t1: float, failed: NoConvergence | None = None) -> None:
        """Reject: stay at t, and plan another size. failed: why there is no step."""
        self.stats.rejected += 1
        if self.on_reject is not None:
            self.on_reject(at.t, at.state, t1 - at.t)
        if failed is not None:
            at.carry, at.shortened = at.carry._replace(newton=failed.newton), True
            return
        assert at.decision is not None and at.step is not None
        if at.decision.h == at.h:  # rejected although it has the smallest size
            raise underflow(self._failure(at))
        at.h, at.carry = at.decision.h, at.carry._replace(newton=at.step.carry.newton)

    def finish(self, at: _Progress) -> Trajectory:
        """Finish: check the final state, and concatenate the outputs."""
        if at.t == self.end:
            at.outputs.append(at.state.y.unsqueeze(0))
        if not at.finite:
            check_finite(at.state, at.t)
        mesh = Mesh(tuple(at.points), tuple(at.observed))
        ys, starts = torch.cat(at.outputs), tuple(at.starts)
        return Trajectory(ys, at.state, at.carry, mesh, starts, at.h, self.stats, self.slope)

    def _failure(self, at: _Progress) -> Failure:
        return Failure(at.t, at.h, at.state, at.step, at.error, self.tolerances)


def leading(times: list[float]) -> int:
    """The number of leading times that equal the first."""
    return next((i for i, time in enumerate(times) if time != times[0]), len(times))


def passed(times: list[float], seen: int, t1: float, span: float) -> int:
    """The index of the first time not yet reached at t1; the final time is never passed."""
    sign = math.copysign(1.0, span)
    while seen < len(times) - 1 and sign * (times[seen] - t1) <= 0:
        seen += 1
    return seen
