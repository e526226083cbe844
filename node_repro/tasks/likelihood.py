"""Gaussian observations: their log-likelihood, and that of a mixture of predictions."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor


def log_normal(x: Tensor, mean: Tensor, sd: float) -> Tensor:
    """log N(x; mean, sd^2) of every element."""
    return -0.5 * ((x - mean) / sd) ** 2 - math.log(sd) - 0.5 * math.log(2 * math.pi)


def log_mean(values: Tensor) -> Tensor:
    """log of the mean of exp over the first dimension: what S samples say together."""
    return torch.logsumexp(values, dim=0) - math.log(len(values))


def annealed(step: int, steps: int) -> float:
    """The weight of the divergence, from 0 to 1 over so many steps."""
    return min(1.0, step / steps) if steps else 1.0


def rooted(means: Mapping[str, float]) -> dict[str, float]:
    """Every mean square, mse_x, as its root, rmse_x; the rest as it is."""
    roots = {f"r{k}": v**0.5 for k, v in means.items() if k.startswith("mse_")}
    return {k: v for k, v in means.items() if not k.startswith("mse_")} | roots
