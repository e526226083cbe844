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
SMALL = 1e-3  # standard deviation of the parameters with start="small"


class PlanarFlow(Flow):
    """A chain of planar maps in the plane.

    With start="identity" the constrained w u of every map is near 0, so that the chain is near the
    identity. With start="small" all parameters are near 0, as in Rezende and Mohamed's recipe; the
    constraint then makes every map a contraction along w.

    Args:
        depth: Number of maps.
        direction: Direction in which the maps have a closed form: "to_data" for sampling (density
            matching), "to_base" for densities (maximum likelihood). The other direction goes
            through the inverses.
        start: The distribution of the first parameters.
    """

    def __init__(
        self,
        *,
        depth: Annotated[int, Ge(1)],
        direction: Literal["to_data", "to_base"],
        start: Literal["identity", "small"],
    ) -> None:
        super().__init__()
        w, u, b = torch.randn(depth, 2), torch.randn(depth, 2), torch.zeros(depth)
        if start == "identity":
            w, u = 0.5 * w, 0.1 * u
            u += math.log(math.e - 1) * w / w.square().sum(1, keepdim=True)
        else:
            w, u, b = SMALL * w, SMALL * u, SMALL * torch.randn(depth)
        self.w, self.u, self.b = (nn.Parameter(x) for x in (w, u, b))
        self.to_data = direction == "to_data"

    def sample(self, z: Tensor, noise: Noise | None = None) -> FlowSample:
        x, log_det = self._to_data(z, len(self.b))
        return FlowSample(x, standard_normal_log_density(z) - log_det)

    def log_density(self, x: Tensor, fraction: float = 1.0, noise: Noise | None = None) -> Tensor:
        """Log densities (B,) of points x (B, D) after a fraction of the maps, from the base."""
        z, log_det = self._to_base(x, round(fraction * len(self.b)))
        return standard_normal_log_density(z) + log_det

    def encode(self, x: Tensor) -> Tensor:
        """Map points x (B, D) of the data to the base."""
        return self._to_base(x, len(self.b))[0]

    def path(self, z: Tensor, fractions: Sequence[float]) -> Tensor:
        counts = [round(fraction * len(self.b)) for fraction in fractions]
        return torch.stack([self._to_data(z, count)[0] for count in counts])

    def invertible_u(self) -> Tensor:
        """u + (m(w u) - w u) w / |w|^2 of each map, with m(x) = -1 + log(1 + e^x): w u > -1."""
        wu = (self.w * self.u).sum(1, keepdim=True)
        return self.u + (F.softplus(wu) - 1 - wu) * self.w / self.w.square().sum(1, keepdim=True)

    def apply_maps(self, z: Tensor, places: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The image of z (B, 2) under some maps one after the other, and its log|det| (B,)."""
        u = self.invertible_u()
        ws, us, bs = self.w.unbind(), u.unbind(), self.b.unbind()
        hs = []
        for k in places:
            hs.append(torch.tanh(torch.addmv(bs[k], z, ws[k])))
            z = torch.addr(z, hs[-1], us[k])
        if not hs:
            return z, z.new_zeros(len(z))
        wus = (self.w * u).sum(1).unbind()
        wu = torch.stack([wus[k] for k in places])
        det = 1 + wu[:, None] * (1 - torch.stack(hs).square())
        return z, det.abs().log().sum(0)

    def undo_maps(self, x: Tensor, places: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The z that some maps, the last one first, take to x (B, 2), and log|det| of this (B,)."""
        us, total = self.invertible_u().unbind(), x.new_zeros(len(x))
        for k in places:
            x, log_det = _undo(x, self.w[k], us[k], self.b[k])
            total = total + log_det
        return x, total

    def _places(self, count: int) -> list[int]:
        """The `count` maps next to the base, nearest first."""
        places = list(range(len(self.b)))
        return (places if self.to_data else places[::-1])[:count]

    def _to_data(self, z: Tensor, count: int) -> tuple[Tensor, Tensor]:
        along = self.apply_maps if self.to_data else self.undo_maps
        return along(z, self._places(count))

    def _to_base(self, x: Tensor, count: int) -> tuple[Tensor, Tensor]:
        along = self.undo_maps if self.to_data else self.apply_maps
        return along(x, self._places(count)[::-1])


def _undo(x: Tensor, w: Tensor, u: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The z whose image under one map is x (B, 2), and log|det| of the inverse (B,)."""
    wu, target = w @ u, x @ w
    with torch.no_grad():
        low, high = target - wu.abs(), target + wu.abs()
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            above = middle + wu * torch.tanh(middle + b) > target
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        root = (low + high) / 2
        slope = 1 + wu * (1 - torch.tanh(root + b) ** 2)
    # A Newton step at the root keeps it and has the gradient of the implicit function.
    root = root - (root + wu * torch.tanh(root + b) - target) / slope
    h = torch.tanh(root + b)
    return x - h[:, None] * u, -(1 + wu * (1 - h * h)).abs().log()
