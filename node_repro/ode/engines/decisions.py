"""The decisions of step-size controllers as functions of tensors, for compiled loops.

They give the same numbers as the controllers' `judge`, in float64.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from node_repro.ode.controllers import Controller
from node_repro.ode.controllers.adaptive import LONGER, AdaptiveController
from node_repro.ode.controllers.constant import Constant
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.controllers.pi import PI, SMALLEST


class Memory(NamedTuple):
    """What a controller keeps from one step to the next.

    Attributes:
        error: The error of the last accepted step, in units of the tolerance, () float64.
        rejected: Whether the previous step was rejected, () bool.
    """

    error: Tensor
    rejected: Tensor


class Decision(NamedTuple):
    """A decision on a step, as `StepDecision`: () bool, () float64, and the memory."""

    accept: Tensor
    h: Tensor
    memory: Memory


Decide = Callable[[Tensor, Tensor, int, Memory], Decision]
"""decide(error, h, error_order, memory), with scalars of float64."""


def first_memory(like: Tensor) -> Memory:
    """The memory before the first step, on the device of a tensor."""
    error = torch.ones((), dtype=torch.float64, device=like.device)
    return Memory(error, torch.zeros((), dtype=torch.bool, device=like.device))


def decision_of(controller: Controller[Any]) -> Decide | None:
    """The decisions of a controller; None for a controller that only decides on numbers."""
    if type(controller) is Integral:
        return _Integral(_Bounds.of(controller))
    if type(controller) is PI:
        return _PI(_Bounds.of(controller), controller.integral, controller.proportional)
    if type(controller) is Constant:
        return _Constant(controller.step_size)
    return None


class _Constant(NamedTuple):
    step_size: float

    def __call__(self, error: Tensor, h: Tensor, order: int, memory: Memory) -> Decision:
        size = torch.full_like(h, self.step_size)
        return Decision(torch.ones_like(memory.rejected), torch.copysign(size, h), memory)


class _Bounds(NamedTuple):
    """The numbers of an `AdaptiveController`."""

    safety: float
    factor_min: float
    factor_max: float
    least: float
    most: float

    @classmethod
    def of(cls, controller: AdaptiveController[Any]) -> "_Bounds":
        return cls(
            controller.safety,
            controller.factor_min,
            controller.factor_max,
            controller.min_step or 0.0,
            controller.max_step or math.inf,
        )

    def acceptable(self, error: Tensor, h: Tensor) -> Tensor:
        """See AdaptiveController.acceptable."""
        within = error <= 1.0
        if self.least == 0.0:
            return within
        return within | ((h.abs() <= LONGER * self.least) & torch.isfinite(error))

    def bounded(self, h: Tensor, factor: Tensor, grow: Tensor) -> Tensor:
        """See AdaptiveController.bounded."""
        factor = torch.where(torch.isnan(factor), self.factor_min, factor)
        factor = factor.clamp_min(self.factor_min)
        factor = torch.where(grow, factor.clamp_max(self.factor_max), factor.clamp_max(1.0))
        return torch.copysign((h.abs() * factor).clamp(self.least, self.most), h)

    def shorter(self, error: Tensor, order: int) -> Tensor:
        """The factor by which the error alone changes the step."""
        return self.safety * error ** (-1.0 / order)


class _Integral(NamedTuple):
    bounds: _Bounds

    def __call__(self, error: Tensor, h: Tensor, order: int, memory: Memory) -> Decision:
        """See Integral.judge."""
        bounds = self.bounds
        accept = bounds.acceptable(error, h)
        factor = torch.where(error == 0.0, bounds.factor_max, bounds.shorter(error, order))
        size = bounds.bounded(h, factor, accept & ~memory.rejected)
        return Decision(accept, size, Memory(memory.error, ~accept))


class _PI(NamedTuple):
    bounds: _Bounds
    k_integral: float
    k_proportional: float

    def __call__(self, error: Tensor, h: Tensor, order: int, memory: Memory) -> Decision:
        """See PI.judge."""
        bounds, (last, rejected) = self.bounds, memory
        accept, exact = bounds.acceptable(error, h), error == 0.0
        now = error.clamp_min(SMALLEST)
        factor = (
            bounds.safety
            * now ** (-(self.k_integral + self.k_proportional) / order)
            * last ** (self.k_proportional / order)
        )
        factor = torch.where(exact, bounds.factor_max, factor)
        factor = torch.where(accept, factor, bounds.shorter(error, order))
        size = bounds.bounded(h, factor, accept & ~rejected)
        kept = torch.where(accept, torch.where(exact, 1.0, now), last)
        return Decision(accept, size, Memory(kept, ~accept))
