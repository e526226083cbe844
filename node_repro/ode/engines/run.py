"""A run of the stepping loop as one function from tensors to tensors, which is compiled.

The host gives its scalars in one tensor and reads those of the result in another.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from node_repro.ode.engines.decisions import Memory
from node_repro.ode.engines.loop import Loop, while_
from node_repro.ode.engines.progress import Buffers, Limits, Progress, Stops
from node_repro.ode.engines.pure import Clip, PureField
from node_repro.ode.methods import State
from node_repro.ode.norm import Tolerances

POINTS = 256
"""The most steps of a run that keeps no states. It is continued by another one."""


class Numbers(NamedTuple):
    """The scalars of a run, which travel to the device as one tensor of float64."""

    t: float
    end: float
    low: float
    high: float
    shortest: float
    max_steps: float
    rtol: float
    atol: float
    rtol_integrals: float
    atol_integrals: float
    error: float = 1.0
    rejected: float = 0.0
    retry: float = 0.0
    attempted: float = 0.0
    since: float = 0.0
    stop: float = 1.0
    size: float = 0.0
    last_error: float = 0.0
    deviation: float = 0.0


class Report(NamedTuple):
    """The scalars after a run, which travel to the host as one tensor of float64."""

    t: float
    h: float
    error: float
    rejected: float
    retry: float
    accepted: float
    attempted: float
    since: float
    stop: float
    code: float
    size: float
    last_error: float
    deviation: float
    finite: float


class Tensors(NamedTuple):
    """The tensors that a run changes: see `Progress`."""

    y: Tensor
    integrals: tuple[Tensor, ...]
    slope: tuple[Tensor, ...]
    twin: tuple[Tensor, ...]


Begin = Literal["automatic", "given", "resumed"]
"""How a run begins: with an automatic first step, a given one, or where another run stopped."""


@dataclass(frozen=True)
class Graph:
    """What one compiled function is specialised to, besides f and the shapes.

    Attributes:
        loop: The loop.
        make: What makes the field of f: see `Traced`.
        begin: How the run begins.
        bounds: The shortest and the longest step of an automatic choice.
        zero: Whether atol is 0 somewhere.
    """

    loop: Loop
    make: Callable[[Any, tuple[Tensor, ...], Clip], PureField]
    begin: Begin
    bounds: tuple[float, float]
    zero: bool


def run_of(graph: Graph) -> Callable[..., Any]:
    """The function that is compiled: a run of the loop, from its tensors to its report."""

    loop, begin = graph.loop, graph.begin

    def run(
        f: Any,  # noqa: ANN401
        parameters: tuple[Tensor, ...],
        numbers: Tensor,
        h: Tensor,
        tensors: Tensors,
        tolerances: tuple[Tensor | None, Tensor | None],
        stops: Stops,
        buffers: Buffers,
    ) -> tuple[Tensors, tuple[Tensor, ...], Tensor]:
        scalars: Any = [number.clone() for number in numbers.unbind()]
        n: Any = Numbers(*scalars)
        field = graph.make(f, parameters, Clip(n.low, n.high))
        rtol, atol = (
            given if given is not None else number
            for given, number in zip(tolerances, (n.rtol, n.atol), strict=True)
        )
        tolerance = Tolerances(rtol, atol, (n.rtol_integrals, n.atol_integrals), graph.zero)
        y, integrals, slope, twin = tensors
        # start
        if begin == "automatic" or (begin == "given" and not loop.renewed):
            state = State(y, integrals)
            initial = loop.start(field, state, n.t)
            slope = (initial.dy, *(() if loop.renewed else initial.integrands))
            if begin == "automatic":
                first = loop.first_step(field, state, initial, n.t, n.end, tolerance)
                h = torch.copysign(first.clamp(*graph.bounds), n.end - n.t)
        # run
        capacity = len(buffers.starts[0]) - 1 if buffers.starts else POINTS
        integer, flag = torch.int64, torch.bool
        at = Progress(
            n.t.clone(),
            h.clone(),
            y.clone(),
            tuple(q.clone() for q in integrals),
            tuple(k.clone() for k in slope),
            tuple(z.clone() for z in twin),
            Memory(n.error.clone(), n.rejected.to(flag)),
            n.retry.to(flag),
            torch.zeros_like(n.t, dtype=integer),
            n.attempted.to(integer),
            n.since.to(integer),
            n.stop.to(integer),
            torch.zeros_like(n.t, dtype=integer),
            n.size.clone(),
            n.last_error.clone(),
            n.deviation.clone(),
            torch.zeros(capacity, dtype=n.t.dtype, device=n.t.device),
        )
        limits = Limits(n.end, n.shortest, n.max_steps.to(integer))

        def unfinished(*flat: Tensor) -> Tensor:
            return loop.unfinished(at.from_flat(flat), limits)

        def advance(*flat: Tensor) -> tuple[Tensor, ...]:
            now = at.from_flat(flat)
            return loop.advance(field, now, limits, tolerance, stops, buffers).flat()

        after = at.from_flat(while_(unfinished, advance, at.flat()))
        # report
        finite = torch.isfinite(after.y).all()
        numbers_after = (after.t, after.h, *after.memory, *after[7:-1], finite)
        report = torch.cat((torch.stack([x.double() for x in numbers_after]), after.points))
        first_slope = after.slope[:1] if loop.renewed else slope[:1]
        changed = Tensors(after.y, after.integrals, after.slope, after.twin)
        return changed, first_slope, report

    return run
