"""Adams methods: a step integrates the polynomial that interpolates the slopes of earlier steps.

With f_j = f(t_j, y_j) at the start t_0 of a step and at the starts t_1, t_2, ... of those before
it, and P the polynomial through k of them, a step to t1 is y1 = y + int_{t_0}^{t1} P(s) ds. This is
the Adams-Bashforth formula of order k. The Adams-Moulton formula, of order k + 1, also uses
f(t1, y1) and is solved for y1 by iteration from the Adams-Bashforth value (Hairer, Norsett, Wanner:
Solving ODEs I, section III.1). The first steps, which have no history, are Runge-Kutta steps.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from node_repro.ode.methods import Carry, Field, Past, Slope, State, Step, Time, to_device
from node_repro.ode.methods.collocation import integral, lagrange, value
from node_repro.ode.methods.explicit import RK38
from node_repro.ode.methods.runge_kutta import combine
from node_repro.ode.solution import SolverError

MIN_POINTS = 3  # the fewest of a formula; a step with a shorter history is a Runge-Kutta step
MAX_POINTS = 11
UNIFORM = 1e-9  # largest deviation of the nodes from those of equal steps, relative to a step
QUADRATURE = 6  # Gauss points: exact for polynomials of degree 11


@cache
def formula(nodes: tuple[int, ...]) -> tuple[Fraction, ...]:
    """Exact weights of an Adams formula.

    Args:
        nodes: 0, -1, ..., 1 - k for Adams-Bashforth, in units of the step and from its start; with
            1 before them for Adams-Moulton.

    Returns:
        w with int_0^1 P(x) dx = sum_j w_j P(nodes_j) for every polynomial P of a degree below the
        number of nodes.
    """
    return tuple(value(integral(lagrange(nodes, j)), Fraction(1)) for j in range(len(nodes)))


class Corrector(NamedTuple):
    """Fixed-point iteration for the equations of an Adams-Moulton formula.

    The iteration ends when every element of y1 - y changes by at most atol + rtol |y1 - y|.

    Args:
        iterations: The most evaluations of f in a step.
        rtol: Relative tolerance, a number or a tensor that broadcasts to y.
        atol: Absolute tolerance, a number or a tensor that broadcasts to y.

    Examples:
        >>> from node_repro import ode
        >>> solver = ode.adams(step_size=0.1, corrector=ode.Corrector(iterations=6, rtol=1e-9))
    """

    iterations: int = 4
    rtol: float | Tensor = 1e-7
    atol: float | Tensor = 1e-9


@dataclass(frozen=True)
class Adams:
    """Adams-Bashforth or Adams-Moulton formulas, for problems that are not stiff.

    Steps may differ in size; the weights are computed for the actual times. The more points a
    formula has, the shorter are the steps at which it is stable.

    Args:
        points: The most past slopes that a formula interpolates, 0 to 11. With fewer than 3 every
            step is a Runge-Kutta step.
        corrector: The iteration of Adams-Moulton; None for Adams-Bashforth.

    Raises:
        SolverError: A number is out of its range (kind bad_input).

    References:
        Hairer, Norsett, Wanner: Solving ODEs I, section III.1.

    Examples:
        >>> from node_repro import ode
        >>> method = ode.Adams(points=4, corrector=ode.Corrector())
        >>> method.name, method.order
        ('adams_moulton', 5)
        >>> solver = ode.fixed(method, step_size=0.05)
    """

    points: int = 4
    corrector: Corrector | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.points <= MAX_POINTS:
            raise SolverError(
                "bad_input", f"points must lie in [0, {MAX_POINTS}], not {self.points}"
            )
        if self.corrector is not None and self.corrector.iterations < 1:
            raise SolverError(
                "bad_input", f"iterations must be at least 1, not {self.corrector.iterations}"
            )

    @property
    def name(self) -> str:
        return "adams_bashforth" if self.corrector is None else "adams_moulton"

    @property
    def order(self) -> int:
        """The order of the solution, bounded by that of the first steps."""
        if self.points < MIN_POINTS:
            return RK38.order
        return min(self.points, 4) if self.corrector is None else min(self.points + 1, 5)

    @property
    def dense_order(self) -> int:
        return RK38.dense_order

    @property
    def error_order(self) -> int:
        return self.order

    @property
    def adaptive(self) -> bool:
        return False

    def init(self, f: Field, t: Time, y: Tensor, twin: Tensor | None = None) -> Carry:
        return Carry(f(t, y, integrands=True))

    def step(
        self, f: Field, t: Time, t1: Time, state: State, carry: Carry, *, advance_only: bool = False
    ) -> Step:
        assert carry.slope is not None
        past = (Past(t, carry.slope), *carry.history)[: self.points]
        after = Carry(history=past[: max(self.points - 1, 0)])
        if len(past) < MIN_POINTS:
            return self._first_step(f, t, t1, state, carry.slope, after)
        h = t1 - t
        slopes = [slope for _, slope in past]
        nodes = _nodes(t, h, [time for time, _ in past])
        if self.corrector is not None:
            ahead, converged = self._corrected(f, t1, h, state.y, slopes, nodes)
            if not converged:  # do not increase the number of points
                after = Carry(history=past[:-1])
            slopes, nodes = [ahead, *slopes], _with_end(nodes)
        weights = _weights(nodes)
        rates = [slope.dy for slope in slopes]
        integrals = _quadrature(state, float(h), weights, slopes) if state.integrals else ()
        places = torch.as_tensor(nodes, dtype=torch.float64)
        end = State(_advanced(state.y, h, weights, rates), integrals)
        return Step(end, None, after, (*rates, places))

    def interpolate(self, y: Tensor, h: Time, stages: tuple[Tensor, ...], x: Tensor) -> Tensor:
        *rates, places = stages
        weights = _integrated(places, x) * h
        return y + torch.tensordot(to_device(weights, rates[0]), torch.stack(rates), dims=1)

    def rate(self, h: Time, stages: tuple[Tensor, ...], x: Tensor) -> Tensor:
        *rates, places = stages
        return torch.tensordot(to_device(_basis(places, x), rates[0]), torch.stack(rates), dims=1)

    def _first_step(
        self, f: Field, t: Time, t1: Time, state: State, slope: Slope, after: Carry
    ) -> Step:
        """A Runge-Kutta step. Three slopes describe its dense output, whose rate is a parabola."""
        step = RK38.step(f, t, t1, state, Carry(slope))
        places = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
        rates = RK38.rate(t1 - t, step.stages, places)
        return Step(step.end, None, after, (*rates.unbind(0), places))

    def _corrected(
        self,
        f: Field,
        t1: Time,
        h: Time,
        y: Tensor,
        slopes: list[Slope],
        nodes: "Nodes",
    ) -> tuple[Slope, bool]:
        """The slope at the end of the step, and whether the iteration converged."""
        iterations, rtol, atol = self.corrector or Corrector()
        rates = [slope.dy for slope in slopes]
        change = _advanced(None, h, _weights(nodes), rates)
        ends = _weights(_with_end(nodes))
        for _ in range(iterations):
            ahead = f(t1, y + change, integrands=True)
            before, change = change, _advanced(None, h, ends, [ahead.dy, *rates])
            with torch.no_grad():
                allowed = torch.maximum(before.abs(), change.abs()) * rtol + atol
                if bool(((change - before).abs() <= allowed).all()):
                    return ahead, True
        warnings.warn(
            f"an Adams-Moulton step did not converge in {iterations} iterations: use shorter "
            "steps or more iterations",
            stacklevel=2,
        )
        return ahead, False


Nodes = tuple[int, ...] | Tensor
"""The times of known slopes, relative to the start of a step and in units of its size: integers if
all steps have one size, else (k,) float64.
"""


def _nodes(t: Time, h: Time, times: Sequence[Time]) -> Nodes:
    if isinstance(h, Tensor) or any(isinstance(time, Tensor) for time in times):
        places = [torch.as_tensor((time - t) / h, dtype=torch.float64) for time in times]
        return torch.stack(places)
    places = [(time - t) / h for time in times]
    if all(abs(place + j) <= UNIFORM for j, place in enumerate(places)):
        return tuple(-j for j in range(len(places)))
    return torch.tensor(places, dtype=torch.float64)


def _with_end(nodes: Nodes) -> Nodes:
    if isinstance(nodes, Tensor):
        return torch.cat((nodes.new_ones(1), nodes))
    return (1, *nodes)


Weights = tuple[float, ...] | Tensor


def _weights(nodes: Nodes) -> Weights:
    """The weights of a step's formula; a tensor if the times require a gradient."""
    if not isinstance(nodes, Tensor):
        return tuple(map(float, formula(nodes)))
    weights = _integrated(nodes, nodes.new_ones(1))[0]
    return weights if weights.requires_grad else tuple(weights.tolist())


