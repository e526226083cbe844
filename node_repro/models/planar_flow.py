"""The planar normalizing flow (Rezende and Mohamed 2015): K maps z + u tanh(w z + b).

log|det| = log|1 + u w (1 - tanh^2)|. A map is invertible if w u >= -1, which is enforced as in
appendix A.1 of that paper. The inverse has no closed form: along w it solves one monotone equation
in one unknown, here by bisection, and is differentiated by the implicit function theorem.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional as F

from node_repro.data.sharding import Noise
from node_repro.models import Flow, FlowSample
from node_repro.models.gaussian import standard_normal_log_density

BISECTIONS = 60


class PlanarMap(nn.Module):
    """One map in D dimensions, initialised near the identity.

    u starts where the constrained w u is near 0. The constraint alone would make every new map a
    contraction, and a chain of many would lose modes of the target.
    """

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(dimension) * 0.5)
        offset = math.log(math.e - 1) * self.w.detach() / self.w.detach().square().sum()
        self.u = nn.Parameter(torch.randn(dimension) * 0.1 + offset)
        self.b = nn.Parameter(torch.zeros(()))

    def invertible_u(self) -> Tensor:
        """u + (m(w u) - w u) w / |w|^2 with m(x) = -1 + log(1 + e^x), so that w u > -1."""
        wu = self.w @ self.u
        return self.u + (F.softplus(wu) - 1 - wu) * self.w / self.w.square().sum()

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The image of z (B, D), and log|det| (B,)."""
        u = self.invertible_u()
        h = torch.tanh(z @ self.w + self.b)
        det = 1 + (self.w @ u) * (1 - h * h)
        return z + h[:, None] * u, det.abs().log()

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The z whose image is x (B, D), and log|det| of the inverse (B,)."""
        u = self.invertible_u()
        wu, target = self.w @ u, x @ self.w
        with torch.no_grad():
            low, high = target - wu.abs(), target + wu.abs()
            for _ in range(BISECTIONS):
                middle = (low + high) / 2
                above = middle + wu * torch.tanh(middle + self.b) > target
                low, high = torch.where(above, low, middle), torch.where(above, middle, high)
            root = (low + high) / 2
            slope = 1 + wu * (1 - torch.tanh(root + self.b) ** 2)
        # A Newton step at the root keeps it and has the gradient of the implicit function.
        root = root - (root + wu * torch.tanh(root + self.b) - target) / slope
        h = torch.tanh(root + self.b)
        return x - h[:, None] * u, -(1 + wu * (1 - h * h)).abs().log()


class PlanarFlow(Flow):
    """A chain of planar maps in the plane.

    Args:
        depth: Number of maps.
        direction: Direction in which the maps have a closed form: "to_data" for sampling (density
            matching), "to_base" for densities (maximum likelihood). The other direction goes
            through the inverses.
    """

    def __init__(
        self, *, depth: Annotated[int, Ge(1)], direction: Literal["to_data", "to_base"]
    ) -> None:
        super().__init__()
        self.maps = nn.ModuleList(PlanarMap(2) for _ in range(depth))
        self.to_data = direction == "to_data"

    def sample(self, z: Tensor, noise: Noise | None = None) -> FlowSample:
        x, log_det = self._to_data(z, len(self.maps))
        return FlowSample(x, standard_normal_log_density(z) - log_det)

    def log_density(self, x: Tensor, fraction: float = 1.0, noise: Noise | None = None) -> Tensor:
        """Log densities (B,) of points x (B, D) after a fraction of the maps, from the base."""
        z, log_det = self._to_base(x, round(fraction * len(self.maps)))
        return standard_normal_log_density(z) + log_det

    def encode(self, x: Tensor) -> Tensor:
        """Map points x (B, D) of the data to the base."""
        return self._to_base(x, len(self.maps))[0]

    def path(self, z: Tensor, fractions: Sequence[float]) -> Tensor:
        counts = [round(fraction * len(self.maps)) for fraction in fractions]
        return torch.stack([self._to_data(z, count)[0] for count in counts])

    def _maps_from_base(self, count: int) -> list[PlanarMap]:
        """The `count` maps next to the base, nearest first."""
        maps = [planar for planar in self.maps if isinstance(planar, PlanarMap)]
        return (maps if self.to_data else maps[::-1])[:count]

    def _to_data(self, z: Tensor, count: int) -> tuple[Tensor, Tensor]:
        total = z.new_zeros(len(z))
        for planar in self._maps_from_base(count):
            z, log_det = planar(z) if self.to_data else planar.inverse(z)
            total = total + log_det
        return z, total

    def _to_base(self, x: Tensor, count: int) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(len(x))
        for planar in reversed(self._maps_from_base(count)):
            x, log_det = planar.inverse(x) if self.to_data else planar(x)
            total = total + log_det
        return x, total
