"""The stepping loop as functions of tensors: accept, reject, sizes and stops without the host.

`start` evaluates f at the start and chooses the first step, `Loop.advance` attempts one step. A
compiled engine runs them in one while loop, and a captured one as a graph of masked steps. The
decisions are those of the eager engine, in float64.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor
from torch._higher_order_ops.while_loop import while_loop

from node_repro.ode.engines.decisions import Decide, Memory
from node_repro.ode.engines.eager import SNAP, STRETCH, ULPS
from node_repro.ode.engines.progress import Buffers, Limits, Progress, Stops
from node_repro.ode.engines.pure import PureField
from node_repro.ode.methods import Carry, Method, Slope, State
from node_repro.ode.methods.runge_kutta import combine
from node_repro.ode.norm import Norm, Tolerances

RUNNING, TOO_MANY, TOO_SHORT = 0, 1, 2
"""Why a loop stopped before its end: it did not, max_steps was reached, the step was too short."""


JumpFunction = Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, Tensor]]


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
        # attempt
        goal = limits.end if self.jump is None else _at(stops.ts, at.stop)
        stretched = 1 + STRETCH if self.controlled else 1 + SNAP
        reach = torch.where(at.retry, 1 + SNAP, torch.full_like(at.h, stretched))
        last = at.h.abs() * reach >= (goal - at.t).abs()
        t1 = torch.where(last, goal, at.t + at.h)
        size = t1 - at.t
        smallest = torch.maximum(ULPS * _ulp(at.t), limits.shortest)
        short = ~(size.abs() > smallest) & ~last  # NaN too
        full = at.since == limits.max_steps
        carry = self._carry(field, at)
        state = State(at.y, at.integrals)
        step = self.method.step(field, at.t, t1, state, carry)
        # decide
        error = torch.zeros_like(at.error)
        if self.controlled and step.error is not None:
            error = self.norm.measure(step.error, tolerances, state, step.end).double()
        accept, h, memory = self.decide(error, size, self.method.error_order, at.memory)
        stuck = ~accept & (h == at.h)  # rejected although it has the smallest size
        code = torch.where(full, TOO_MANY, torch.where(short | stuck, TOO_SHORT, at.code))
        tried = ~(full | short)
        ok = accept & (code == RUNNING)
        h = torch.where(last & accept & (at.h.abs() > h.abs()), at.h, h)
        # move
        twin = () if step.carry.twin is None else (step.carry.twin,)
        # a compiled loop may not return its input itself
        end, deviation, stop = step.end, at.deviation.clone(), at.stop.clone()
        since, retry = at.since + tried, ~accept
        if self.jump is not None:
            observed = ok & last & (at.stop < len(stops.ts) - 1)
            y1, deviates = self.jump(end.y, tuple(_at(x, at.stop) for x in stops.tensors))
            end = State(torch.where(observed, y1, end.y), end.integrals)
            twin = tuple(torch.where(observed, end.y, z) for z in twin)
            deviation = torch.where(
                observed, torch.maximum(deviation, deviates.double()), deviation
            )
            stop = stop + observed
            since = torch.where(observed, 0, since)
            memory = Memory(torch.where(observed, 1.0, memory.error), memory.rejected & ~observed)
        self._write(buffers, at, step.stages)
        row = torch.arange(len(at.points), device=at.points.device) == at.accepted
        if self.renewed:
            slope = (torch.where(at.attempted == 0, _slope(carry).dy, at.slope[0]),)
        else:
            slope = _flat(_slope(step.carry))
        return Progress(
            torch.where(ok, t1, at.t),
            torch.where(tried & ~stuck, h, at.h),
            torch.where(ok, end.y, at.y),
            _where(ok, end.integrals, at.integrals),
            slope if self.renewed else _where(ok, slope, at.slope),
            _where(ok, twin, at.twin),
            Memory(*_where(tried, tuple(memory), tuple(at.memory))),
            torch.where(tried, retry, at.retry),
            at.accepted + ok,
            at.attempted + tried,
            since,
            stop,
            code,
            torch.where(tried, size, at.size),
            torch.where(tried, error, at.error),
            deviation,
            torch.where(row, t1, at.points),
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


def _at(x: Tensor, i: Tensor) -> Tensor:
    return x.index_select(0, i.reshape(1))[0]


def _ulp(t: Tensor) -> Tensor:
    size = t.abs()
    return torch.nextafter(size, torch.full_like(size, torch.inf)) - size


def _where(ok: Tensor, new: tuple[Tensor, ...], old: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(torch.where(ok, a, b) for a, b in zip(new, old, strict=True))
