"""The pinwheel density: five Gaussian arms, rotated by an angle that grows with the radius
(Johnson et al. 2016, arXiv:1603.06277).
"""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor

from node_repro.data.density import CHUNK, Density

ARMS = 5
RATE = 0.25
GRID = 240  # cells in which roots are searched


@dataclass(frozen=True)
class Pinwheel:
    """The pinwheel density.

    With r ~ N(1, radial^2) and t ~ N(0, tangential^2), the point scale * (r, t) is rotated by the
    angle 2 pi k / 5 + exp(r) / 4, with k uniform on 0 ... 4.

    Args:
        radial: Standard deviation along an arm, before scaling.
        tangential: Standard deviation across an arm, before scaling.
        scale: Factor of all lengths.
    """

    radial: Annotated[float, Gt(0)]
    tangential: Annotated[float, Gt(0)]
    scale: Annotated[float, Gt(0)]
    name = "pinwheel"

    def load(self) -> Density:
        return Density(self)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        normal = torch.randn(count, 2, generator=generator, dtype=torch.float64)
        r, t = 1 + self.radial * normal[:, 0], self.tangential * normal[:, 1]
        arm = torch.randint(ARMS, (count,), generator=generator)
        angle = 2 * math.pi * arm / ARMS + RATE * r.exp()
        cos, sin = angle.cos(), angle.sin()
        return self.scale * torch.stack((r * cos - t * sin, r * sin + t * cos), dim=1)

    def log_density(self, x: Tensor) -> Tensor:
        """Sum of p(r, t) / |1 - t dangle/dr| over all (r, t) that are rotated to x."""
        parts = (x / self.scale).split(max(1, CHUNK // (GRID * ARMS)))
        return torch.cat([self._log_density(part) for part in parts]) - 2 * math.log(self.scale)

    def _log_density(self, x: Tensor) -> Tensor:
        """The log density of points (N, 2).

        With (r, t) = radius (cos a, sin a), a solves a + 2 pi k / 5 + exp(r) / 4 = angle of x. Its
        roots are sign changes on a grid, refined by bisection.
        """
        radius, direction = x.norm(dim=1)[:, None, None], torch.atan2(x[:, 1], x[:, 0])
        turned = direction[:, None, None] - 2 * math.pi * torch.arange(ARMS)[:, None] / ARMS

        def gap(a: Tensor) -> Tensor:
            value = a + RATE * (radius * a.cos()).exp() - turned
            return torch.remainder(value + math.pi, 2 * math.pi) - math.pi

        grid = torch.linspace(-math.pi, math.pi, GRID + 1, dtype=torch.float64)
        low, high = grid[:-1].expand(len(x), ARMS, GRID), grid[1:].expand(len(x), ARMS, GRID)
        at_low, at_high = gap(low), gap(high)
        # A jump by a whole turn changes the sign as well, but is no root.
        has_root = (at_low * at_high <= 0) & ((at_low - at_high).abs() < math.pi)
        point, arm, cell = has_root.nonzero(as_tuple=True)
        low, high = low[point, arm, cell], high[point, arm, cell]
        start = at_low[point, arm, cell]
        radius, turned = radius[point, 0, 0], turned[point, arm, 0]
        for _ in range(40):
            middle = (low + high) / 2
            same = gap(middle) * start > 0
            low, high = torch.where(same, middle, low), torch.where(same, high, middle)
        r, t = radius * low.cos(), radius * low.sin()
        volume = (1 - RATE * r.exp() * t).abs()
        exponent = -(((r - 1) / self.radial) ** 2 + (t / self.tangential) ** 2) / 2
        density = exponent.exp() / (2 * math.pi * self.radial * self.tangential * ARMS) / volume
        return torch.zeros(len(x), dtype=torch.float64).index_add(0, point, density).log()
