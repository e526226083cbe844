"""Implicit Runge-Kutta methods (Hairer, Wanner: Solving ODEs II, section IV.8).

Newton's iteration solves for the stages. They are differentiated by the implicit function theorem:
with k_i = f(t_i, y_i) and y_i = known_i + h sum_j a_ij k_j, one linear solve with the transposed
matrix of the stages turns a cotangent of the slopes k into one of the values of f. The iterations
themselves are not differentiated.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from node_repro.ode.methods import Carry, Field, Newton, Rate, Slope, State, Step, Time
from node_repro.ode.methods.jacobian import Jacobian
from node_repro.ode.methods.linear_system import LinearSystem, linear_system
from node_repro.ode.methods.newton import (
    IterationResult,
    NoConvergence,
    Stages,
    iterate,
    to_rounding,
    to_tolerance,
)
from node_repro.ode.methods.runge_kutta import Quadrature, TableauMethod, combine, stage_times
from node_repro.ode.solution import SolverError, Stats
from node_repro.ode.tableau import ImplicitTableau

Context = Any
"""autograd's ctx, which may have any attribute."""

STALE = 0.03  # contraction beyond which df/dy is evaluated again at the next step


@dataclass(frozen=True, repr=False)
class ImplicitRungeKutta(TableauMethod):
    """The method of an implicit Butcher tableau.

    Args:
        tableau: Its coefficients.
        measure: The size of a change of the stages, (m, *S), in units of the tolerances, given the
            largest states; set by the solver. None, for steps without tolerances, iterates until
            rounding errors dominate.

    Examples:
        >>> from node_repro import ode
        >>> implicit_euler = ode.ImplicitRungeKutta(
        ...     ode.ImplicitTableau.from_numbers(
        ...         "implicit_euler", order=1, a=[[1]], b=[1], c=[1], dense=[[1]], dense_order=1
        ...     )
        ... )
        >>> solver = ode.fixed(implicit_euler, step_size=0.1)
    """

    tableau: ImplicitTableau
    measure: Callable[[Tensor, Tensor], Tensor] | None = None

    def init(self, f: Field, t: Time, y: Tensor, twin: Tensor | None = None) -> Carry:
        first = self.tableau.explicit and self.tableau.uses_integrands[0]
        return Carry(f(t, y, integrands=bool(first)))

    def step(
        self, f: Field, t: Time, t1: Time, state: State, carry: Carry, *, advance_only: bool = False
    ) -> Step:
        tableau, h, y = self.tableau, t1 - t, state.y
        assert carry.slope is not None
        rates = f.at_times(stage_times(t, h, t1, tableau.nodes[tableau.explicit :]), y)
        if carry.solved:
            solved, newton, graph = carry.solved, carry.newton, torch.is_grad_enabled()
        else:
            probes = [_Probe(rate) for rate in rates]
            with torch.no_grad():
                solved, newton = _StageSolve(self, f, probes, float(t), float(h), y, carry).solve()
            given = (y, carry.slope.dy, *(x for x in (t, t1) if isinstance(x, Tensor)))
            graph = torch.is_grad_enabled() and any(
                x.requires_grad for x in (*given, *(probe.seen for probe in probes))
            )
        stages, last, integrals = self._stages(f, rates, h, state, carry.slope, solved, graph)
        y1 = combine(y, h, tableau.weights, stages)
        error = None if advance_only else self._error(h, stages, integrals)
        slope = Slope(stages[-1], last) if tableau.fsal else None
        end = State(y1, integrals.added_to(state.integrals))
        return Step(end, error, Carry(slope, newton=newton), tuple(stages), solved)

    def _stages(
        self,
        f: Field,
        rates: Sequence[Rate],
        h: Time,
        state: State,
        slope: Slope,
        solved: tuple[Tensor, ...],
        graph: bool,
    ) -> tuple[list[Tensor], tuple[Tensor, ...], Quadrature]:
        """The slopes of the stages, with a graph if required; the integrands of the last stage; the
        integrals.
        """
        tableau = self.tableau
        integrals = Quadrature(tableau, h, state.integrals)
        stages: list[Tensor] = []
        last: tuple[Tensor, ...] = ()
        if tableau.explicit:
            # a repeated step evaluates f again for its graph, but keeps the first values
            first = slope.dy
            stages.append(first + (solved[0] - first).detach() if graph else solved[0])
            integrals.add(0, slope.integrands)
        if not graph and not state.integrals:
            return list(solved), last, integrals
        for group in tableau.groups:
            inner = solved[group.start : group.stop]
            points, values = [], []
            for i in group:
                row = tableau.rows[i]
                known = combine(state.y, h, row[: group.start], stages)
                y_i = combine(known, h, row[group.start : group.stop], inner)
                if graph and not y_i.requires_grad:
                    y_i = y_i.detach().requires_grad_()
                value = rates[i - tableau.explicit](y_i, integrands=tableau.uses_integrands[i])
                integrals.add(i, value.integrands)
                last = value.integrands
                points.append(y_i)
                values.append(value.dy)
            if graph:
                size = float(h.detach()) if isinstance(h, Tensor) else h
                shared = tableau.inner, size, f.vjps or Stats()
                stages += _Implicit.apply(*shared, *inner, *values, *points)
            else:
                stages += inner
        return stages, last, integrals

    @cached_property
    def predictors(self) -> tuple[tuple[float, ...], ...]:
        """The weights that predict each stage that is solved separately: the parabola through the
        three nearest of the start's slope and the previous stages.
        """
        c, explicit = self.tableau.nodes, self.tableau.explicit
        rows = []
        for i in range(explicit, self.tableau.stages):
            nodes, x = (0.0, *c[explicit:i]), c[i]
            near = sorted(nodes, key=lambda node: abs(node - x))[:3]
            rows.append(tuple(_lagrange(near, n, x) if n in near else 0.0 for n in nodes))
        return tuple(rows)


