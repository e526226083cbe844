"""Tolerances: the numbers of an error-controlled solve, checked once."""

import math
from dataclasses import dataclass, replace
from typing import Self

import torch

from node_repro.ode.controllers import Start
from node_repro.ode.initial_step import initial_step
from node_repro.ode.methods import Method
from node_repro.ode.norm import RmsNorm
from node_repro.ode.solution import SolverError


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """What error-controlled steps have in common.

    A step is accepted when its error is at most atol + rtol |y|. safety, factor_min, factor_max:
    how the next step may differ from the last (HNW I, eq. (4.13)). first_step: |h| to begin with,
    or None for the automatic one.

    Raises:
        SolverError: a number out of its range (kind bad_input).
    """

    rtol: float
    atol: float
    safety: float = 0.9
    factor_min: float = 0.2
    factor_max: float = 10.0
    first_step: float | None = None

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise SolverError("bad_input", f"{name} must be a number >= 0, not {value}")
        if self.rtol == 0 and self.atol == 0:
            raise SolverError("bad_input", "rtol and atol are both 0: give at least one of them")
        if not 0 < self.safety < 1 or not 0 < self.factor_min < 1 < self.factor_max:
            raise SolverError(
                "bad_input", "safety and factor_min must lie in (0, 1), factor_max above 1"
            )
        if self.first_step is not None and not (
            math.isfinite(self.first_step) and self.first_step > 0
        ):
            raise SolverError("bad_input", f"first_step must be positive, not {self.first_step}")

    @property
    def adaptive(self) -> bool:
        return True

    def check(self, dtype: torch.dtype) -> None:
        smallest = 4 * torch.finfo(dtype.to_real()).eps
        if 0 < self.rtol < smallest:
            raise SolverError(
                "bad_input",
                f"rtol = {self.rtol:g} cannot be met in {dtype}: the smallest allowed is "
                f"{smallest:.3g}; use a larger rtol or float64",
            )

    def with_tolerance(self, rtol: float | None, atol: float | None) -> Self:
        return replace(
            self,
            rtol=self.rtol if rtol is None else rtol,
            atol=self.atol if atol is None else atol,
        )

    def first(self, start: Start, method: Method, norm: RmsNorm) -> float:
        if self.first_step is not None:
            return math.copysign(self.first_step, start.end - start.t)
        return initial_step(
            start.f,
            start.t,
            start.state,
            start.slope,
            end=start.end,
            error_order=method.error_order,
            rtol=self.rtol,
            atol=self.atol,
            norm=norm,
        )

    def bounded(self, h: float, factor: float, *, grow: bool) -> float:
        """h times the factor, within its bounds; without grow at most h."""
        if math.isnan(factor):
            factor = self.factor_min
        highest = self.factor_max if grow else 1.0
        return h * min(highest, max(self.factor_min, factor))
