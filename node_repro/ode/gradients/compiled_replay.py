"""The replay of a solve's steps as one compiled loop: see `gradients.replay`.

Every step is differentiated by one vector-Jacobian product of the function from its start and the
parameters to its end and the slopes of its stages.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

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
from node_repro.ode.engines.pure import (
    NotCompilableError,
    check_single_path,
    evaluations,
    inversion_evaluations,
    parametrized,
    stage_count,
)
from node_repro.ode.engines.run import POINTS
from node_repro.ode.field import Interval, VectorField
from node_repro.ode.gradients.function import Gradients
from node_repro.ode.gradients.replay import Inverted, Replay, StepStarts, Stored
from node_repro.ode.gradients.replay_graph import Block, Cotangents, ReplayGraph, replay_of
from node_repro.ode.methods import at
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
        # before anything is traced: this also makes the cached coefficients of the tableau, whose
        # locks the compiler cannot trace on Python 3.11
        per_step = 1 + evaluations(self.method, advance_only=not self.observing)
        undone = 0
        if isinstance(self.starts, Inverted):
            undone = inversion_evaluations(self.starts.method)
        low, high = Interval.between(points[0], points[-1], y0.dtype.to_real())
        for first, count, block in self._blocks(y0):
            numbers = torch.tensor((low, high, count, first), dtype=torch.float64)
            numbers = numbers.to(y0.device, non_blocking=True)
            carried = call(
                ("replay", id(self.method), inverted),
                partial(replay_of, ReplayGraph(self.method, inverted)),
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
        stats.nvjp += steps * per_step
        stats.nfe += steps * (per_step + undone)
        if isinstance(self.starts, Inverted):
            self.starts.measure(carried.y[0], carried.size, stats)
        self._check_ends(y0, carried)
        resting = self.observed[0][0]
        a = sum((carried.a, *carried.a_twin), gys[:resting].sum(0))
        return Gradients(a, None, carried.sums)

    def _start(self) -> tuple[Tensor, Cotangents]:
        """The start of the solve, and the cotangents at its end."""
        starts, a = self.starts, self.gys[-1].contiguous()  # no graph depends on its strides
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
        return y0, Cotangents(a, a_twin, y, torch.zeros_like(a), sums, zero, size)

    def _blocks(self, y0: Tensor) -> Iterator[tuple[int, int, Block]]:
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

    def _block(self, first: int, starts: Starts | None, y0: Tensor, count: int = 0) -> Block:
        """The block of some steps, with the cotangents of the outputs within them."""
        rows = POINTS if starts is None else len(starts.ys)
        count = count if starts is None else starts.count
        points = torch.zeros(rows + 1, dtype=torch.float64)
        ends = self.points[first : first + count + 1]
        points[: count + 1] = torch.tensor(ends, dtype=torch.float64)
        stored = () if starts is None else starts.tensors
        if not self.observing:
            return Block(points.to(y0.device, non_blocking=True), stored, (), ())
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
        return Block(points.to(y0.device, non_blocking=True), stored, (gy,), (gk,))

    def _check_field(self) -> None:
        """Check that f depends on declared tensors only. Raises SolverError."""
        declared = self.replay.declared(self.replay.saved.ts.detach())
        with torch.enable_grad():
            y = self._start()[0].detach().requires_grad_()
            declared.evaluate(self.f, at(float(self.points[0]), y), y)
        check_single_path(self.parametrized, at(float(self.points[0]), y), y)

    def _check_ends(self, y0: Tensor, carried: Cotangents) -> None:
        """Check that f gives the values of the forward pass. Raises SolverError."""
        self.replay.check_function(self.f, y0, carried.slope)
        deviation = float(carried.deviation)
        self.replay.saved_f.check(deviation, lambda: carried.slope, carried.slope)