class _Probe:
    """A Rate whose first evaluation records whether the value of f requires a gradient."""

    def __init__(self, rate: Rate) -> None:
        self.rate, self.seen, self.used = rate, torch.empty(0), False
        self.grad = torch.is_grad_enabled()

    def __call__(self, y: Tensor, *, integrands: bool) -> Slope:
        if self.used or not self.grad:
            return self.rate(y, integrands=integrands)
        self.used = True
        with torch.enable_grad():
            slope = self.rate(y, integrands=integrands)
        self.seen = torch.empty(0, requires_grad=slope.dy.requires_grad)
        return Slope(slope.dy.detach(), slope.integrands)


class _StageSolve:
    """Newton's iteration for the slopes of the stages of one step, without a graph."""

    def __init__(
        self,
        method: ImplicitRungeKutta,
        f: Field,
        rates: Sequence[Rate],
        t: float,
        h: float,
        y: Tensor,
        carry: Carry,
    ) -> None:
        assert carry.slope is not None
        self.method, self.f, self.rates, self.t, self.h = method, f, rates, t, h
        self.y, self.slope, self.newton = y.detach(), carry.slope.dy.detach(), carry.newton
        measure = method.measure
        self.accuracy = to_rounding(y.dtype) if measure is None else to_tolerance(measure)

    def solve(self) -> tuple[tuple[Tensor, ...], Newton]:
        """The slopes of all stages, and what the next step may reuse.

        Raises:
            NoConvergence: The iteration did not converge.
        """
        newton = self.newton
        if newton is not None and newton.contraction > STALE and newton.t != self.t:
            newton = None
        while True:
            jacobian = self.f.jacobian(self.t, self.y) if newton is None else newton.jacobian
            at = self.t if newton is None else newton.t
            if newton is not None and newton.h == self.h:
                system: LinearSystem = newton.system
            else:
                system = self._system([jacobian])
            known = None if newton is None else newton.contraction
            newton = Newton(jacobian, at, system, self.h, 0.0)
            slopes, last = self._all(lambda *_, system=system: system, known)
            if last.converged:
                return slopes, newton._replace(contraction=last.contraction)
            if at == self.t:
                break
            newton = None
        if self.accuracy.exact:
            slopes, last = self._all(self._exact_system, None)
            if last.converged:
                return slopes, newton._replace(contraction=1.0)
        raise NoConvergence(self.t, self.h, last.size, advice=self.accuracy.advice, newton=newton)

    def _system(self, jacobians: Sequence[Any]) -> LinearSystem:
        coupling = self.method.tableau.inner
        return linear_system(jacobians, coupling, self.h, accuracy=self.accuracy.linear)

    def _exact_system(self, stages: Stages, slopes: Tensor) -> LinearSystem:
        pairs = zip(stages.times, stages.states(slopes), strict=True)
        return self._system([self.f.jacobian(t, y) for t, y in pairs])

    def _all(
        self, system: Callable[[Stages, Tensor], LinearSystem], known: float | None
    ) -> tuple[tuple[Tensor, ...], IterationResult]:
        """The slopes of all groups of stages, and the convergence of the slowest group."""
        tableau, h = self.method.tableau, self.h
        slopes = [self.slope] if tableau.explicit else []
        worst = 0.0
        found = IterationResult(self.slope, 0.0, 0.0, converged=True)
        for group in tableau.groups:
            rows = tableau.rows[group.start : group.stop]
            states = [combine(self.y, h, row[: group.start], slopes) for row in rows]
            rates = [self.rates[i - tableau.explicit] for i in group]
            times = [self.t + tableau.nodes[i] * h for i in group]
            stages = Stages(rates, times, torch.stack(states), tableau.inner, h, self.y)
            expected = None if self.accuracy.exact or known is None else max(known, 1e-2)
            found = iterate(stages, self._guess(group, slopes), system, self.accuracy, expected)
            worst = max(worst, found.contraction)
            if not found.converged:
                break
            known = max(known or 0.0, worst)
            slopes += found.slopes.unbind(0)
        return tuple(slopes), found._replace(contraction=worst)

    def _guess(self, group: range, slopes: list[Tensor]) -> Tensor:
        if len(group) > 1:
            return self.slope.expand(len(group), *self.slope.shape)
        explicit = self.method.tableau.explicit
        weights = self.method.predictors[group.start - explicit]
        return combine(None, 1.0, weights, [self.slope, *slopes[explicit:]]).unsqueeze(0)


