"""The replay of consecutive steps as one function of tensors, which is compiled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import vjp

from node_repro.ode.engines.loop import while_
from node_repro.ode.engines.progress import row_at
from node_repro.ode.engines.pure import (
    Clip,
    Parametrized,
    PureField,
)
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


class Cotangents(NamedTuple):
    """What the replay carries from step to step.

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

    def from_flat(self, flat: Sequence[Tensor]) -> "Cotangents":
        """Tensors in one tuple, in the form of these."""
        a, *more = flat
        twins, states, sums = len(self.a_twin), len(self.y), len(self.sums)
        a_twin, more = tuple(more[:twins]), more[twins:]
        y, more = tuple(more[:states]), more[states:]
        slope, *more = more
        return Cotangents(a, a_twin, y, slope, tuple(more[:sums]), *more[sums:])


@dataclass(frozen=True)
class ReplayGraph:
    """What a compiled replay is specialised to, besides f and the shapes.

    Attributes:
        method: The method of the steps.
        inverted: Whether starts are computed by inverting the steps.
    """

    method: Method
    inverted: bool


def replay_of(graph: ReplayGraph) -> Callable[..., Any]:
    """The function that is compiled: the steps of a block, from the last to the first."""
    method: Method = graph.method
    reversible: Any = graph.method

    def run(
        f: Parametrized,
        parameters: tuple[Tensor, ...],
        numbers: Tensor,
        y0: Tensor,
        carried: Cotangents,
        block: Block,
    ) -> Cotangents:
        observing = bool(block.gk)

        def unfinished(n: Tensor, *flat: Tensor) -> Tensor:
            return n > 0

        def back(n: Tensor, *flat: Tensor) -> tuple[Tensor, ...]:
            now = carried.from_flat(flat)
            low, high, _, number = numbers.unbind()
            clip = Clip(low, high)
            n = n - 1
            t, t1 = row_at(block.points, n), row_at(block.points, n + 1)
            before = tuple(row_at(x, n) for x in block.stored)
            size = now.size.clone()  # a compiled loop may not return its input itself
            if graph.inverted:
                undone = f.with_parameters(
                    parameters,
                    lambda f: reversible.unstep(PureField(f, (), clip), t, t1, *now.y),
                )
                size = torch.maximum(size, torch.linalg.vector_norm(undone[0]))
                first = n + number == 0
                before = tuple(torch.where(first, y0, x) for x in undone)

            advance = _repeated(method, f, clip, (t, t1), observing=observing)
            pulled: Any = vjp(advance, before, parameters, has_aux=True)
            outputs, pull, slope = pulled
            slopes = tuple(row_at(block.gk[0], n).unbind(0)) if observing else ()
            (a, *a_twin), sums = pull((now.a, *now.a_twin, *slopes))
            if observing:
                a = a + row_at(block.gy[0], n)
            deviation = now.deviation.clone()
            if not graph.inverted and now.y:
                deviation = torch.fmax(deviation, _deviation(before[0], outputs[0], now.y[0]))
            kept = tuple(undone) if graph.inverted else tuple(x.clone() for x in before)
            after = Cotangents(
                a,
                tuple(a_twin),
                kept[: len(now.y)],
                slope,
                tuple(q + g for q, g in zip(now.sums, sums, strict=True)),
                deviation,
                size,
            )
            return n, *after.flat()

        start = (numbers[2].to(torch.int64), *(x.clone() for x in carried.flat()))
        _, *flat = while_(unfinished, back, start)
        return carried.from_flat(flat)

    return run


def _repeated(
    method: Method,
    f: Parametrized,
    clip: Clip,
    ends: tuple[Tensor, Tensor],
    *,
    observing: bool,
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
