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
    h: float
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
        tensors: Tensors,
        tolerances: tuple[Tensor | None, Tensor | None],
        stops: Stops,
        buffers: Buffers,
    ) -> tuple[Tensors, tuple[Tensor, ...], Tensor]:
        def given() -> tuple[PureField, Limits, Tolerances]:
            """What does not change, made anew in each graph: a loop pays for every tensor."""
            scalars: Any = numbers.unbind()
            n: Any = Numbers(*scalars)
            field = graph.make(f, parameters, Clip(n.low, n.high))
            limits = Limits(n.end, n.shortest, n.max_steps.to(torch.int64))
            return field, limits, _tolerances(n, tolerances, zero=graph.zero)

        scalars: Any = [number.clone() for number in numbers.unbind()]
        n: Any = Numbers(*scalars)
        field, _, tolerance = given()
        # start
        slope, h = tensors.slope, n.h
        if begin == "automatic" or (begin == "given" and not loop.renewed):
            state = State(tensors.y, tensors.integrals)
            initial = loop.start(field, state, n.t)
            slope = (initial.dy, *(() if loop.renewed else initial.integrands))
            if begin == "automatic":
                first = loop.first_step(field, state, initial, n.t, n.end, tolerance)
                h = torch.copysign(first.clamp(*graph.bounds), n.end - n.t)
        # run
        capacity = len(buffers.starts[0]) - 1 if buffers.starts else POINTS
        at = _progress(n, h, tensors._replace(slope=slope), capacity)

        def unfinished(*flat: Tensor) -> Tensor:
            _, limits, _ = given()
            return loop.unfinished(at.from_flat(flat), limits)

        def advance(*flat: Tensor) -> tuple[Tensor, ...]:
            field, limits, tolerance = given()
            now = at.from_flat(flat)
            return loop.advance(field, now, limits, tolerance, stops, buffers).flat()

        after = at.from_flat(while_(unfinished, advance, at.flat()))
        # report
        first_slope = after.slope[:1] if loop.renewed else slope[:1]
        changed = Tensors(after.y, after.integrals, after.slope, after.twin)
        return changed, first_slope, _report(after)

    return run


def _tolerances(
    n: Any,  # noqa: ANN401
    given: tuple[Tensor | None, Tensor | None],
    *,
    zero: bool,
) -> Tolerances:
    """rtol and atol: tensors of their own, or among the scalars of the run."""
    rtol, atol = given
    return Tolerances(
        n.rtol if rtol is None else rtol,
        n.atol if atol is None else atol,
        (n.rtol_integrals, n.atol_integrals),
        zero,
    )


def _progress(
    n: Any,  # noqa: ANN401
    h: Tensor,
    tensors: Tensors,
    capacity: int,
) -> Progress:
    """The progress at the start of a run, in tensors of its own."""
    integer, flag = torch.int64, torch.bool
    none = torch.zeros_like(n.t, dtype=integer)
    y, *others = tensors
    integrals, slope, twin = (tuple(x.clone() for x in part) for part in others)
    return Progress(
        n.t,
        h,
        y.clone(),
        integrals,
        slope,
        twin,
        Memory(n.error, n.rejected.to(flag)),
        n.retry.to(flag),
        none,
        n.attempted.to(integer),
        n.since.to(integer),
        n.stop.to(integer),
        none,
        n.size,
        n.last_error,
        n.deviation,
        torch.zeros(capacity, dtype=n.t.dtype, device=n.t.device),
    )


def _report(at: Progress) -> Tensor:
    """The scalars of `Report`, and the points."""
    finite = torch.isfinite(at.y).all()
    scalars = (at.t, at.h, *at.memory, *at[7:-1], finite)
    return torch.cat((torch.stack([x.double() for x in scalars]), at.points))
