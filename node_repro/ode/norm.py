"""Norms of a state's error: what "the error is below the tolerance" means (HNW I, eq. (4.11)).

A norm takes errors already divided by atol + rtol |y|, so a step is good when the norm is at most
1.
"""

# pyright: reportPrivateImportUsage=false
# (torch exports its fused operations on lists of tensors under private names)
import math
from dataclasses import dataclass

import torch
from torch import (
    Tensor,
    _foreach_abs,
    _foreach_add_,
    _foreach_div,
    _foreach_maximum_,
    _foreach_mul_,
    _foreach_norm,
)

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

    def of(self, value: State, rtol: float, atol: float, *sizes: State) -> Tensor:
        """The norm of value / (atol + rtol max |size|) over the given sizes, a scalar."""
        scaled = value.y / _scales(rtol, atol, *((size.y,) for size in sizes))[0]
        parts = scaled.reshape(self.segments, -1)
        count = max(parts.shape[1], 1)
        norm = torch.linalg.vector_norm(parts, dim=1).max() / math.sqrt(count)
        if not self.integrals or not value.integrals:
            return norm
        # one launch for all integrals, as there is one for every parameter
        scales = _scales(rtol, atol, *(size.integrals for size in sizes))
        norms = _foreach_norm(_foreach_div(value.integrals, scales))
        counts = [math.sqrt(max(q.numel(), 1)) for q in value.integrals]
        return torch.stack([norm, *_foreach_div(norms, counts)]).max()


STATE = RmsNorm()
SEMI = RmsNorm(segments=2)
FULL = RmsNorm(segments=2, integrals=True)


def _scales(rtol: float, atol: float, *sizes: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """atol + rtol max |size| for every tensor of a tuple."""
    scales = _foreach_abs(sizes[0])
    for size in sizes[1:]:
        _foreach_maximum_(scales, _foreach_abs(size))
    _foreach_mul_(scales, rtol)
    _foreach_add_(scales, atol)
    if atol == 0:  # an element that is exactly zero would be 0 / 0
        for scale in scales:
            scale.clamp_min_(torch.finfo(scale.dtype).tiny)
    return tuple(scales)


def error_ratio(before: State, step: Step, rtol: float, atol: float, norm: RmsNorm) -> Tensor:
    """The norm of the step's error estimate in units of the tolerance; at most 1 is acceptable."""
    if step.error is None:
        raise ValueError("the method gives no error estimate")
    return norm.of(step.error, rtol, atol, before, step.end)
