"""What the tasks of section 4 ask of a model: the kind "flow"; and what they show of it."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

GRID = 100  # points a side of a drawn density
MASS_GRID = 400  # of an integrated one


class Drawn(Protocol):
    @property
    def x(self) -> Tensor: ...

    @property
    def log_density(self) -> Tensor: ...


class Flow(Protocol):
    """A density on the plane made from the standard normal one, from fraction 0 to 1."""

    def sample(self, z: Tensor) -> Drawn:
        """Points of the base (B, 2) carried to the data, x (B, 2), and log p there, (B,)."""
        ...

    def log_density(self, x: Tensor, fraction: float = 1.0) -> Tensor:
        """log p (B,) of points (B, 2), after a fraction of the way."""
        ...

    def path(self, z: Tensor, fractions: Sequence[float]) -> Tensor:
        """Where points of the base (B, 2) are at rising fractions: (T, B, 2)."""
        ...


class Square(NamedTuple):
    """[-side, side]^2 in cells: centres (n^2, 2), row by row from below."""

    side: float
    cells: int

    def points(self, like: Tensor) -> Tensor:
        """The cells' centres in like's type and place."""
        steps = (torch.arange(self.cells, dtype=torch.float64) + 0.5) * (2 / self.cells) - 1
        y, x = torch.meshgrid(steps * self.side, steps * self.side, indexing="ij")
        return torch.stack((x, y), dim=-1).reshape(-1, 2).to(like)

    @property
    def area(self) -> float:
        """Of a cell."""
        return (2 * self.side / self.cells) ** 2


def density_on(flow: Flow, square: Square, like: Tensor, fraction: float = 1.0) -> Tensor:
    """p on the cells of a square, (n, n), float64 on the host; in parts of 10,000 points."""
    parts = square.points(like).split(10_000)
    values = [flow.log_density(part, fraction).double().cpu() for part in parts]
    return torch.cat(values).exp().view(square.cells, square.cells)


def mass_on(flow: Flow, side: float, like: Tensor) -> float:
    """The integral of p over [-side, side]^2 by the midpoint rule: 1, but for the solver's errors
    and what lies outside."""
    square = Square(side, MASS_GRID)
    return float(density_on(flow, square, like).sum()) * square.area


def as_flow(model: nn.Module) -> Flow:
    """The model in the type of its kind."""
    return model  # pyright: ignore[reportReturnType]
