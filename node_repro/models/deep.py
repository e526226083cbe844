"""What networks with a depth have in common: z(0) = f2(x), a path through the depth, y = f3(z).

f2 and f3 are linear, so that all that is not linear happens on the way.
"""

from typing import NamedTuple

from torch import Tensor, nn


class Path(NamedTuple):
    """ts: (T,) depths. z: (T, B, D) states there."""

    ts: Tensor
    z: Tensor


class Evaluated(NamedTuple):
    """Where the layers or the field were evaluated for one input. ts: (n,). z: (n, D)."""

    ts: Tensor
    z: Tensor


class Ends(NamedTuple):
    """dimensions: D of the state between them."""

    encoder: nn.Module
    decoder: nn.Module
    dimensions: int


def ends(features: int, dimensions: int | None, outputs: int) -> Ends:
    """f2 and f3. Without dimensions the state is x itself, and y is the state if it is as large."""
    if dimensions is not None:
        return Ends(nn.Linear(features, dimensions), nn.Linear(dimensions, outputs), dimensions)
    same = features == outputs
    return Ends(nn.Identity(), nn.Identity() if same else nn.Linear(features, outputs), features)
