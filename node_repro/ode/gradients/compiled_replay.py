"""The replay of a solve's steps as one compiled loop: see `gradients.replay`.

Every step is differentiated by one vector-Jacobian product of the function from its start and the
parameters to its end and the slopes of its stages.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import vjp

from node_repro.ode.engines import Starts, positions
from node_repro.ode.engines.auto import next_engine
from node_repro.ode.engines.compilation import (
    call,
    form,
    has_compiler,
    report_once,
    without_hooks,
)
from node_repro.ode.engines.compiled import Compiled
from node_repro.ode.engines.loop import while_
from node_repro.ode.engines.pure import (
    Clip,
    NotCompilableError,
    Parametrized,
    PureField,
    evaluations,
    inversion_evaluations,
    parametrized,
    stage_count,
)
from node_repro.ode.engines.run import POINTS
from node_repro.ode.field import Interval, VectorField
from node_repro.ode.gradients.function import Gradients
from node_repro.ode.gradients.replay import Inverted, Replay, StepStarts, Stored
from node_repro.ode.methods import Method, State, at
from node_repro.ode.methods.implicit import ImplicitRungeKutta
from node_repro.ode.solution import Stats


def differentiate(
    replay: Replay, f: VectorField, starts: StepStarts, gys: Tensor, stats: Stats
) -> Gradients:
    """The gradients of the discrete solution, with the loop compiled where the engine compiles.

    The arguments are those of `Replay.gradients`.
    """
    engine = next_engine(replay.solver.engine, replay.solver, gys[-1])
    if isinstance(engine, Compiled):
        try:
            _refuse(replay, engine.backend)
            with torch.no_grad(), without_hooks():
                return _Replayed(replay, engine.backend, f, starts, gys, stats).gradients()
        except NotCompilableError as error:
            report_once(f"engine=compiled replays steps as engine=eager here: {error}")
    return replay.gradients(f, starts, gys, stats)


def _refuse(replay: Replay, backend: str) -> None:
    """Raises NotCompilableError if the steps cannot be replayed by compiled code."""
    if backend == "inductor" and not has_compiler():
        raise NotCompilableError("there is no C++ compiler (g++ or clang++)")
    if replay.saved.times:
        raise NotCompilableError("the times require a gradient")
    if len(replay.mesh.points) == 1:
        raise NotCompilableError("there are no steps")
    if isinstance(replay.solver.method, ImplicitRungeKutta):
        raise NotCompilableError(f"{replay.solver.method.name} is implicit")


class _Block(NamedTuple):
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


class _Cotangents(NamedTuple):
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

    def from_flat(self, flat: Sequence[Tensor]) -> "_Cotangents":
        """Tensors in one tuple, in the form of these."""
        a, *more = flat
        twins, states, sums = len(self.a_twin), len(self.y), len(self.sums)
        a_twin, more = tuple(more[:twins]), more[twins:]
        y, more = tuple(more[:states]), more[states:]
        slope, *more = more
        return _Cotangents(a, a_twin, y, slope, tuple(more[:sums]), *more[sums:])


@dataclass(frozen=True)
class _Graph:
    """What a compiled replay is specialised to, besides f and the shapes.

    Attributes:
        method: The method of the steps.
        inverted: Whether starts are computed by inverting the steps.
    """

    method: Method
    inverted: bool


def _run_of(graph: _Graph) -> Callable[..., Any]:
    """The function that is compiled: the steps of a block, from the last to the first."""
    method: Method = graph.method
    reversible: Any = graph.method

    def run(
        f: Parametrized,
        parameters: tuple[Tensor, ...],
        numbers: Tensor,
        y0: Tensor,
        carried: _Cotangents,
        block: _Block,
    ) -> _Cotangents:
        low, high, count, number = (x.clone() for x in numbers.unbind())
        clip = Clip(low, high)
        observing = bool(block.gk)

        def unfinished(n: Tensor, *flat: Tensor) -> Tensor:
            return n > 0

        def back(n: Tensor, *flat: Tensor) -> tuple[Tensor, ...]:
            now = carried.from_flat(flat)
            n = n - 1
            t, t1 = _at(block.points, n), _at(block.points, n + 1)
            before = tuple(_at(x, n) for x in block.stored)
            size = now.size.clone()  # a compiled loop may not return its input itself
            if graph.inverted:
                undone = f.with_parameters(
                    parameters,
                    lambda f: reversible.unstep(PureField(f, (), clip), t, t1, *now.y),
                )
                size = torch.maximum(size, torch.linalg.vector_norm(undone[0]))
                first = n + number == 0
                before = tuple(torch.where(first, y0, x) for x in undone)

            def advance(
                before: tuple[Tensor, ...], parameters: tuple[Tensor, ...]
            ) -> tuple[tuple[Tensor, ...], Tensor]:
                def step(f: VectorField) -> tuple[tuple[Tensor, ...], Tensor]:
                    y, *twin = before
                    field = PureField(f, (), clip)
                    carry = method.init(field, t, y, *twin)
                    done: Any = method.step(
                        field, t, t1, State(y), carry, advance_only=not observing
                    )
                    ends = (done.end.y, *((done.carry.twin,) if twin else ()))
                    assert carry.slope is not None
                    return (*ends, *(done.stages if observing else ())), carry.slope.dy

                return f.with_parameters(parameters, step)

            pulled: Any = vjp(advance, before, parameters, has_aux=True)
            outputs, pull, slope = pulled
            slopes = tuple(_at(block.gk[0], n).unbind(0)) if observing else ()
            (a, *a_twin), sums = pull((now.a, *now.a_twin, *slopes))
            if observing:
                a = a + _at(block.gy[0], n)
            deviation = now.deviation.clone()
            if not graph.inverted and now.y:
                deviation = torch.fmax(deviation, _deviation(before[0], outputs[0], now.y[0]))
            kept = tuple(undone) if graph.inverted else tuple(x.clone() for x in before)
            after = _Cotangents(
                a,
                tuple(a_twin),
                kept[: len(now.y)],
                slope,
                tuple(q + g for q, g in zip(now.sums, sums, strict=True)),
                deviation,
                size,
            )
            return n, *after.flat()

        start = (count.to(torch.int64), *(x.clone() for x in carried.flat()))
        _, *flat = while_(unfinished, back, start)
        return carried.from_flat(flat)

    return run


class _Replayed:
    """The replay of one solve: its blocks, and what is left to the host."""

    def __init__(
        self,
        replay: Replay,
        backend: str,
        f: VectorField,
        starts: StepStarts,
        gys: Tensor,
        stats: Stats,
    ) -> None:
        self.replay, self.backend, self.f = replay, backend, f
        self.starts, self.gys, self.stats = starts, gys, stats
        self.points, self.observed = replay.mesh
        self.method = replay.solver.method
        self.parametrized = parametrized(f, replay.saved.parameters)
        self.wanted = self.parametrized.parameters
        self.observing = any(a < b for a, b in self.observed)

    def gradients(self) -> Gradients:
        """Replay the blocks, and check that f has not changed."""
        gys, points, stats = self.gys, self.points, self.stats
        inverted = isinstance(self.starts, Inverted)
        y0, carried = self._start()
        low, high = Interval.between(points[0], points[-1], y0.dtype.to_real())
        for first, count, block in self._blocks(y0):
            numbers = torch.tensor((low, high, count, first), dtype=torch.float64)
            numbers = numbers.to(y0.device, non_blocking=True)
            carried = call(
                ("replay", id(self.method), inverted),
                partial(_run_of, _Graph(self.method, inverted)),
                self.backend,
                form(self.f, y0, *block.points, *block.gk),
                self._check_field,
                self.parametrized,
                self.wanted,
                numbers,
                y0,
                carried,
                block,
                steps=count,
            )
        steps = len(points) - 1
        for n in reversed(range(steps)):
            stats.accept(points[n + 1] - points[n])
        per_step = 1 + evaluations(self.method, advance_only=not self.observing)
        stats.nvjp += steps * per_step
        stats.nfe += steps * per_step
        if isinstance(self.starts, Inverted):
            stats.nfe += steps * inversion_evaluations(self.starts.method)
            self.starts.measure(carried.y[0], carried.size, stats)
        self._check_ends(y0, carried)
        resting = self.observed[0][0]
        a = sum((carried.a, *carried.a_twin), gys[:resting].sum(0))
        return Gradients(a, None, carried.sums)

    def _start(self) -> tuple[Tensor, _Cotangents]:
        """The start of the solve, and the cotangents at its end."""
        starts, a = self.starts, self.gys[-1]
        if isinstance(starts, Inverted):
            y0, y, reversible = starts.y0, (starts.y, starts.twin), True
        else:
            assert isinstance(starts, Stored)
            first = starts.blocks[0].start(0)
            y0, reversible = first.y, first.twin is not None
            y = () if reversible else (torch.full_like(y0, torch.nan),)
        zero = torch.zeros((), dtype=y0.dtype, device=y0.device)
        a_twin = (torch.zeros_like(a),) if reversible else ()
        sums = tuple(map(torch.zeros_like, self.wanted))
        size = zero if not isinstance(starts, Inverted) else torch.linalg.vector_norm(starts.y)
        return y0, _Cotangents(a, a_twin, y, torch.zeros_like(a), sums, zero, size)

    def _blocks(self, y0: Tensor) -> Iterator[tuple[int, int, _Block]]:
        """The blocks from the last to the first, with the number of their first step and of all."""
        if isinstance(self.starts, Stored):
            end = len(self.points) - 1
            for block in reversed(self.starts.blocks):
                yield end - block.count, block.count, self._block(end - block.count, block, y0)
                end -= block.count
            return
        ends = range(0, len(self.points) - 1, POINTS)
        for first in reversed(ends):
            count = min(POINTS, len(self.points) - 1 - first)
            yield first, count, self._block(first, None, y0, count)

    def _block(self, first: int, starts: Starts | None, y0: Tensor, count: int = 0) -> _Block:
        """The block of some steps, with the cotangents of the outputs within them."""
        rows = POINTS if starts is None else len(starts.ys)
        count = count if starts is None else starts.count
        points = torch.zeros(rows + 1, dtype=torch.float64)
        ends = self.points[first : first + count + 1]
        points[: count + 1] = torch.tensor(ends, dtype=torch.float64)
        stored = () if starts is None else starts.tensors
        if not self.observing:
            return _Block(points.to(y0.device, non_blocking=True), stored, (), ())
        stages = stage_count(self.method)
        gy = y0.new_zeros((rows, *y0.shape))
        gk = y0.new_zeros((rows, stages, *y0.shape))
        ts = self.replay.saved.ts.detach()
        for i in range(count):
            a, b = self.observed[first + i]
            if a < b:
                t, t1 = self.points[first + i], self.points[first + i + 1]
                dense = partial(self.method.interpolate, h=t1 - t, x=positions(ts, (a, b), t, t1))
                zeros = (torch.zeros_like(y0), tuple(gk[i].unbind(0)))
                pulled: Any = vjp(lambda y, ks, dense=dense: dense(y, stages=ks), *zeros)
                gy[i], slopes = pulled[1](self.gys[a:b])
                gk[i] = torch.stack(slopes)
        return _Block(points.to(y0.device, non_blocking=True), stored, (gy,), (gk,))

    def _check_field(self) -> None:
        """Check that f depends on declared tensors only. Raises SolverError."""
        declared = self.replay.declared(self.replay.saved.ts.detach())
        with torch.enable_grad():
            y = self._start()[0].detach().requires_grad_()
            declared.evaluate(self.f, at(float(self.points[0]), y), y)

    def _check_ends(self, y0: Tensor, carried: _Cotangents) -> None:
        """Check that f gives the values of the forward pass. Raises SolverError."""
        self.replay.check_function(self.f, y0, carried.slope)
        deviation = float(carried.deviation)
        self.replay.saved_f.check(deviation, lambda: carried.slope, carried.slope)


def _at(x: Tensor, i: Tensor) -> Tensor:
    return x.index_select(0, i.reshape(1))[0]


def _deviation(y: Tensor, end: Tensor, start: Tensor) -> Tensor:
    """The distance of a step's end from the next start, in units of what rounding explains."""
    norm, eps = torch.linalg.vector_norm, torch.finfo(y.dtype).eps
    allowed = eps**0.5 * norm(start - y) + 100 * eps * norm(start)
    return norm(end - start) / allowed.clamp_min(torch.finfo(y.dtype).tiny)
