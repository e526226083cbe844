"""Log densities of normal distributions."""

import math

from torch import Tensor


def standard_normal_log_density(z: Tensor) -> Tensor:
    """log N(z; 0, I) of points z (B, D), as (B,)."""
    return -(z.square().sum(dim=1) + z.shape[1] * math.log(2 * math.pi)) / 2


def normal_log_density(x: Tensor, mean: Tensor, sd: float) -> Tensor:
    """log N(x; mean, sd^2) of every element of x."""
    return -0.5 * ((x - mean) / sd) ** 2 - math.log(sd) - 0.5 * math.log(2 * math.pi)
