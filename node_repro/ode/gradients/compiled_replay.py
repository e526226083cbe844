"""The replay of a solve's steps as one compiled loop: see `gradients.replay`.

Every step is differentiated by one vector-Jacobian product of the function from its start and the
parameters to its end and the slopes of its stages.
"""

# pyright: reportPrivateImportUsage=false
# (torch exports its fused operations on lists of tensors under private names)
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, _foreach_norm
from torch.func import vjp

from node_repro.ode.engines import Starts, positions
from node_repro.ode.engines.auto import next_engine
from node_repro.ode.engines.compilation import loop_function, report_once, without_hooks
from node_repro.ode.engines.compiled import Compiled, refuse_method
from node_repro.ode.engines.parametrized import (
    NotCompilableError,
    check_single_path,
    kind_of,
    parametrized,
    refused_changes,
)
from node_repro.ode.engines.pure import evaluations, inversion_evaluations, stage_count
from node_repro.ode.engines.segment import POINTS
from node_repro.ode.field import Interval, VectorField
from node_repro.ode.gradients.function import Gradients
from node_repro.ode.gradients.replay import Inverted, Replay, StepStarts, Stored
from node_repro.ode.gradients.replay_function import Block, BlockReplay, ReplayState, Scalars
from node_repro.ode.methods import at
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
            refuse_method(engine.backend, replay.solver.method)
            _refuse(replay, gys[-1])
            with torch.no_grad(), without_hooks():
                return _CompiledReplay(replay, engine.backend, f, starts, gys, stats).gradients()
        except NotCompilableError as error:
            report_once(f"engine=compiled replays steps as engine=eager here: {error}")
    return replay.gradients(f, starts, gys, stats)


def _refuse(replay: Replay, y: Tensor) -> None:
    """Raises NotCompilableError if the steps cannot be replayed by compiled code."""
    if y.is_complex() or not y.numel():
        raise NotCompilableError("the state is complex or empty")
    if replay.saved.times:
        raise NotCompilableError("the times require a gradient")
    if len(replay.mesh.points) == 1:
        raise NotCompilableError("there are no steps")


class _CompiledReplay:
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
        points, stats, inverted = self.points, self.stats, isinstance(self.starts, Inverted)
        y0, state = self._start()
        # before anything is traced: this also makes the cached coefficients of the tableau, whose
        # locks the compiler cannot trace on Python 3.11
        per_step = 1 + evaluations(self.method, advance_only=not self.observing)
        low, high = Interval.between(points[0], points[-1], y0.dtype.to_real())
        replay = BlockReplay(self.method, inverted)
        for first, count, block in self._blocks(y0):
            scalars = torch.tensor(Scalars(low, high, count, first), dtype=torch.float64)
            kind = kind_of(self.parametrized, y0, block.points, *block.gk)
            function = loop_function(replay, self.backend, kind)
            state = function(
                self._check_field,
                self.parametrized,
                self.wanted,
                scalars.to(y0.device, non_blocking=True),
                y0,
                state,
                block,
                steps=count,
            )
        steps = len(points) - 1
        for n in reversed(range(steps)):
            stats.accept(points[n + 1] - points[n])
        stats.nvjp += steps * per_step
        stats.nfe += steps * per_step
        if isinstance(self.starts, Inverted):
            stats.nfe += steps * inversion_evaluations(self.starts.method)
            self.starts.measure(state.y[0], state.size, stats)
        return self._finish(y0, state)

    def _finish(self, y0: Tensor, state: ReplayState) -> Gradients:
        """Check that f gave the values of the forward pass, and return the gradients.

        Raises:
            SolverError: f has changed since the forward pass (kind bad_input).
        """
        saved_f, slope, sums = self.replay.saved_f, state.slope, state.sums
        checks = [saved_f.deviation(y0, slope), state.deviation]
        norms = _foreach_norm(sums) if sums else ()
        found = torch.stack([x.double() for x in (*checks, *norms)]).tolist()  # one host read
        self.replay.check_function(self.f, y0, slope, found[0])
        saved_f.check(found[1], lambda: slope, slope)
        gradients: Sequence[Tensor | None] = sums
        if 0.0 in found[2:]:
            used = self._used(y0)
            gradients = [g if u else None for g, u in zip(sums, used, strict=True)]
        gys = self.gys[: self.observed[0][0]]
        return Gradients(sum((state.a, *state.a_twin), gys.sum(0)), None, gradients)

    def _used(self, y0: Tensor) -> list[bool]:
        """Whether f uses each parameter, as the eager engine has no gradient of one it does not."""
        with torch.enable_grad():
            dy = self.f(at(float(self.points[0]), y0), y0.detach().requires_grad_())
            if not dy.requires_grad:
                return [False] * len(self.wanted)
            found = torch.autograd.grad(dy.sum(), self.wanted, allow_unused=True)
        return [g is not None for g in found]

    def _start(self) -> tuple[Tensor, ReplayState]:
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
        return y0, ReplayState(a, a_twin, y, torch.zeros_like(a), sums, zero, size)

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
        y = self._start()[0].detach()
        t = at(float(self.points[0]), y)
        with refused_changes(self.f), torch.enable_grad():
            declared.evaluate(self.f, t, y.requires_grad_())
        check_single_path(self.parametrized, t, y)
