"""Differentiation of a discrete solution step by step, from the last step to the first.

Each step is repeated from its start with a graph, and the cotangents are propagated backwards: of
its end, of a reversible method's twin, and of the outputs within it (dense output). The choice of
the steps is not differentiated.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from node_repro.ode.engines import Mesh, Start, Starts, interval, positions
from node_repro.ode.field import Counted, Plain, VectorField, evaluate
from node_repro.ode.gradients.declared import Declared, vjp
from node_repro.ode.gradients.function import Gradients, Saved
from node_repro.ode.gradients.saved_function import SavedFunction
from node_repro.ode.methods import ReversibleMethod, State, Step, at
from node_repro.ode.methods.adams import Adams
from node_repro.ode.solution import SolverError, Stats
from node_repro.ode.solver import RungeKutta, Solver


def stepping(solver: Solver, gradient: str) -> RungeKutta:
    """Check that single steps of a solver can be repeated, and return it.

    Args:
        solver: The solver of the forward solve.
        gradient: The name of the gradient method, for messages.

    Raises:
        SolverError: Its steps cannot be repeated (kind bad_input).
    """
    if not isinstance(solver, RungeKutta):
        raise SolverError(
            "bad_input",
            f"gradient={gradient} repeats single steps, which {type(solver).__name__} does not "
            "support: use gradient=adjoint, or a Runge-Kutta method",
        )
    if isinstance(solver.method, Adams):
        raise SolverError(
            "bad_input",
            f"gradient={gradient} repeats single steps from the state at their start, but a step "
            f"of {solver.method.name} depends on the steps before it: use gradient=direct or "
            "gradient=adjoint, or a Runge-Kutta method",
        )
    return solver


class StepStarts(Protocol):
    """The starts of the steps of a solve."""

    def backwards(self, f: VectorField, stats: Stats) -> Iterator[Start]:
        """The starts, the last one first; the start of the solve if it has no steps."""
        ...


class Stored(NamedTuple):
    """Starts that the forward pass has stored."""

    blocks: Sequence[Starts]

    def backwards(self, f: VectorField, stats: Stats) -> Iterator[Start]:
        """See StepStarts.backwards."""
        for block in reversed(self.blocks):
            yield from map(block.start, reversed(range(block.count)))


class Inverted(NamedTuple):
    """Starts that are computed by inverting the steps.

    Attributes:
        method: The method of the steps.
        mesh: The accepted steps.
        y0: The start of the solve, (*S).
        y: Its end.
        twin: The second state there.
    """

    method: ReversibleMethod
    mesh: Mesh
    y0: Tensor
    y: Tensor
    twin: Tensor

    def backwards(self, f: VectorField, stats: Stats) -> Iterator[Start]:
        """See StepStarts.backwards. The start of the solve is y0 itself."""
        points, y, twin = self.mesh.points, self.y, self.twin
        field = Counted(Plain(f), stats, (points[0], points[-1]))
        size = torch.linalg.vector_norm(y)
        for n in reversed(range(len(points) - 1)):
            with torch.no_grad():
                y, twin = self.method.unstep(field, points[n], points[n + 1], y, twin)
                size = torch.maximum(size, torch.linalg.vector_norm(y))
            if n > 0:
                yield Start(y, twin)
        self.measure(y, size, stats)
        yield Start(self.y0, self.y0)

    def measure(self, y: Tensor, size: Tensor, stats: Stats) -> None:
        """Record how far from y0 the inverted steps led, and warn if half of the digits are lost.

        Args:
            y: The state to which they led, (*S).
            size: The norm of the largest state, a scalar.
            stats: Gets the distance relative to it.
        """
        off = torch.linalg.vector_norm(y - self.y0) / size.clamp_min(torch.finfo(size.dtype).tiny)
        stats.reconstruction = float(off)
        _warn_of_drift(stats.reconstruction, self.y0.dtype)


def _warn_of_drift(reconstruction: float, dtype: torch.dtype) -> None:
    if not reconstruction <= math.sqrt(torch.finfo(dtype).eps):
        warnings.warn(
            f"inverting the steps led to a start {reconstruction:.0e} from y0, relative to the "
            f"largest state, as rounding in {dtype} grows: the gradient is not exact; use "
            "float64, fewer steps, or gradient=checkpointed",
            stacklevel=2,
        )


class Replay(NamedTuple):
    """Repeats the steps of a solve, from the last to the first.

    Attributes:
        saved_f: The vector field of the forward pass, for checks that it has not changed.
        solver: The solver of the steps.
        mesh: The accepted steps.
        frozen: The tensors that f depends on but that get no gradient.
        saved: The times, and the parameters that require a gradient.
    """

    saved_f: SavedFunction
    solver: RungeKutta
    mesh: Mesh
    frozen: tuple[Tensor, ...]
    saved: Saved

    def gradients(self, f: VectorField, starts: StepStarts, gys: Tensor, stats: Stats) -> Gradients:
        """The gradients of the discrete solution.

        Args:
            f: The vector field, with the parameters of the forward pass.
            starts: The starts of the steps.
            gys: dL/dys, (T, *S).
            stats: Counts the work.

        Raises:
            SolverError: f has changed since the forward pass (kind bad_input).
        """
        method, wanted = self.solver.method, self.saved.parameters
        points, observed = self.mesh
        ts = self.saved.ts
        ends = float(ts[0]), float(ts[-1])
        times = ts.detach().requires_grad_(self.saved.times)
        declared = self.declared(times)
        field = Counted(Plain(f, stats, declared.evaluate), stats, ends)
        totals: list[Tensor | None] = [None] * (len(wanted) + 1)  # and of the times
        a, a_twin = gys[-1], None
        steps = len(points) - 1
        start = later = None
        backwards = starts.backwards(f, stats)
        for n, start in zip(reversed(range(max(steps, 1))), backwards, strict=True):
            if not steps:
                break
            inside = observed[n]
            observing = inside[0] < inside[1]
            y = start.y.detach().requires_grad_()
            twin = None if start.twin is None else start.twin.detach().requires_grad_()
            with torch.enable_grad():
                t, t1 = interval(times, points[n], points[n + 1], first=n == 0, last=n == steps - 1)
                carry = method.init(field, t, y, twin)._replace(solved=start.solved)
                step = method.step(field, t, t1, State(y), carry, advance_only=not observing)
                outputs, cotangents = [step.end.y], [a]
                if a_twin is not None and step.carry.twin is not None:
                    outputs.append(step.carry.twin)
                    cotangents.append(a_twin)
                if observing:
                    x = positions(times, inside, t, t1)
                    outputs.append(method.interpolate(y, t1 - t, step.stages, x))
                    cotangents.append(gys[inside[0] : inside[1]])
            inputs = [y, *([] if twin is None else [twin])]
            known = [*wanted, *([times] if times.requires_grad else [])]
            a, *others = vjp(outputs, (*inputs, *known), cotangents)
            if n == 0 and carry.slope is not None:
                y0, dy = y.detach(), carry.slope.dy.detach()
                self.check_function(f, y0, dy, float(self.saved_f.deviation(y0, dy)))
            if n == steps - 2 and later is not None and twin is None:
                with torch.no_grad():
                    redo = partial(method.step, field, t, t1, State(y), carry)
                    self._check_step(y.detach(), step.end.y.detach(), later, redo)
            later = start.y
            if twin is not None:
                a_twin = others.pop(0)
            for i, g in enumerate(others):
                totals[i] = _sum(totals[i], g)
            stats.accept(points[n + 1] - points[n])
        assert start is not None
        resting = observed[0][0] if steps else len(gys)
        gts = totals[-1] if steps and self.saved.times else None
        if self.saved.times:
            gts = _sum(gts, self._moving(field, start.y, gys[:resting]))
        gy0 = gys[:resting].sum(0)
        if steps:
            gy0 = a + gy0 if a_twin is None else a + a_twin + gy0
        return Gradients(gy0, gts, tuple(totals[: len(wanted)]))

    def declared(self, times: Tensor) -> Declared:
        """Evaluates f with a check that it depends on declared tensors only."""
        wanted = self.saved.parameters
        expected = bool(wanted) and not self.saved_f.restorable
        return Declared((*wanted, *self.frozen, times), expected=expected)

    def check_function(self, f: VectorField, y0: Tensor, dy: Tensor, deviation: float) -> None:
        """Check that f(t0, y0) = dy is the value of the forward pass. Raises SolverError.

        Args:
            f: The vector field.
            y0: The start of the solve.
            dy: The value of f there.
            deviation: `SavedFunction.deviation` of it.
        """
        t0 = float(self.saved.ts[0])
        with torch.no_grad():
            self.saved_f.check(deviation, lambda: evaluate(f, at(t0, y0), y0), dy)

    def _check_step(self, y: Tensor, end: Tensor, start: Tensor, redo: Callable[[], Step]) -> None:
        """Check that a repeated step ends where the next one starts, up to rounding errors."""
        norm, eps = torch.linalg.vector_norm, torch.finfo(y.dtype).eps
        allowed = math.sqrt(eps) * norm(start - y) + 100 * eps * norm(start)
        tiny = torch.finfo(allowed.dtype).tiny
        deviation = float(norm(end - start) / allowed.clamp_min(tiny))
        self.saved_f.check(deviation, lambda: redo().end.y, end)

    def _moving(self, field: Counted, y0: Tensor, gys: Tensor) -> Tensor:
        """The gradient of the times of outputs at the start, whose derivative is f(t0, y0)."""
        gts = torch.zeros_like(self.saved.ts)
        if len(gys) > 1:
            dy = field(float(self.saved.ts[0]), y0, integrands=False).dy
            rates = (gys.conj() * dy).real.flatten(1).sum(1).to(gts)
            gts[: len(gys)] += rates
            gts[0] -= rates.sum()
        return gts


def _sum(total: Tensor | None, g: Tensor | None) -> Tensor | None:
    if g is None or total is None:
        return g if total is None else total
    return total + g
