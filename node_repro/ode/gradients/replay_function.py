"""The replay of consecutive steps as one function of tensors, which is compiled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import vjp

from node_repro.ode.engines.parametrized import Parametrized
from node_repro.ode.engines.progress import row_at
from node_repro.ode.engines.pure import Clip, PureField
from node_repro.ode.engines.repeat_while import repeat_while
from node_repro.ode.field import VectorField
from node_repro.ode.methods import Method, State


class Block(NamedTuple):
    """Consecutive steps that one run of the loop replays.

    Attributes:
        points: Their ends, with the start of the first: (C + 1,) float64.
        stored: The states at their starts, (C, *S), and the second states; empty if inverted.
        gy: The cotangents of the states at their starts by the outputs within them, (C, *S), or
            nothing without such outputs.
        gk: The same of the slopes of their stages, (C, s, *S).
    """

    points: Tensor
    stored: tuple[Tensor, ...]
    gy: tuple[Tensor, ...]
    gk: tuple[Tensor, ...]


class Scalars(NamedTuple):
    """The scalars of a block, which travel to the device as one tensor of float64.

    Attributes:
        low, high: The interval of times at which f may be evaluated.
        count: The number of steps.
        first: The number of the first one in the solve.
    """

    low: float
    high: float
    count: float
    first: float


class ReplayState(NamedTuple):
    """What changes from step to step: cotangents, gradients so far, and checks.

    Attributes:
        a: dL/dy at the end of the step, (*S).
        a_twin: The same of the second state of a reversible method, or nothing.
        y: The states at the end of the step, (*S): one for stored starts, NaN where it is not
            known; two for inverted steps; none for stored starts of a reversible method.
        slope: The first slope of the step after it, (*S).
        sums: The gradients of the parameters so far.
        deviation: The largest deviation of a step's end from the stored start of the next.
        size: The norm of the largest state.
    """

    a: Tensor
    a_twin: tuple[Tensor, ...]
    y: tuple[Tensor, ...]
    slope: Tensor
    sums: tuple[Tensor, ...]
    deviation: Tensor
    size: Tensor

    def flat(self) -> tuple[Tensor, ...]:
        """The tensors in one tuple."""
        a, a_twin, y, slope, sums, *rest = self
        return (a, *a_twin, *y, slope, *sums, *rest)

    def from_flat(self, flat: Sequence[Tensor]) -> "ReplayState":
        """Tensors in one tuple, in the form of these."""
        a, *more = flat
        twins, states, sums = len(self.a_twin), len(self.y), len(self.sums)
        a_twin, more = tuple(more[:twins]), more[twins:]
        y, more = tuple(more[:states]), more[states:]
        slope, *more = more
        return ReplayState(a, a_twin, y, slope, tuple(more[:sums]), *more[sums:])


@dataclass(frozen=True)
class BlockReplay:
    """What the replay of a block is specialised to, besides f and the shapes.

    Attributes:
        method: The method of the steps.
        inverted: Whether starts are computed by inverting the steps.
    """

    method: Method
    inverted: bool

    def function(self) -> Callable[..., ReplayState]:
        """The function (f, parameters, scalars, y0, state, block) -> state.

        It replays the steps of a block, from the last to the first. The scalars are those of
        `Scalars`, y0 is the start of the solve, and the state is as it is after the block.
        """

        def replay(
            f: Parametrized,
            parameters: tuple[Tensor, ...],
            scalars: Tensor,
            y0: Tensor,
            state: ReplayState,
            block: Block,
        ) -> ReplayState:
            def unfinished(n: Tensor, *flat: Tensor) -> Tensor:
                return n > 0

            def back(n: Tensor, *flat: Tensor) -> tuple[Tensor, ...]:
                numbers: Any = scalars.unbind()  # of their own, as a loop pays for every tensor
                step = _StepReplay(self, f, parameters, Scalars(*numbers), block)
                return n - 1, *step.before(n - 1, y0, state.from_flat(flat)).flat()

            count = scalars[Scalars._fields.index("count")].to(torch.int64)
            carried = (count, *(x.clone() for x in state.flat()))
            _, *flat = repeat_while(unfinished, back, carried)
            return state.from_flat(flat)

        return replay


class _StepReplay(NamedTuple):
    """The replay of one step of a block: see `BlockReplay.function`."""

    specialized: BlockReplay
    f: Parametrized
    parameters: tuple[Tensor, ...]
    scalars: Any
    block: Block

    def before(self, n: Tensor, y0: Tensor, after: ReplayState) -> ReplayState:
        """The state before step n of the block, from that after it."""
        block, inverted = self.block, self.specialized.inverted
        observing = bool(block.gk)
        t, t1 = row_at(block.points, n), row_at(block.points, n + 1)
        # the start of the step
        size = after.size.clone()  # a compiled loop may not return its input itself
        if inverted:
            states = self._invert(t, t1, after.y)
            size = torch.maximum(size, torch.linalg.vector_norm(states[0]))
            first = n + self.scalars.first == 0
            starts = tuple(torch.where(first, y0, x) for x in states)
        else:
            starts = tuple(row_at(x, n) for x in block.stored)
            states = tuple(x.clone() for x in starts)
        # its vector-Jacobian product
        advance = _advance(self.specialized.method, self.f, self._clip, (t, t1), observing)
        pulled: Any = vjp(advance, starts, self.parameters, has_aux=True)
        ends, pull, slope = pulled
        slopes = tuple(row_at(block.gk[0], n).unbind(0)) if observing else ()
        (a, *a_twin), gradients = pull((after.a, *after.a_twin, *slopes))
        if observing:
            a = a + row_at(block.gy[0], n)
        deviation = after.deviation.clone()
        if not inverted and after.y:
            deviation = torch.fmax(deviation, _deviation(starts[0], ends[0], after.y[0]))
        sums = tuple(q + g for q, g in zip(after.sums, gradients, strict=True))
        y = states[: len(after.y)]
        return ReplayState(a, tuple(a_twin), y, slope, sums, deviation, size)

    @property
    def _clip(self) -> Clip:
        return Clip(self.scalars.low, self.scalars.high)

    def _invert(self, t: Tensor, t1: Tensor, ends: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        method: Any = self.specialized.method
        return self.f.with_parameters(
            self.parameters,
            lambda f: method.unstep(PureField(f, (), self._clip), t, t1, *ends),
        )


def _advance(
    method: Method, f: Parametrized, clip: Clip, ends: tuple[Tensor, Tensor], observing: bool
) -> Callable[..., tuple[tuple[Tensor, ...], Tensor]]:
    """A step as a function of the states at its start and the parameters.

    It returns the states at the end, with observing also the slopes of the stages, and apart from
    these the first slope.
    """

    def advance(
        before: tuple[Tensor, ...], parameters: tuple[Tensor, ...]
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        def step(f: VectorField) -> tuple[tuple[Tensor, ...], Tensor]:
            y, *twin = before
            field = PureField(f, (), clip)
            carry = method.init(field, ends[0], y, *twin)
            done: Any = method.step(field, *ends, State(y), carry, advance_only=not observing)
            after = (done.end.y, *((done.carry.twin,) if twin else ()))
            assert carry.slope is not None
            return (*after, *(done.stages if observing else ())), carry.slope.dy

        return f.with_parameters(parameters, step)

    return advance


def _deviation(y: Tensor, end: Tensor, start: Tensor) -> Tensor:
    """The distance of a step's end from the next start, in units of what rounding explains."""
    norm, eps = torch.linalg.vector_norm, torch.finfo(y.dtype).eps
    allowed = eps**0.5 * norm(start - y) + 100 * eps * norm(start)
    return norm(end - start) / allowed.clamp_min(torch.finfo(y.dtype).tiny)