class _Implicit(Function):
    """The slopes of stages that are solved together, as a function of the values of f there."""

    @staticmethod
    def forward(
        ctx: Context,
        coupling: tuple[tuple[float, ...], ...],
        h: float,
        stats: Stats,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        m = len(coupling)
        ctx.coupling, ctx.h, ctx.stats = coupling, h, stats
        ctx.save_for_backward(*tensors[m:])
        return tuple(slope.view_as(slope) for slope in tensors[:m])

    @staticmethod
    def backward(ctx: Context, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise SolverError(
                "bad_input",
                "implicit methods give first derivatives only: for create_graph=True use an "
                "explicit method",
            )
        m, saved = len(ctx.coupling), ctx.saved_tensors
        jacobians = [
            Jacobian(value, point, ctx.stats, hooked=True)
            for value, point in zip(saved[:m], saved[m:], strict=True)
        ]
        accuracy = 10 * torch.finfo(cotangents[0].dtype.to_real()).eps
        system = linear_system(jacobians, ctx.coupling, ctx.h, accuracy=accuracy)
        turned = system.solve_transposed(torch.stack(cotangents))
        return None, None, None, *[None] * m, *turned.unbind(0), *[None] * m


def _lagrange(nodes: Sequence[float], own: float, x: float) -> float:
    """The value at x of the Lagrange polynomial that is 1 at the node `own`."""
    return math.prod((x - node) / (own - node) for node in nodes if node != own)
