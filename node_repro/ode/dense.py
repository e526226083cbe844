"""The solution as a function of time: dense output over a whole span."""

from bisect import bisect_right
from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

import torch
from torch import Tensor

from node_repro.ode.engines import Leg, SolveOptions, positions
from node_repro.ode.field import Plain, VectorField
from node_repro.ode.methods import Method, State
from node_repro.ode.norm import Norm, RmsNorm
from node_repro.ode.odeint import checked, span
from node_repro.ode.solution import SolverError, Stats
from node_repro.ode.solver import RungeKutta
from node_repro.ode.state import Layout, Packed, TupleField
from node_repro.ode.transforms import refuse_vmap

Y = TypeVar("Y")


class DenseSolution(Generic[Y]):
    """y(t) for every t in [t0, t1], by the method's dense output, whose order is dense_order.

    points: the times between which the steps led; stats: what the solve cost.
    """

    def __init__(
        self, legs: tuple[Leg, ...], method: Method, stats: Stats, shaped: Callable[[Tensor], Y]
    ) -> None:
        self._legs, self._method, self._shaped, self.stats = legs, method, shaped, stats
        ends = (legs[0].t, *(leg.t1 for leg in legs))
        self.points = tuple(t.item() if isinstance(t, Tensor) else t for t in ends)
        self._sign = 1.0 if self.points[-1] >= self.points[0] else -1.0

    def __call__(self, t: float | Tensor) -> Y:
        """The state at t: (*S) for a scalar t, (*T, *S) for times of shape (*T) in any order.

        Differentiable in t, and in whatever the solve was. Raises SolverError (bad_input) outside.
        """
        return self._read(t, lambda leg, h, x: self._at(leg, h, x))

    def derivative(self, t: float | Tensor) -> Y:
        """The derivative of the dense output with respect to t, in the same shapes."""
        return self._read(t, lambda leg, h, x: self._method.rate(h, leg.step.stages, x))

    def _at(self, leg: Leg, h: float | Tensor, x: Tensor) -> Tensor:
        return self._method.interpolate(leg.y, h, leg.step.stages, x)

    def _read(self, t: float | Tensor, value: Callable[[Leg, Any, Tensor], Tensor]) -> Y:
        times = torch.as_tensor(t, dtype=torch.float64).cpu()
        flat = times.reshape(-1)
        steps = [self._step(time) for time in flat.tolist()]
        order = sorted(range(len(steps)), key=steps.__getitem__)
        found: list[Tensor] = []
        for n in sorted(set(steps)):
            chosen = [i for i in order if steps[i] == n]
            leg = self._legs[n]
            h = leg.t1 - leg.t
            x = positions(flat[chosen], (0, len(chosen)), leg.t, leg.t1)
            found.append(value(leg, h, x))
        like = self._legs[0].y
        places = torch.tensor(order, dtype=torch.long).argsort()
        ys = torch.cat([like.new_empty(0, *like.shape), *found])[places.to(like.device)]
        return self._shaped(ys.reshape(*times.shape, *like.shape))

    def _step(self, t: float) -> int:
        """Which step a time lies in."""
        rising = [self._sign * point for point in self.points]
        if not rising[0] <= self._sign * t <= rising[-1]:
            raise SolverError(
                "bad_input",
                f"t = {t:g} lies outside of the solution, which goes from {self.points[0]:g} to "
                f"{self.points[-1]:g}",
            )
        return min(max(bisect_right(rising, self._sign * t) - 1, 0), len(self._legs) - 1)


@overload
def odeint_dense(
    f: VectorField,
    y0: Tensor,
    t0: float | Tensor,
    t1: float | Tensor,
    *,
    solver: RungeKutta,
    norm: Norm | None = None,
) -> DenseSolution[Tensor]: ...


@overload
def odeint_dense(
    f: TupleField,
    y0: tuple[Tensor, ...],
    t0: float | Tensor,
    t1: float | Tensor,
    *,
    solver: RungeKutta,
    norm: Norm | None = None,
) -> DenseSolution[tuple[Tensor, ...]]: ...


def odeint_dense(
    f: Any,
    y0: Tensor | tuple[Tensor, ...],
    t0: float | Tensor,
    t1: float | Tensor,
    *,
    solver: RungeKutta,
    norm: Norm | None = None,
) -> Any:
    """The solution over [t0, t1] as a function of time. Every step's stages are kept.

    Autograd sees through the solve, as with gradient=direct; under torch.no_grad() nothing is kept
    for it. norm: of the error, as for odeint.

    Raises:
        SolverError: t0 = t1, or what was given makes no sense (kind bad_input); the solve failed.
    """
    layout = Layout.from_parts(y0) if isinstance(y0, tuple) else None
    y: Any = layout.pack(y0) if layout and isinstance(y0, tuple) else y0
    ts = checked(y, span(t0, t1))
    start, end = ts.tolist()
    if start == end:
        raise SolverError("bad_input", f"t0 = t1 = {start:g}: there is no span to solve")
    legs: list[Leg] = []

    def watch(leg: Leg) -> bool:
        legs.append(leg)
        return False

    field = Plain(Packed(f, layout) if layout else f)
    norm = norm or RmsNorm(parts=layout.sizes if layout else ())
    with refuse_vmap():
        trajectory = solver.solve(field, State(y), ts, SolveOptions(norm, watch=watch))
    shaped: Callable[[Tensor], Any] = layout.unpack if layout else lambda ys: ys
    return DenseSolution(tuple(legs), solver.method, trajectory.stats, shaped)
