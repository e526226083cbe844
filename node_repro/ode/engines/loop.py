"""The stepping loop as functions of tensors: accept, reject, sizes and stops without the host.

`Loop.start` evaluates f at the start, `Loop.first_step` chooses the first size, and `Loop.advance`
attempts one step. A compiled engine runs them in one while loop, and a captured one as a graph of
masked steps. The decisions are the controller's, in float64.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from node_repro.ode.controllers import Controller
from node_repro.ode.controllers.adaptive import AdaptiveController, StepHistory
from node_repro.ode.engines.eager import SNAP, STRETCH, ULPS
from node_repro.ode.engines.progress import Buffers, Limits, Progress, Stops, row_at
from node_repro.ode.engines.pure import PureField
from node_repro.ode.initial_step import initial_step
from node_repro.ode.methods import Carry, Method, Slope, State, Step
from node_repro.ode.norm import Norm, Tolerances

RUNNING, TOO_MANY, TOO_SHORT = 0, 1, 2
"""Why a loop stopped before its end: it did not, max_steps was reached, the step was too short."""

JumpFunction = Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, Tensor]]


class _Attempt(NamedTuple):
    """A step that is attempted.

    Attributes:
        t1: Its end, () float64.
        size: Its signed size, () float64.
        last: Whether it ends at the next stop, () bool.
        short: Whether it is too short, () bool.
        full: Whether there may be no more attempts, () bool.
    """

    t1: Tensor
    size: Tensor
    last: Tensor
    short: Tensor
    full: Tensor


class _Verdict(NamedTuple):
    """What is decided on a step.

    Attributes:
        accept: Whether the controller accepts it, () bool.
        ok: Whether it is taken: accepted and within the limits, () bool.
        h: The signed size of the next attempt, () float64.
        history: What the controller keeps.
        code: RUNNING or the reason of a failure, () int64.
        error: The error in units of the tolerances, () float64.
    """

    accept: Tensor
    ok: Tensor
    h: Tensor
    history: Any
    code: Tensor
    error: Tensor


@dataclass(frozen=True)
class Loop:
    """What a compiled graph is specialised to.

    Attributes:
        method: The method.
        controller: Decides on the steps; it has unit tolerances, as those of a solve are tensors.
        controlled: Whether the error of a step is measured.
        norm: Measures it.
        renewed: Whether every step evaluates its first slope, instead of taking the last one of
            the step before.
        jump: What happens at a stop, or None: (y, tensors) -> (y, deviation).
    """

    method: Method
    controller: Controller[Any]
    controlled: bool
    norm: Norm
    renewed: bool
    jump: JumpFunction | None

    def start(self, field: PureField, state: State, t: Tensor) -> Slope:
        """f at the start, with its integrands."""
        return _slope(self.method.init(field, t, state.y))

    def first_step(
        self,
        field: PureField,
        state: State,
        slope: Slope,
        t: Tensor,
        end: Tensor,
        tolerances: Tolerances,
    ) -> Tensor:
        """The signed size of the automatic first step; NaN if f at the start is not finite."""
        controller, order = self.controller, self.method.error_order
        assert isinstance(controller, AdaptiveController)
        h = initial_step(
            field, t, state, slope,
            end=end, error_order=order, tolerances=tolerances, norm=self.norm,
        )  # fmt: skip
        return controller.within(h)

    def unfinished(self, at: Progress, limits: Limits) -> Tensor:
        """Whether another step is to be attempted, () bool."""
        return (at.code == RUNNING) & (at.t != limits.end) & (at.accepted < len(at.points))

    def advance(
        self,
        field: PureField,
        at: Progress,
        limits: Limits,
        tolerances: Tolerances,
        stops: Stops,
        buffers: Buffers,
    ) -> Progress:
        """Attempt a step, decide on it, and write it to the buffers."""
        attempt = self._attempt(at, limits, stops)
        carry, state = self._carry(field, at), State(at.y, at.integrals)
        step = self.method.step(field, at.t, attempt.t1, state, carry)
        self._write(buffers, at, step.stages)
        verdict = self._decide(at, attempt, state, step, tolerances)
        after = self._move(at, attempt, verdict, step, carry)
        return after if self.jump is None else self._jump(after, verdict.ok & attempt.last, stops)

    def _attempt(self, at: Progress, limits: Limits, stops: Stops) -> _Attempt:
        """The end of the next step: a planned size ahead, or the next stop if that is as far."""
        goal = limits.end if self.jump is None else row_at(stops.ts, at.stop)
        stretched = 1 + STRETCH if self.controlled else 1 + SNAP
        reach = torch.where(at.retry, 1 + SNAP, torch.full_like(at.h, stretched))
        last = at.h.abs() * reach >= (goal - at.t).abs()
        t1 = torch.where(last, goal, at.t + at.h)
        size = t1 - at.t
        smallest = torch.maximum(ULPS * _ulp(at.t), limits.shortest)
        short = ~(size.abs() > smallest) & ~last  # NaN too
        return _Attempt(t1, size, last, short, at.since == limits.max_steps)

    def _decide(
        self, at: Progress, attempt: _Attempt, state: State, step: Step, tolerances: Tolerances
    ) -> _Verdict:
        """Measure the error of the step, and let the controller decide on it."""
        error: Any = torch.zeros_like(at.error)
        if self.controlled and step.error is not None:
            error = self.norm.measure(step.error, tolerances, state, step.end).double()
        order = self.method.error_order
        size: Any = attempt.size
        decision: Any = self.controller.judge(error, size, order, at.history)
        accept, h, history = decision
        if not self.controlled:
            accept = torch.ones_like(at.retry)
        stuck = ~accept & (h == at.h)  # rejected although it has the smallest size
        short = attempt.short | stuck
        code = torch.where(attempt.full, TOO_MANY, torch.where(short, TOO_SHORT, at.code))
        # a step cut by a stop is no reason to reduce the planned size
        kept = stuck | (attempt.last & accept & (at.h.abs() > h.abs()))
        ok = accept & (code == RUNNING)
        return _Verdict(accept, ok, torch.where(kept, at.h, h), history, code, error)

    def _move(
        self, at: Progress, attempt: _Attempt, verdict: _Verdict, step: Step, carry: Carry
    ) -> Progress:
        """Go to the end of an accepted step; a step beyond the limits changes nothing but code."""
        ok, tried = verdict.ok, ~(attempt.full | attempt.short)
        twin = () if step.carry.twin is None else (step.carry.twin,)
        if self.renewed:  # the slope of the first step is kept
            slope = (torch.where(at.attempted == 0, _slope(carry).dy, at.slope[0]),)
        else:
            slope = _where(ok, _flat(_slope(step.carry)), at.slope)
        row = torch.arange(len(at.points), device=at.points.device) == at.accepted
        return Progress(
            torch.where(ok, attempt.t1, at.t),
            torch.where(tried, verdict.h, at.h),
            torch.where(ok, step.end.y, at.y),
            _where(ok, step.end.integrals, at.integrals),
            slope,
            _where(ok, twin, at.twin),
            StepHistory(*_where(tried, tuple(verdict.history), tuple(at.history))),
            torch.where(tried, ~verdict.accept, at.retry),
            at.accepted + ok,
            at.attempted + tried,
            at.since + tried,
            at.stop,
            verdict.code,
            torch.where(tried, attempt.size, at.size),
            torch.where(tried, verdict.error, at.error),
            at.deviation,
            torch.where(row, attempt.t1, at.points),
        )

    def _jump(self, at: Progress, ends: Tensor, stops: Stops) -> Progress:
        """Change the state if a step ended at a stop before the last, and begin anew there."""
        assert self.jump is not None
        observed = ends & (at.stop < len(stops.ts) - 1)
        y, deviates = self.jump(at.y, tuple(row_at(x, at.stop) for x in stops.tensors))
        y = torch.where(observed, y, at.y)
        deviation = torch.maximum(at.deviation, deviates.double())
        return at._replace(
            y=y,
            twin=tuple(torch.where(observed, y, z) for z in at.twin),
            history=StepHistory(
                torch.where(observed, 1.0, at.history.error), at.history.rejected & ~observed
            ),
            since=torch.where(observed, 0, at.since),
            stop=at.stop + observed,
            deviation=torch.where(observed, deviation, at.deviation),
        )

    def _carry(self, field: PureField, at: Progress) -> Carry:
        twin = at.twin[0] if at.twin else None
        if self.renewed:
            return self.method.init(field, at.t, at.y, twin)
        dy, *integrands = at.slope
        return Carry(Slope(dy, tuple(integrands)), twin)

    def _write(self, buffers: Buffers, at: Progress, stages: tuple[Tensor, ...]) -> None:
        """Write the step to its row, which a later attempt overwrites if it is rejected."""
        row = (at.accepted.reshape(1),)
        for starts in buffers.starts:
            starts.index_put_(row, at.y[None])
        for twins, twin in zip(buffers.twins, at.twin, strict=False):
            twins.index_put_(row, twin[None])
        for slopes in buffers.stages:
            slopes.index_put_(row, torch.stack(stages)[None])


def _slope(carry: Carry) -> Slope:
    assert carry.slope is not None
    return carry.slope


def _flat(slope: Slope) -> tuple[Tensor, ...]:
    return (slope.dy, *slope.integrands)


def _ulp(t: Tensor) -> Tensor:
    size = t.abs()
    return torch.nextafter(size, torch.full_like(size, torch.inf)) - size


def _where(ok: Tensor, new: tuple[Tensor, ...], old: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(torch.where(ok, a, b) for a, b in zip(new, old, strict=True))
