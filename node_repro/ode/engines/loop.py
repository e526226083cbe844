"""The stepping loop as functions of tensors: accept, reject, sizes and stops without the host.

`start` evaluates f at the start and chooses the first step, `Loop.advance` attempts one step. A
compiled engine runs them in one while loop, and a captured one as a graph of masked steps. The
decisions are those of the eager engine, in float64.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch._higher_order_ops.while_loop import while_loop

from node_repro.ode.engines.decisions import Decide, Memory
from node_repro.ode.engines.eager import SNAP, STRETCH, ULPS
from node_repro.ode.engines.progress import Buffers, Limits, Progress, Stops, row_at
from node_repro.ode.engines.pure import PureField
from node_repro.ode.methods import Carry, Method, Slope, State, Step
from node_repro.ode.methods.runge_kutta import combine
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
        memory: The controller's memory.
        code: RUNNING or the reason of a failure, () int64.
        error: The error in units of the tolerances, () float64.
    """

    accept: Tensor
    ok: Tensor
    h: Tensor
    memory: Memory
    code: Tensor
    error: Tensor


@dataclass(frozen=True)
class Loop:
    """What a compiled graph is specialised to.

    Attributes:
        method: The method.
        decide: The decisions of the controller.
        controlled: Whether the error of a step is measured.
        norm: Measures it.
        renewed: Whether every step evaluates its first slope, instead of taking the last one of
            the step before.
        jump: What happens at a stop, or None: (y, tensors) -> (y, deviation).
    """

    method: Method
    decide: Decide
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
        """See `initial_step.initial_step`; NaN where that raises an error."""
        norm, order = self.norm, self.method.error_order
        d0 = norm.measure(state, tolerances, state).double()
        d1 = norm.measure(State(slope.dy, slope.integrands), tolerances, state).double()
        span = (end - t).abs()
        h0 = torch.where((d0 < 1e-5) | (d1 < 1e-5), 1e-6, 0.01 * d0 / d1)
        h0 = torch.minimum(h0, span)
        signed = torch.copysign(h0, end - t)
        y1 = combine(state.y, signed, (1.0,), (slope.dy,))
        ahead = field(torch.where(h0 == span, end, t + signed), y1, integrands=norm.integrals)
        pairs = zip(ahead.integrands, slope.integrands, strict=False)
        turn = State(ahead.dy - slope.dy, tuple(q1 - q0 for q1, q0 in pairs))
        d2 = norm.measure(turn, tolerances, state).double() / h0
        fastest = torch.maximum(d1, d2)
        h1 = torch.where(
            fastest <= 1e-15, (h0 * 1e-3).clamp_min(1e-6), (0.01 / fastest) ** (1.0 / order)
        )
        h1 = torch.where(torch.isfinite(h1), h1, h0)
        h = torch.minimum(torch.minimum(100.0 * h0, h1), span)
        return torch.where(torch.isfinite(d0) & torch.isfinite(d1), h, torch.nan)

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
        error = torch.zeros_like(at.error)
        if self.controlled and step.error is not None:
            error = self.norm.measure(step.error, tolerances, state, step.end).double()
        order = self.method.error_order
        accept, h, memory = self.decide(error, attempt.size, order, at.memory)
        stuck = ~accept & (h == at.h)  # rejected although it has the smallest size
        short = attempt.short | stuck
        code = torch.where(attempt.full, TOO_MANY, torch.where(short, TOO_SHORT, at.code))
        # a step cut by a stop is no reason to reduce the planned size
        kept = stuck | (attempt.last & accept & (at.h.abs() > h.abs()))
        ok = accept & (code == RUNNING)
        return _Verdict(accept, ok, torch.where(kept, at.h, h), memory, code, error)

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
            Memory(*_where(tried, tuple(verdict.memory), tuple(at.memory))),
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
            memory=Memory(
                torch.where(observed, 1.0, at.memory.error), at.memory.rejected & ~observed
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


Repeat = Callable[
    [Callable[..., Tensor], Callable[..., tuple[Tensor, ...]], tuple[Tensor, ...]],
    tuple[Tensor, ...],
]
"""repeat(condition, body, carried): see `while_`."""


def _read_and_repeat(
    condition: Callable[..., Tensor],
    body: Callable[..., tuple[Tensor, ...]],
    carried: tuple[Tensor, ...],
) -> tuple[Tensor, ...]:
    while bool(condition(*carried)):
        carried = body(*carried)
    return carried


_repeat: ContextVar[Repeat] = ContextVar("repeat", default=_read_and_repeat)


@contextmanager
def repeated_by(repeat: Repeat) -> Iterator[None]:
    """Inside the block, let a function run the loops that are not compiled."""
    token = _repeat.set(repeat)
    try:
        yield
    finally:
        _repeat.reset(token)


def while_(
    condition: Callable[..., Tensor],
    body: Callable[..., tuple[Tensor, ...]],
    carried: tuple[Tensor, ...],
) -> tuple[Tensor, ...]:
    """Repeat body while the condition holds: in compiled code a loop of its own."""
    if torch.compiler.is_compiling():
        return while_loop(condition, body, carried)
    return _repeat.get()(condition, body, carried)


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
