"""`odeint_dense`: the solution as a function of time."""

from bisect import bisect_right
from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

import torch
from torch import Tensor

from node_repro.ode.engines import Leg, SolveOptions, positions
from node_repro.ode.field import Plain, VectorField
from node_repro.ode.methods import Method, State
from node_repro.ode.norm import Norm
from node_repro.ode.odeint import packed_problem, time_span
from node_repro.ode.solution import SolverError, Stats
from node_repro.ode.solver import RungeKutta, check_choices, refuse_unused_norm
from node_repro.ode.state import TupleField
from node_repro.ode.transforms import refuse_vmap

Y = TypeVar("Y")


class DenseSolution(Generic[Y]):
    """The solution as a function y(t), for t from t0 to t1; made by odeint_dense.

    Between two steps it is the method's dense output, of order dense_order.

    Attributes:
        points: The times between which the steps lead, n + 1 for n steps.
        stats: The cost of the solve.

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> y = ode.odeint_dense(
        ...     lambda t, y: -y, torch.ones(2), 0.0, 1.0, solver=ode.dopri5(rtol=1e-5, atol=1e-5)
        ... )
        >>> y(0.5).shape, y(torch.linspace(0, 1, 7)).shape
        (torch.Size([2]), torch.Size([7, 2]))
        >>> torch.allclose(y.derivative(0.5), -y(0.5), atol=1e-3)
        True
    """

    def __init__(
        self, legs: tuple[Leg, ...], method: Method, stats: Stats, unpack: Callable[[Tensor], Y]
    ) -> None:
        self._legs, self._method, self._unpack, self.stats = legs, method, unpack, stats
        ends = (legs[0].t, *(leg.t1 for leg in legs))
        self.points = tuple(t.item() if isinstance(t, Tensor) else t for t in ends)
        self._sign = 1.0 if self.points[-1] >= self.points[0] else -1.0

    def __call__(self, t: float | Tensor) -> Y:
        """The states at given times, differentiable in t and in the inputs of the solve.

        Args:
            t: A scalar time, or times of any shape (*T) in any order.

        Returns:
            The states, (*S) for a time, (*T, *S) for times; or a tuple of such.

        Raises:
            SolverError: A time lies outside of the solution (kind bad_input).
        """
        return self._evaluate(
            t, lambda leg, h, x: self._method.interpolate(leg.y, h, leg.step.stages, x)
        )

    def derivative(self, t: float | Tensor) -> Y:
        """The derivative of the dense output with respect to t.

        Args:
            t: As for a call.

        Returns:
            dy/dt, in the shapes of a call.

        Raises:
            SolverError: A time lies outside of the solution (kind bad_input).
        """
        return self._evaluate(t, lambda leg, h, x: self._method.rate(h, leg.step.stages, x))

    def _evaluate(self, t: float | Tensor, value: Callable[[Leg, Any, Tensor], Tensor]) -> Y:
        """value(step, its size, fractions of it (m,)) for every time, the times of one step
        together.
        """
        times = torch.as_tensor(t, dtype=torch.float64).cpu()
        flat = times.reshape(-1)
        steps = [self._step_index(time) for time in flat.tolist()]
        order = sorted(range(len(steps)), key=steps.__getitem__)
        values: list[Tensor] = []
        for n in sorted(set(steps)):
            inside = [i for i in order if steps[i] == n]
            leg = self._legs[n]
            h = leg.t1 - leg.t
            x = positions(flat[inside], (0, len(inside)), leg.t, leg.t1)
            values.append(value(leg, h, x))
        like = self._legs[0].y
        places = torch.tensor(order, dtype=torch.long).argsort()
        ys = torch.cat([like.new_empty(0, *like.shape), *values])[
            places.to(like.device, non_blocking=True)
        ]
        return self._unpack(ys.reshape((*times.shape, *like.shape)))

    def _step_index(self, t: float) -> int:
        """The index of the step that a time lies in."""
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
    """Solve dy/dt = f(t, y), y(t0) = y0, for the solution as a function of time.

    Autograd differentiates through the solve, as with gradient=Direct(). The stages of every step
    are stored; under torch.no_grad() nothing else is.

    Args:
        f: The vector field, as for odeint.
        y0: The state at t0, (*S), or a tuple of such.
        t0: The first time.
        t1: The last time; it may lie before t0.
        solver: A Runge-Kutta solver.
        norm: Measures the error of a step, as for odeint.

    Returns:
        The solution, to be called with times between t0 and t1.

    Raises:
        SolverError: t0 = t1, or another argument is invalid (kind bad_input); or the solve failed.

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> solver = ode.tsit5(rtol=1e-6, atol=1e-6)
        >>> y = ode.odeint_dense(lambda t, y: 2 * t, torch.zeros(()), 0.0, 3.0, solver=solver)
        >>> bool((y(2.0) - 4).abs() < 1e-4)
        True
    """
    check_choices(solver=solver)
    ts = time_span(t0, t1)
    refuse_unused_norm(norm, solver)
    problem, unpack = packed_problem(f, y0, ts, (), (), norm)
    start, end = ts.tolist()
    if start == end:
        raise SolverError("bad_input", f"t0 = t1 = {start:g}: give two different times")
    legs: list[Leg] = []

    def keep(leg: Leg) -> bool:
        legs.append(leg)
        return False

    with refuse_vmap():
        trajectory = solver.solve(
            Plain(problem.f), State(problem.y0), problem.ts, SolveOptions(problem.norm, watch=keep)
        )
    return DenseSolution(tuple(legs), solver.method, trajectory.stats, unpack)
