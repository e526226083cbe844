"""Tolerances: the numbers of an error-controlled solve, checked once."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from node_repro.ode.controllers import Beginning
from node_repro.ode.initial_step import initial_step
from node_repro.ode.methods import Method, State, Step
from node_repro.ode.norm import Norm, Tolerances
from node_repro.ode.solution import SolverError

LONGER = 1.125  # than planned: the last step by a tenth, and every step by the rounding of t


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """What error-controlled steps have in common.

    A step is accepted when its error is at most atol + rtol |y|; rtol and atol are numbers, or
    tensors that broadcast to y. safety, factor_min, factor_max: how the next step may differ from
    the last (HNW I, eq. (4.13)). first_step: |h| to begin with, or None for the automatic one.
    min_step: a step as short as this is accepted whatever its finite error. max_step: the longest
    step; the last may be a tenth longer than either.

    Raises:
        SolverError: a number out of its range (kind bad_input).
    """

    rtol: float | Tensor
    atol: float | Tensor
    safety: float = 0.9
    factor_min: float = 0.2
    factor_max: float = 10.0
    first_step: float | None = None
    min_step: float | None = None
    max_step: float | None = None

    def __post_init__(self) -> None:
        Tolerances.create(self.rtol, self.atol)
        if not 0 < self.safety < 1 or not 0 < self.factor_min < 1 < self.factor_max:
            raise SolverError(
                "bad_input", "safety and factor_min must lie in (0, 1), factor_max above 1"
            )
        for name in ("first_step", "min_step", "max_step"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise SolverError("bad_input", f"{name} must be positive, not {value}")
        if self._least > self._most:
            raise SolverError(
                "bad_input",
                f"min_step = {self.min_step:g} is longer than max_step = {self.max_step:g}",
            )

    @property
    def adaptive(self) -> bool:
        return True

    @cached_property
    def tolerances(self) -> Tolerances:
        """rtol and atol together."""
        return Tolerances.create(self.rtol, self.atol)

    @property
    def _least(self) -> float:
        return self.min_step or 0.0

    @property
    def _most(self) -> float:
        return self.max_step or math.inf

    def check(self, y: Tensor) -> None:
        self.tolerances.check(y)

    def with_tolerance(self, rtol: float | Tensor | None, atol: float | Tensor | None) -> Self:
        return replace(
            self,
            rtol=self.rtol if rtol is None else rtol,
            atol=self.atol if atol is None else atol,
        )

    def first(self, start: Beginning, method: Method, norm: Norm) -> float:
        if self.first_step is not None:
            return math.copysign(self._within(self.first_step), start.end - start.t)
        h = initial_step(
            start.f,
            start.t,
            start.state,
            start.slope,
            end=start.end,
            error_order=method.error_order,
            tolerances=self.tolerances,
            norm=norm,
        )
        return math.copysign(self._within(abs(h)), h)

    def blame(self, before: State, step: Step) -> str:
        if step.error is None or not step.error.y.numel():
            return ""
        error, end = step.error.y.detach().abs(), step.end.y.detach()
        allowed = self.tolerances.scale(before.y.detach(), end)
        ratios = (error / allowed).reshape(-1)
        worst = int(ratios.argmax())
        place = tuple(int(i) for i in torch.unravel_index(torch.tensor(worst), error.shape))
        return (
            f"the error is largest in element {place} of the state, {float(ratios[worst]):.3g} "
            f"times the {float(allowed.reshape(-1)[worst]):.3g} that rtol and atol allow"
        )

    def acceptable(self, ratio: float, h: float) -> bool:
        """Whether a step of size h with this ratio of error to tolerance is good enough."""
        return ratio <= 1.0 or (abs(h) <= LONGER * self._least and math.isfinite(ratio))

    def bounded(self, h: float, factor: float, *, grow: bool) -> float:
        """h times the factor, within its bounds; without grow at most h."""
        if math.isnan(factor):
            factor = self.factor_min
        highest = self.factor_max if grow else 1.0
        size = self._within(abs(h) * min(highest, max(self.factor_min, factor)))
        return math.copysign(size, h)

    def _within(self, size: float) -> float:
        return max(min(size, self._most), self._least)
