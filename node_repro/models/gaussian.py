"""The base of every flow: the standard normal density."""

import math

from torch import Tensor


def log_normal(z: Tensor) -> Tensor:
    """log N(z; 0, I): (B, D) -> (B,)."""
    return -(z.square().sum(dim=1) + z.shape[1] * math.log(2 * math.pi)) / 2
