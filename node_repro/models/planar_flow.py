"""The planar normalizing flow (Rezende and Mohamed 2015): K maps z + u tanh(w z + b).

log|det| = log|1 + u w (1 - tanh^2)|. A map is invertible if w u >= -1, which is enforced as in
appendix A.1 there. It has no inverse in closed form: along w it is one monotone equation in one
unknown, solved here by bisection and differentiated as the implicit function that it is.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from node_repro.models.continuous_flow import Drawn
from node_repro.models.gaussian import log_normal

HALVINGS = 60


class PlanarMap(nn.Module):
    """One map in D dimensions, at first near the identity: w u near 0 after the constraint, which
    alone would make every new map contract, and many of them lose a mode of the target.
    """

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(dimension) * 0.5)
        towards = math.log(math.e - 1) * self.w.detach() / self.w.detach().square().sum()
        self.u = nn.Parameter(torch.randn(dimension) * 0.1 + towards)
        self.b = nn.Parameter(torch.zeros(()))

    def invertible_u(self) -> Tensor:
        """u + (m(w u) - w u) w / |w|^2 with m(x) = -1 + log(1 + e^x), so that w u > -1."""
        wu = self.w @ self.u
        return self.u + (F.softplus(wu) - 1 - wu) * self.w / self.w.square().sum()

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z: (B, D) -> the image and log|det| (B,)."""
        u = self.invertible_u()
        h = torch.tanh(z @ self.w + self.b)
        det = 1 + (self.w @ u) * (1 - h * h)
        return z + h[:, None] * u, det.abs().log()

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x: (B, D) -> the z whose image it is, and log|det| of the inverse (B,)."""
        u = self.invertible_u()
        wu, target = self.w @ u, x @ self.w
        with torch.no_grad():
            low, high = target - wu.abs(), target + wu.abs()
            for _ in range(HALVINGS):
                middle = (low + high) / 2
                above = middle + wu * torch.tanh(middle + self.b) > target
                low, high = torch.where(above, low, middle), torch.where(above, middle, high)
            root = (low + high) / 2
            slope = 1 + wu * (1 - torch.tanh(root + self.b) ** 2)
        # one Newton step: to first order the value stays and the gradient is the implicit one
        root = root - (root + wu * torch.tanh(root + self.b) - target) / slope
        h = torch.tanh(root + self.b)
        return x - h[:, None] * u, -(1 + wu * (1 - h * h)).abs().log()


class PlanarFlow(nn.Module):
    """`depth` maps in the plane. direction: "to_data", the maps take the base to the data (sampling
    in closed form: density matching), or "to_base", the data to the base (densities in closed form:
    maximum likelihood). The other direction goes through the inverses.
    """

    def __init__(self, *, depth: int, direction: str) -> None:
        super().__init__()
        self.maps = nn.ModuleList(PlanarMap(2) for _ in range(depth))
        self.to_data = direction == "to_data"

    def sample(self, z: Tensor) -> Drawn:
        """Points of the base (B, D) carried to the data, and log p there."""
        x, gained = self._to_data(z, len(self.maps))
        return Drawn(x, log_normal(z) - gained)

    def log_density(self, x: Tensor, fraction: float = 1.0) -> Tensor:
        """log p(x), (B, D) -> (B,), after a fraction of the maps, counted from the base."""
        z, gained = self._to_base(x, round(fraction * len(self.maps)))
        return log_normal(z) + gained

    def encode(self, x: Tensor) -> Tensor:
        """Points of the data (B, D) taken back to the base."""
        return self._to_base(x, len(self.maps))[0]

    def path(self, z: Tensor, fractions: Sequence[float]) -> Tensor:
        """Where points of the base (B, D) are after fractions of the maps: (T, B, D)."""
        counts = [round(fraction * len(self.maps)) for fraction in fractions]
        return torch.stack([self._to_data(z, count)[0] for count in counts])

    def _from_base(self, count: int) -> list[PlanarMap]:
        """The first maps as seen from the base."""
        maps = list(self.maps) if self.to_data else list(reversed(self.maps))
        return maps[:count]  # pyright: ignore[reportReturnType]

    def _to_data(self, z: Tensor, count: int) -> tuple[Tensor, Tensor]:
        gained = z.new_zeros(len(z))
        for planar in self._from_base(count):
            z, log_det = planar(z) if self.to_data else planar.inverse(z)
            gained = gained + log_det
        return z, gained

    def _to_base(self, x: Tensor, count: int) -> tuple[Tensor, Tensor]:
        gained = x.new_zeros(len(x))
        for planar in reversed(self._from_base(count)):
            x, log_det = planar.inverse(x) if self.to_data else planar(x)
            gained = gained + log_det
        return x, gained