def _advanced(y: Tensor | None, h: Time, weights: Weights, rates: list[Tensor]) -> Tensor:
    """y + h sum_j w_j k_j, or the sum alone without y."""
    if not isinstance(weights, Tensor):
        return combine(y, h, weights, rates)
    change = torch.tensordot(to_device(h * weights, rates[0]), torch.stack(rates), dims=1)
    return change if y is None else y + change


def _quadrature(
    state: State, h: float, weights: Weights, slopes: list[Slope]
) -> tuple[Tensor, ...]:
    """The integrals at the end of a step, by the same formula."""
    integrands = zip(*(slope.integrands for slope in slopes), strict=True)
    return tuple(
        combine(q, h, tuple(map(float, weights)), rates)
        for q, rates in zip(state.integrals, integrands, strict=True)
    )


def _basis(nodes: Tensor, x: Tensor) -> Tensor:
    """The Lagrange polynomials of the nodes (k,) at x: (...) -> (..., k)."""
    same = torch.eye(len(nodes), dtype=torch.bool)
    apart = torch.where(same, 1.0, nodes.unsqueeze(1) - nodes)
    factors = torch.where(same, 1.0, (x[..., None, None] - nodes) / apart)
    return factors.prod(dim=-1)


def _integrated(nodes: Tensor, x: Tensor) -> Tensor:
    """The integrals of the Lagrange polynomials from 0 to x: (m,) -> (m, k)."""
    places, weights = _gauss()
    values = _basis(nodes, x.unsqueeze(1) * places)
    return (values * weights.unsqueeze(1)).sum(1) * x.unsqueeze(1)


@cache
def _gauss() -> tuple[Tensor, Tensor]:
    """Places and weights of Gauss's quadrature on [0, 1], from the eigenvalues of the Jacobi matrix
    of the Legendre polynomials (Golub, Welsch 1969).
    """
    n = torch.arange(1, QUADRATURE, dtype=torch.float64)
    off = n / (4 * n * n - 1).sqrt()
    values, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    return (values + 1) / 2, vectors[0].square()
