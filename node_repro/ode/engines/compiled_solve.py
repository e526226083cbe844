"""One solve by segments of a compiled loop, and what is left to the host."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from node_repro.ode.controllers import Controller, SolveStart
from node_repro.ode.controllers.adaptive import AdaptiveController
from node_repro.ode.engines import (
    Mesh,
    SolveOptions,
    Starts,
    Stepper,
    Trajectory,
    at_start,
    positions,
)
from node_repro.ode.engines.compilation import loop_function
from node_repro.ode.engines.eager import SNAP, SPAN, Eager, leading, passed
from node_repro.ode.engines.failure import Failure, check_finite, too_many, too_short, underflow
from node_repro.ode.engines.loop import TOO_MANY, JumpFunction, Loop
from node_repro.ode.engines.parametrized import (
    Parametrized,
    check_single_path,
    kind_of,
    refused_changes,
)
from node_repro.ode.engines.progress import Buffers, Stops
from node_repro.ode.engines.pure import evaluations, stage_count, traced
from node_repro.ode.engines.segment import (
    POINTS,
    Begin,
    Inputs,
    Outputs,
    Report,
    Scalars,
    Segment,
    Tensors,
)
from node_repro.ode.field import Counted, Interval
from node_repro.ode.methods import Carry, Field, Method, Slope, State, at
from node_repro.ode.methods.reversible_heun import ReversibleHeun
from node_repro.ode.methods.runge_kutta import ExplicitRungeKutta
from node_repro.ode.norm import Norm
from node_repro.ode.solution import Stats

BYTES = 2**26  # the most memory for the buffers of one segment
ROWS = 32  # the most steps of one segment that keeps states or slopes
LOOPS = 128  # that are kept; the one that was unused for longest is dropped


class Solve:
    """One solve: its segments, and what is left to the host.

    A segment ends at the end of the solve, or when its buffers are full.
    """

    def __init__(
        self,
        backend: str,
        stepper: Stepper,
        f: Field,
        state: State,
        ts: Tensor,
        options: SolveOptions,
    ) -> None:
        self.backend, self.stepper, self.f = backend, stepper, f
        self.state, self.ts, self.options = state, ts, options
        self.method, self.controller = stepper.method, stepper.controller
        self.times: list[float] = ts.tolist()
        self.t0, self.end = self.times[0], self.times[-1]
        self.seen = leading(self.times)
        inside = self.seen < len(self.times) - 1
        self.dense = inside and options.jump is None
        self.traced = traced(f)
        self.stats = Stats()
        self.points: list[float] = [self.t0]
        self.observed: list[tuple[int, int]] = []
        self.starts: list[Starts] = []
        self.outputs = [at_start(state.y, ts[: self.seen], None)]

    def run(self) -> Trajectory:
        """Run segments until the end, and make the trajectory."""
        begin, h = self._first_step()
        loop, scalars = self._loop(), self._scalars(h)
        tensors, stops = self._tensors(loop, begin), self._stops()
        slope = None
        while True:
            inputs = self._inputs(scalars, tensors, stops)
            tensors, slopes, report = self._segment(loop, begin, inputs)
            values = report.tolist()  # the one host read of a segment
            done = Report(*values[: len(Report._fields)])
            if begin != "resumed":
                slope = next(iter(slopes), None)
                self.stats.nfe += (begin == "automatic") * 2 or int(not loop.renewed)
            if done.code:
                return self._fail(done, tensors)
            points = values[len(Report._fields) :][: int(done.accepted)]
            self._collect(points, inputs.buffers)
            if done.t == self.end:
                return self._finish(done, tensors, slope, loop)
            begin, scalars = "resumed", self._resumed(done)

    def _first_step(self) -> tuple[Begin, float]:
        """How the first segment begins, with the signed first step if it is given."""
        controller, h = self.controller, self.options.first_step
        if h is None and isinstance(controller, AdaptiveController) and not controller.first_step:
            return "automatic", 0.0
        if h is None:
            y, order = self.state.y, self.method.error_order
            norm = self.options.norm
            start = SolveStart(self.f, self.t0, self.state, Slope(y), self.end, order, norm)
            h = controller.first(start)
        span, limit = self.end - self.t0, self.stepper.max_steps
        if controller.tolerances is None and abs(span) > abs(h) * limit * (1 + SNAP):
            raise too_short(h, span, limit)
        return "given", h

    def _loop(self) -> Loop:
        controller, jump = self.controller, self.options.jump
        if isinstance(controller, AdaptiveController):
            controller = controller.normalized
        function = None if jump is None else jump.function
        return _loop(self.method, controller, self.options.norm, function)

    def _tensors(self, loop: Loop, begin: Begin) -> Tensors:
        # contiguous, as a graph depends on the strides, which views of other tensors share
        y = self.state.y.contiguous()
        slope = (torch.zeros_like(y),) if loop.renewed and begin == "given" else ()
        twin = () if isinstance(self.method, ExplicitRungeKutta) else (y,)
        return Tensors(y, self.state.integrals, slope, twin)

    def _stops(self) -> Stops:
        # without a jump the loop does not stop at outputs, so that no graph depends on their number
        jump = self.options.jump
        ts = self.ts[[0, -1]] if jump is None else self.ts
        tensors = () if jump is None else tuple(x.contiguous() for x in jump.tensors)
        return Stops(ts.to(self.state.y.device, non_blocking=True), tensors)

    def _scalars(self, h: float) -> Scalars:
        tolerances = self.controller.tolerances
        low, high = _interval(self.t0, self.end, self.state.y.dtype)
        numbers: list[Any] = [0.0, 0.0, 0.0, 0.0]
        if tolerances is not None:
            given = (tolerances.rtol, tolerances.atol)
            own = (0.0 if isinstance(x, Tensor) else x for x in given)  # tensors travel apart
            numbers = [*own, *tolerances.integrals]
        shortest, limit = SPAN * abs(self.end - self.t0), self.stepper.max_steps
        return Scalars(self.t0, h, self.end, low, high, shortest, limit, *numbers)

    def _resumed(self, done: Report) -> Scalars:
        """The scalars of a segment that continues another one."""
        kept = {name: x for name, x in done._asdict().items() if name in Scalars._fields}
        return self._scalars(done.h)._replace(**kept)

    def _inputs(self, scalars: Scalars, tensors: Tensors, stops: Stops) -> Inputs:
        tolerances = self.controller.tolerances
        given = (None, None) if tolerances is None else (tolerances.rtol, tolerances.atol)
        rtol, atol = (x if isinstance(x, Tensor) else None for x in given)
        numbers = torch.tensor(scalars, dtype=torch.float64)
        numbers = numbers.to(self.state.y.device, non_blocking=True)
        return Inputs(numbers, tensors, (rtol, atol), stops, self._buffers())

    def _buffers(self) -> Buffers:
        y, kept = self.state.y, self.dense or self.options.keep_starts
        stages = stage_count(self.method) if self.dense else 0
        each = y.element_size() * max(y.numel(), 1) * (1 + stages)
        most = POINTS if self.backend == "graphs" else ROWS
        rows = max(4, min(most, BYTES // each)) + 1
        states = (y.new_empty((rows, *y.shape)),) if kept else ()
        reversible = not isinstance(self.method, ExplicitRungeKutta)
        twins = (y.new_empty((rows, *y.shape)),) if kept and reversible else ()
        slopes = (y.new_empty((rows, stages, *y.shape)),) if stages else ()
        return Buffers(states, twins, slopes)

    def _segment(self, loop: Loop, begin: Begin, inputs: Inputs) -> Outputs:
        """Run one segment."""
        tolerances, traced = self.controller.tolerances, self.traced
        zero = tolerances is not None and tolerances.zero
        segment = Segment(loop, traced.make, begin, zero)
        function = loop_function(segment, self.backend, kind_of(traced.f, self.state.y))
        return function(self._check, traced.f, traced.parameters, *inputs)

    def _check(self) -> None:
        """Evaluate f as the eager engine does, with its checks and errors."""
        f = Counted(self.f, Stats(), (self.t0, self.end))
        with refused_changes(self.traced.f):
            f(self.t0, self.state.y, integrands=bool(self.state.integrals))
        if isinstance(self.traced.f, Parametrized):  # y and its adjoint
            y = self.state.y[0]
            check_single_path(self.traced.f, at(self.t0, y), y)

    def _collect(self, points: list[float], buffers: Buffers) -> None:
        """Collect the accepted steps of a segment by their ends, with the outputs within them."""
        times, span = self.times, self.end - self.t0
        for i, t1 in enumerate(points):
            t, inside = self.points[-1], (self.seen, self.seen)
            if self.dense:
                inside = (self.seen, passed(times, self.seen, t1, span))
            if inside[0] < inside[1]:
                x = positions(self.ts, inside, t, t1)
                stages = tuple(buffers.stages[0][i])
                dense = self.method.interpolate(buffers.starts[0][i], t1 - t, stages, x)
                self.outputs.append(dense)
            self.seen = inside[1]
            self.points.append(t1)
            self.observed.append(inside)
            self.stats.accept(t1 - t)
        if self.options.keep_starts and points:
            twins = next(iter(buffers.twins), None)
            self.starts.append(Starts(len(points), buffers.starts[0], twins))

    def _finish(
        self, done: Report, tensors: Tensors, slope: Tensor | None, loop: Loop
    ) -> Trajectory:
        end = State(tensors.y, tensors.integrals)
        if not done.finite:
            check_finite(end, done.t)
        stats = self.stats
        stats.rejected = int(done.attempted) - stats.accepted
        stats.nfe += int(done.attempted) * (evaluations(self.method) + loop.renewed)
        carry = Carry(None, next(iter(tensors.twin), None))
        if not loop.renewed:
            dy, *integrands = tensors.slope
            carry = carry._replace(slope=Slope(dy, tuple(integrands)))
        deviation = None
        if self.options.jump is not None:
            deviation = torch.full((), done.deviation, dtype=torch.float64)
        mesh = Mesh(tuple(self.points), tuple(self.observed))
        ys = torch.cat((*self.outputs[: 1 if self.options.jump else None], end.y.unsqueeze(0)))
        starts = tuple(self.starts)
        return Trajectory(ys, end, carry, mesh, starts, done.h, stats, slope, deviation)

    def _fail(self, done: Report, tensors: Tensors) -> Trajectory:
        """Raise the error of the eager engine, with the last attempt repeated for its message."""
        stepper, span = self.stepper, (self.t0, self.end)
        if not done.attempted:  # the start is at fault: the eager engine examines it
            return Eager().integrate(stepper, self.f, self.state, self.ts, self.options)
        state, f = State(tensors.y, tensors.integrals), Counted(self.f, Stats(), span)
        carry = self.method.init(f, done.t, state.y, next(iter(tensors.twin), None))
        step = self.method.step(f, done.t, done.t + done.size, state, carry)
        tolerances = self.controller.tolerances
        failure = Failure(done.t, done.h, state, step, done.last_error, tolerances)
        if done.code == TOO_MANY:
            raise too_many(stepper.max_steps, self.end, failure)
        raise underflow(failure)


@lru_cache(maxsize=LOOPS)
def _loop(
    method: Method, controller: Controller[Any], norm: Norm, jump: JumpFunction | None
) -> Loop:
    """The loop of a kind of solve: one object, so that the compiler recognises it."""
    evaluations(method)  # makes the cached coefficients of the tableau, which is not to be traced
    fsal = isinstance(method, ExplicitRungeKutta) and method.tableau.fsal
    renewed = jump is not None or not (fsal or isinstance(method, ReversibleHeun))
    return Loop(method, controller, controller.tolerances is not None, norm, renewed, jump)


@lru_cache(maxsize=256)
def _interval(t0: float, t1: float, dtype: torch.dtype) -> Interval:
    return Interval.between(t0, t1, dtype.to_real())
