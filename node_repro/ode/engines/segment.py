"""A segment of a solve as one function from tensors to tensors, which is compiled.

A solve is one segment, or several if its buffers are full before its end. The host gives the
scalars of a segment in one tensor and reads those of the result in another.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from node_repro.ode.controllers.adaptive import StepHistory
from node_repro.ode.engines.loop import Loop
from node_repro.ode.engines.progress import Buffers, Limits, Progress, Stops
from node_repro.ode.engines.pure import Clip, PureField
from node_repro.ode.engines.repeat_while import repeat_while
from node_repro.ode.methods import State
from node_repro.ode.norm import Tolerances

POINTS = 256
"""The most steps of a segment that keeps no states."""


class Scalars(NamedTuple):
    """The scalars that a segment is given, which travel to the device as one tensor of float64."""

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
    """The scalars of a segment's result, which travel to the host as one tensor of float64."""

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
    """The tensors that a segment changes: see `Progress`."""

    y: Tensor
    integrals: tuple[Tensor, ...]
    slope: tuple[Tensor, ...]
    twin: tuple[Tensor, ...]


class Inputs(NamedTuple):
    """The inputs of a segment besides f and its parameters.

    Attributes:
        scalars: The numbers of `Scalars`, float64.
        tensors: The tensors that the segment changes.
        tolerances: rtol and atol where they are tensors; otherwise they are among the scalars.
        stops: The times at which steps end.
        buffers: What the segment writes.
    """

    scalars: Tensor
    tensors: Tensors
    tolerances: tuple[Tensor | None, Tensor | None]
    stops: Stops
    buffers: Buffers


class Outputs(NamedTuple):
    """The result of a segment.

    Attributes:
        tensors: The tensors at its end.
        slope: The slope at its start, or nothing if it was not evaluated.
        report: The numbers of `Report` and the ends of the accepted steps, float64.
    """

    tensors: Tensors
    slope: tuple[Tensor, ...]
    report: Tensor


Begin = Literal["automatic", "given", "resumed"]
"""The first step of a segment: chosen automatically, given, or planned by the segment before."""


@dataclass(frozen=True)
class Segment:
    """What the function of a segment is specialised to, besides f and the shapes.

    Attributes:
        loop: The loop.
        make: Makes the field of f: see `Traced`.
        begin: How it begins.
        zero: Whether atol is 0 somewhere.
    """

    loop: Loop
    make: Callable[[Any, tuple[Tensor, ...], Clip], PureField]
    begin: Begin
    zero: bool

    def function(self) -> Callable[..., Any]:
        """The function (f, parameters, *Inputs) -> Outputs, for the compiler a plain one."""

        def segment(f: Any, parameters: tuple[Tensor, ...], *inputs: Any) -> Outputs:  # noqa: ANN401
            return self._run(f, parameters, Inputs(*inputs))

        return segment

    def _run(self, f: Any, parameters: tuple[Tensor, ...], inputs: Inputs) -> Outputs:  # noqa: ANN401
        scalars, tensors, tolerances, stops, buffers = inputs
        loop, begin = self.loop, self.begin

        def constants() -> tuple[PureField, Limits, Tolerances]:
            """What does not change, made anew in each graph: a loop pays for every tensor."""
            numbers: Any = scalars.unbind()
            n: Any = Scalars(*numbers)
            field = self.make(f, parameters, Clip(n.low, n.high))
            limits = Limits(n.end, n.shortest, n.max_steps.to(torch.int64))
            return field, limits, _tolerances(n, tolerances, zero=self.zero)

        numbers: Any = [number.clone() for number in scalars.unbind()]
        n: Any = Scalars(*numbers)
        field, _, tolerance = constants()
        # start
        slope, h = tensors.slope, n.h
        if begin == "automatic" or (begin == "given" and not loop.renewed):
            state = State(tensors.y, tensors.integrals)
            initial = loop.start(field, state, n.t)
            slope = (initial.dy, *(() if loop.renewed else initial.integrands))
            if begin == "automatic":
                h = loop.first_step(field, state, initial, n.t, n.end, tolerance)
        # loop
        capacity = len(buffers.starts[0]) - 1 if buffers.starts else POINTS
        at = _progress(n, h, tensors._replace(slope=slope), capacity)

        def unfinished(*flat: Tensor) -> Tensor:
            _, limits, _ = constants()
            return loop.unfinished(at.from_flat(flat), limits)

        def advance(*flat: Tensor) -> tuple[Tensor, ...]:
            field, limits, tolerance = constants()
            now = at.from_flat(flat)
            return loop.advance(field, now, limits, tolerance, stops, buffers).flat()

        after = at.from_flat(repeat_while(unfinished, advance, at.flat()))
        # report
        first_slope = after.slope[:1] if loop.renewed else slope[:1]
        changed = Tensors(after.y, after.integrals, after.slope, after.twin)
        return Outputs(changed, first_slope, _report(after))


def _tolerances(
    n: Any,  # noqa: ANN401
    given: tuple[Tensor | None, Tensor | None],
    *,
    zero: bool,
) -> Tolerances:
    """rtol and atol: tensors of their own, or among the scalars."""
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
    """The progress at the start of a segment, in tensors of its own."""
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
        StepHistory(n.error, n.rejected.to(flag)),
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
    scalars = (at.t, at.h, *at.history, *at[7:-1], finite)
    return torch.cat((torch.stack([x.double() for x in scalars]), at.points))
