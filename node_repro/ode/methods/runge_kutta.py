"""Explicit Runge-Kutta methods (Hairer, Norsett, Wanner: Solving ODEs I, section II.1)."""

# pyright: reportPrivateImportUsage=false
# (torch exports its fused operations on lists of tensors under private names)
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, _foreach_add, _foreach_add_

from node_repro.ode.methods import Carry, Field, State, Step, Time, to_device
from node_repro.ode.tableau import ButcherTableau


def combine(
    y: Tensor | None, h: Time, weights: Sequence[float], slopes: Sequence[Tensor]
) -> Tensor:
    """y + h sum_i w_i k_i, or the sum alone without y; zero weights cost nothing.

    If h is a float, each term is one fused multiply-add for which autograd saves no tensor.
    """
    terms = [(w, k) for w, k in zip(weights, slopes, strict=False) if w != 0.0]
    if not terms:
        return torch.zeros_like(slopes[0]) if y is None else y
    weight, slope = terms[0]
    if isinstance(h, Tensor):
        first = to_device(h * weight, slope) * slope
        out = first if y is None else y + first
        for weight, slope in terms[1:]:
            out = out + to_device(h * weight, slope) * slope
        return out
    out = slope * (h * weight) if y is None else torch.add(y, slope, alpha=h * weight)
    for weight, slope in terms[1:]:
        out.add_(slope, alpha=h * weight)
    return out


def stage_times(t: Time, h: Time, t1: Time, nodes: Sequence[float]) -> list[Time]:
    """The times of the stages with the given nodes, in a step from t to t1 = t + h."""
    # t + 1.0 * h may exceed t1 by rounding, where f may be undefined
    return [t1 if c == 1.0 else t + c * h for c in nodes]


@dataclass(frozen=True, repr=False)
class TableauMethod:
    """Base class of explicit and implicit Runge-Kutta methods."""

    tableau: ButcherTableau

    def __repr__(self) -> str:
        return f"<{self.name}>"

    @property
    def name(self) -> str:
        return self.tableau.name

    @property
    def order(self) -> int:
        return self.tableau.order

    @property
    def dense_order(self) -> int:
        return self.tableau.dense_order

    @property
    def error_order(self) -> int:
        return min(self.tableau.order, self.tableau.embedded_order) + 1

    @property
    def adaptive(self) -> bool:
        return self.tableau.b_hat is not None

    @cached_property
    def _dense(self) -> Tensor:
        """The coefficients of the dense output, (s, degree), float64 on the host."""
        return torch.tensor(self.tableau.dense_weights, dtype=torch.float64)

    def _error(self, h: Time, stages: Sequence[Tensor], integrals: "Quadrature") -> State | None:
        """The error estimate of a step; None if the method has none."""
        if not self.adaptive:
            return None
        with torch.no_grad():  # the choice of the step is not differentiated
            error = combine(None, h, self.tableau.error_weights, stages)
        return State(error, tuple(integrals.error))

    def interpolate(self, y: Tensor, h: Time, stages: tuple[Tensor, ...], x: Tensor) -> Tensor:
        dense = self._dense
        powers = x.unsqueeze(1) ** torch.arange(1, dense.shape[1] + 1)
        weights = to_device(powers @ dense.T * h, stages[0])
        return y + torch.tensordot(weights, torch.stack(stages), dims=1)

    def rate(self, h: Time, stages: tuple[Tensor, ...], x: Tensor) -> Tensor:
        dense = self._dense
        degrees = torch.arange(1, dense.shape[1] + 1)
        weights = (degrees * x.unsqueeze(1) ** (degrees - 1)) @ dense.T
        return torch.tensordot(to_device(weights, stages[0]), torch.stack(stages), dims=1)


@dataclass(frozen=True, repr=False)
class ExplicitRungeKutta(TableauMethod):
    """The method of an explicit Butcher tableau.

    Args:
        tableau: Its coefficients.

    Examples:
        >>> from node_repro import ode
        >>> euler = ode.ButcherTableau.from_numbers(
        ...     "euler", order=1, a=[[]], b=[1], c=[0], dense=[[1]], dense_order=1
        ... )
        >>> method = ode.ExplicitRungeKutta(euler)
        >>> solver = ode.fixed(method, step_size=0.1)
        >>> method.order, method.adaptive
        (1, False)
    """

    def init(self, f: Field, t: Time, y: Tensor, twin: Tensor | None = None) -> Carry:
        return Carry(f(t, y, integrands=self.tableau.uses_integrands[0]))

    def step(
        self, f: Field, t: Time, t1: Time, state: State, carry: Carry, *, advance_only: bool = False
    ) -> Step:
        tableau, h = self.tableau, t1 - t
        count = tableau.essential if advance_only else tableau.stages
        slope = carry.slope
        assert slope is not None
        stages = [slope.dy]
        integrals = Quadrature(tableau, h, state.integrals)
        integrals.add(0, slope.integrands)
        rates = f.at_times(stage_times(t, h, t1, tableau.nodes[1:count]), state.y)
        y1 = None
        for i, rate in enumerate(rates, start=1):
            y_i = combine(state.y, h, tableau.rows[i], stages)
            slope = rate(y_i, integrands=tableau.uses_integrands[i])
            stages.append(slope.dy)
            integrals.add(i, slope.integrands)
            if tableau.fsal and i == tableau.stages - 1:
                y1 = y_i
        if y1 is None:
            y1 = combine(state.y, h, tableau.weights, stages)
        error = None if advance_only else self._error(h, stages, integrals)
        after = Carry(slope if tableau.fsal and not advance_only else None)
        end = State(y1, integrals.added_to(state.integrals))
        return Step(end, error, after, tuple(stages))


class Quadrature:
    """The sums h sum_i b_i q_i and, for the error, h sum_i (b_i - b_hat_i) q_i over the stages."""

    def __init__(self, tableau: ButcherTableau, h: Time, integrals: tuple[Tensor, ...]) -> None:
        self.tableau, self.h = tableau, h
        self.value = [torch.zeros_like(q) for q in integrals]
        self.error = [torch.zeros_like(q) for q in integrals] if tableau.error_weights else []

    def add(self, i: int, integrands: tuple[Tensor, ...]) -> None:
        """Add the integrands of stage i."""
        if not integrands:
            return
        tableau = self.tableau
        self._add(self.value, tableau.weights[i], integrands)
        if tableau.error_weights:
            self._add(self.error, tableau.error_weights[i], integrands)

    def _add(self, sums: list[Tensor], weight: float, integrands: tuple[Tensor, ...]) -> None:
        """Add h times the weight times the integrands to the sums."""
        if weight == 0:
            return
        h = self.h * weight
        if isinstance(h, Tensor):
            sums[:] = [total + h.to(q) * q for total, q in zip(sums, integrands, strict=True)]
        else:
            _foreach_add_(sums, integrands, alpha=h)

    def added_to(self, integrals: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The integrals at the end of the step, from those at its start."""
        if not integrals:
            return ()
        return tuple(_foreach_add(self.value, integrals))
