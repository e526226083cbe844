"""Densities in the plane that can be sampled and evaluated."""

import math
from functools import cached_property
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from node_repro.data import Facts

ENTROPY_POINTS = 20_000
ENTROPY_SEED = 20180619
CHUNK = 300_000  # elements of one intermediate tensor


class Entropy(NamedTuple):
    """A Monte Carlo estimate in nats, and its standard error."""

    nats: float
    standard_error: float


class Law(Protocol):
    """A density p on the plane. Points and log densities are float64 on the CPU."""

    @property
    def name(self) -> str: ...

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Independent points (N, 2), drawn with the given generator only."""
        ...

    def log_density(self, x: Tensor) -> Tensor:
        """log p(x) in nats, (N,), of points x (N, 2)."""
        ...


class Density:
    """An unlimited data set: points are drawn from `law`."""

    notice = None

    def __init__(self, law: Law) -> None:
        self.law = law

    @property
    def name(self) -> str:
        return self.law.name

    @cached_property
    def entropy(self) -> Entropy:
        """-E log p, the lower bound of the negative log-likelihood of any model."""
        generator = torch.Generator().manual_seed(ENTROPY_SEED)
        values = -self.law.log_density(self.law.sample(ENTROPY_POINTS, generator))
        return Entropy(float(values.mean()), float(values.std()) / math.sqrt(ENTROPY_POINTS))

    @property
    def description(self) -> str:
        nats, error = self.entropy
        return f"unlimited samples; entropy {nats:.4f} ± {error:.4f} nats"

    @property
    def facts(self) -> Facts:
        return {"entropy_nats": self.entropy.nats, "entropy_error": self.entropy.standard_error}


def log_mixture(x: Tensor, centres: Tensor, log_weights: Tensor, sd: float) -> Tensor:
    """log sum_k w_k N(x; c_k, sd^2 I) as (N,), for x (N, 2), centres (K, 2), log_weights (K,)."""
    constant = -math.log(2 * math.pi * sd**2)
    parts = []
    lengths = centres.square().sum(dim=1)
    for part in x.split(max(1, CHUNK // len(centres))):
        nearness = torch.addmm(lengths, part, centres.T, beta=-0.5) / sd**2
        own = part.square().sum(dim=1) / (2 * sd**2)
        parts.append(torch.logsumexp(log_weights + nearness, dim=1) - own)
    return torch.cat(parts) + constant
