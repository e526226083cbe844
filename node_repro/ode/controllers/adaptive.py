"""Base class of controllers that keep the error of every step within tolerances."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, Generic, NamedTuple, Self

import torch
from annotated_types import Gt, Lt
from torch import Tensor

from node_repro.ode.controllers import Memory, SolveStart, StepDecision
from node_repro.ode.floats import namespace
from node_repro.ode.initial_step import initial_step
from node_repro.ode.norm import Tolerances
from node_repro.ode.solution import SolverError

LONGER = 1.125  # largest ratio of a step to its planned size: the last step, or rounding of t
EXACT = 1e-300  # smaller errors count as this one, which allows any growth


class StepHistory(NamedTuple):
    """What a controller keeps from one step to the next.

    Attributes:
        error: The error of the last accepted step, in units of the tolerance.
        rejected: Whether the previous step was rejected.
    """

    error: float | Tensor = 1.0
    rejected: bool | Tensor = False


@dataclass(frozen=True, kw_only=True)
class AdaptiveController(ABC, Generic[Memory]):
    """Accepts a step when its error is at most atol + rtol |y|, as the solve's norm measures it.

    The next step is h times a factor that the subclass computes from the error, within bounds
    (Hairer, Norsett, Wanner: Solving ODEs I, II.4, eq. (4.13)). The methods that it calls for that
    take floats, and scalar tensors in a compiled loop.

    Args:
        rtol: Relative tolerance: a number, or a tensor that broadcasts to y.
        atol: Absolute tolerance, in the units of y: a number, or a tensor that broadcasts to y.
        safety: Factor by which the next step is shorter than the error estimate would allow.
        factor_min: Smallest ratio of a step to the one before it.
        factor_max: Largest ratio of a step to the one before it.
        first_step: Length of the first step; None chooses it from f and the tolerances.
        min_step: A step as short as this is accepted with any finite error; None for no bound.
        max_step: The longest step, of which the last may be a tenth longer; None for no bound.

    Raises:
        SolverError: A number is out of its range (kind bad_input).

    Example:
        >>> from node_repro import ode
        >>> isinstance(ode.PI(rtol=1e-6, atol=1e-6), ode.AdaptiveController)
        True
    """

    rtol: float | Tensor
    atol: float | Tensor
    safety: Annotated[float, Gt(0), Lt(1)] = 0.9
    factor_min: Annotated[float, Gt(0), Lt(1)] = 0.2
    factor_max: Annotated[float, Gt(1)] = 10.0
    first_step: Annotated[float, Gt(0)] | None = None
    min_step: Annotated[float, Gt(0)] | None = None
    max_step: Annotated[float, Gt(0)] | None = None

    def __post_init__(self) -> None:
        _ = self.tolerances  # checked here
        if not 0 < self.safety < 1 or not 0 < self.factor_min < 1 < self.factor_max:
            raise SolverError(
                "bad_input", "safety and factor_min must lie in (0, 1), factor_max above 1"
            )
        for name in ("first_step", "min_step", "max_step"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise SolverError("bad_input", f"{name} must be positive, not {value}")
        if (self.min_step or 0.0) > (self.max_step or math.inf):
            raise SolverError(
                "bad_input",
                f"min_step = {self.min_step:g} is longer than max_step = {self.max_step:g}",
            )

    @property
    def tolerances(self) -> Tolerances:
        """rtol and atol together."""
        return self._tolerances

    @cached_property
    def _tolerances(self) -> Tolerances:
        return Tolerances.create(self.rtol, self.atol)

    def with_tolerance(self, rtol: float | Tensor | None, atol: float | Tensor | None) -> Self:
        """The same controller with other tolerances; None keeps one."""
        return replace(
            self,
            rtol=self.rtol if rtol is None else rtol,
            atol=self.atol if atol is None else atol,
        )

    @cached_property
    def normalized(self) -> Self:
        """The same controller in units of its tolerances, on which alone its decisions depend."""
        return replace(self, rtol=1.0, atol=1.0, first_step=None)

    def first(self, start: SolveStart) -> float:
        """first_step if it is given, or else the automatic choice (Solving ODEs I, II.4)."""
        if self.first_step is not None:
            return self.within(math.copysign(self.first_step, start.end - start.t))
        with torch.no_grad():  # the choice of the steps is not differentiated
            h = initial_step(
                start.f,
                start.t,
                start.state,
                start.slope,
                end=start.end,
                error_order=start.error_order,
                tolerances=self.tolerances,
                norm=start.norm,
            )
        return self.within(h)

    @abstractmethod
    def judge(
        self, error: float, h: float, error_order: int, state: Memory | None
    ) -> StepDecision[Memory]:
        """See Controller.judge."""

    def acceptable(self, error: Any, h: Any) -> Any:  # noqa: ANN401
        """Whether a step of size h with this error, in units of the tolerance, is good enough."""
        within = error <= 1.0
        if self.min_step is None:
            return within
        return within | ((abs(h) <= LONGER * self.min_step) & namespace(error).isfinite(error))

    def elementary_factor(self, error: Any, error_order: int) -> Any:  # noqa: ANN401
        """The factor by which h would give the tolerance as the error estimate, times safety."""
        return self.safety * namespace(error).clip(error, EXACT) ** (-1.0 / error_order)

    def bounded(self, h: Any, factor: Any, *, grow: Any) -> Any:  # noqa: ANN401
        """h times the factor, within its bounds; without grow at most h."""
        xp, least = namespace(h), self.factor_min
        factor = xp.where(xp.isnan(factor), least, factor)
        growing, not_growing = xp.clip(factor, least, self.factor_max), xp.clip(factor, least, 1.0)
        return self.within(h * xp.where(grow, growing, not_growing))

    def within(self, h: Any) -> Any:  # noqa: ANN401
        """h with its length between min_step and max_step."""
        xp = namespace(h)
        return xp.copysign(xp.clip(abs(h), self.min_step or 0.0, self.max_step or math.inf), h)
