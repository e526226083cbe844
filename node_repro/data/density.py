"""Densities in the plane that can be drawn from and whose logarithm is known: kind "density"."""

import math
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

ENTROPY_POINTS = 20_000
ENTROPY_SEED = 20180619
CHUNK = 300_000  # numbers of one intermediate result


class Entropy(NamedTuple):
    """A Monte Carlo estimate in nats, and its standard error."""

    nats: float
    standard_error: float


class Law(Protocol):
    """A density p on the plane. Points and densities are float64 on the host."""

    @property
    def name(self) -> str: ...

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Points (N, 2), independent, drawn with the generator alone."""
        ...

    def log_density(self, x: Tensor) -> Tensor:
        """log p(x) in nats: (N, 2) -> (N,)."""
        ...


class Density:
    """A law as the data of a task: a `DataSet` that is drawn from without end."""

    notice = None

    def __init__(self, law: Law) -> None:
        self.law = law

    @property
    def name(self) -> str:
        return self.law.name

    @cached_property
    def entropy(self) -> Entropy:
        """-E log p: the smallest negative log likelihood that any model can have."""
        generator = torch.Generator().manual_seed(ENTROPY_SEED)
        values = -self.law.log_density(self.law.sample(ENTROPY_POINTS, generator))
        return Entropy(float(values.mean()), float(values.std()) / math.sqrt(ENTROPY_POINTS))

    @property
    def description(self) -> str:
        nats, error = self.entropy
        return f"drawn without end; entropy {nats:.4f} ± {error:.4f} nats"

    @property
    def facts(self) -> Mapping[str, float]:
        return {"entropy_nats": self.entropy.nats, "entropy_error": self.entropy.standard_error}


def mixture(x: Tensor, centres: Tensor, log_weights: Tensor, sd: float) -> Tensor:
    """log sum_k w_k N(x; c_k, sd^2 I): x (N, 2), centres (K, 2), log_weights (K,) -> (N,)."""
    constant = -math.log(2 * math.pi * sd**2)
    parts = []
    lengths = centres.square().sum(dim=1)
    for part in x.split(max(1, CHUNK // len(centres))):
        nearness = torch.addmm(lengths, part, centres.T, beta=-0.5) / sd**2
        own = part.square().sum(dim=1) / (2 * sd**2)
        parts.append(torch.logsumexp(log_weights + nearness, dim=1) - own)
    return torch.cat(parts) + constant
