"""Norms of a state's error: what "the error is below the tolerance" means (HNW I, eq. (4.11)).

A norm takes errors already divided by atol + rtol |y|, so a step is good when the norm is at most
1.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from node_repro.ode.methods import State, Step


@dataclass(frozen=True)
class RmsNorm:
    """The largest root mean square over the segments of a state.

    segments: how many equal parts y's first dimension holds, each with a mean of its own (1: y as a
    whole; 2: a state and its adjoint stacked). integrals: whether every integral counts as one more
    segment, or none does (the seminorm of Kidger, Chen, Lyons 2021).
    """

    segments: int = 1
    integrals: bool = False

    def __call__(self, scaled: State) -> Tensor:
        """The norm of an error in units of the tolerance, a scalar in y's real dtype."""
        if self.segments == 1:
            norm = _rms(scaled.y)
        else:
            parts = scaled.y.reshape(self.segments, -1)
            size = max(parts.shape[1], 1)
            norm = torch.linalg.vector_norm(parts, dim=1).max() / math.sqrt(size)
        if self.integrals and scaled.integrals:
            norm = torch.stack([norm, *map(_rms, scaled.integrals)]).max()
        return norm

    def of(self, value: State, rtol: float, atol: float, *sizes: State) -> Tensor:
        """The norm of value / (atol + rtol max |size|), over the given states as sizes."""
        integrals: tuple[Tensor, ...] = ()
        if self.integrals:
            columns = zip(value.integrals, *(size.integrals for size in sizes), strict=True)
            integrals = tuple(v / _scale(rtol, atol, *size) for v, *size in columns)
        return self(State(value.y / _scale(rtol, atol, *(size.y for size in sizes)), integrals))


STATE = RmsNorm()
SEMI = RmsNorm(segments=2)
FULL = RmsNorm(segments=2, integrals=True)


def _rms(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x) / math.sqrt(max(x.numel(), 1))


def _scale(rtol: float, atol: float, *values: Tensor) -> Tensor:
    size = values[0].abs()
    for value in values[1:]:
        size = torch.maximum(size, value.abs())
    size = size.mul_(rtol).add_(atol)
    # with atol = 0 an element that is exactly zero would be 0 / 0
    return size.clamp_min_(torch.finfo(size.dtype).tiny) if atol == 0 else size


def error_ratio(before: State, step: Step, rtol: float, atol: float, norm: RmsNorm) -> Tensor:
    """The norm of the step's error estimate in units of the tolerance; at most 1 is acceptable."""
    if step.error is None:
        raise ValueError("the method gives no error estimate")
    return norm.of(step.error, rtol, atol, before, step.end)
