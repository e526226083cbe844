"""Hamiltonian paths by leapfrog steps of one size.

The steps are reversible and preserve volume, so that the Metropolis rule makes the chain exact for
every step size.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor

from node_repro.data.potential import Potential
from node_repro.models import HamiltonianPath, PathEnd, Sampler
from node_repro.models.hamilton_equations import gradient


class Leapfrog(Sampler):
    """Leapfrog steps (velocity Verlet): half a kick, a drift, half a kick.

    A path of L steps takes L + 1 evaluations of the gradient. The steps are shortened so that they
    end at the path's time.

    Args:
        step_size: Size of a step before the warm-up.
        chains: Number of Markov chains.
        dimensions: Components of q.

    References:
        Neal, MCMC using Hamiltonian dynamics, 2011, eq. (2.28) to (2.30).
    """

    def __init__(self, *, step_size: Annotated[float, Gt(0)], chains: int, dimensions: int) -> None:
        super().__init__(chains=chains, dimensions=dimensions)
        self.step_size = step_size

    @property
    def accuracy(self) -> Mapping[str, float]:
        return {"step_size": self.step_size * float(self.log_scale.detach().exp())}

    def propose(self, potential: Potential, q: Tensor, p: Tensor, time: float) -> PathEnd:
        *_, end = self._steps(potential, q, p, time)
        evaluations = self._count(time) + 1.0
        return PathEnd(*end, torch.full((len(q),), evaluations, dtype=torch.float64))

    def path(self, potential: Potential, q: Tensor, p: Tensor, time: float) -> HamiltonianPath:
        states = [(q, p), *self._steps(potential, q, p, time)]
        ts = torch.linspace(0, time, len(states), dtype=torch.float64)
        return HamiltonianPath(ts, *(torch.cat(part) for part in zip(*states, strict=True)))

    def _count(self, time: float) -> int:
        return max(1, math.ceil(time / self.accuracy["step_size"]))

    def _steps(
        self, potential: Potential, q: Tensor, p: Tensor, time: float
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The states after each step."""
        steps = self._count(time)
        h = time / steps
        slope = gradient(potential, q)
        for _ in range(steps):
            p = p - h / 2 * slope
            q = q + h * p
            slope = gradient(potential, q)
            p = p - h / 2 * slope
            yield q, p
