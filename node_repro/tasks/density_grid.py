"""Densities of flows on a grid of the plane."""

from typing import NamedTuple

import torch
from torch import Tensor

from node_repro.models import Flow

GRID = 100  # cells per side in pictures
MASS_GRID = 400  # cells per side for an integral
PART = 10_000  # points of one evaluation


class Square(NamedTuple):
    """The square [-side, side]^2, divided into cells x cells cells."""

    side: float
    cells: int

    def points(self, like: Tensor) -> Tensor:
        """The centres (cells^2, 2) of the cells, row by row from below, in the dtype of `like`."""
        steps = (torch.arange(self.cells, dtype=torch.float64) + 0.5) * (2 / self.cells) - 1
        y, x = torch.meshgrid(steps * self.side, steps * self.side, indexing="ij")
        return torch.stack((x, y), dim=-1).reshape(-1, 2).to(like)

    @property
    def cell_area(self) -> float:
        return (2 * self.side / self.cells) ** 2


def density_on(flow: Flow, square: Square, like: Tensor, fraction: float = 1.0) -> Tensor:
    """The flow's density on the cells of a square, (cells, cells), float64 on the CPU."""
    parts = square.points(like).split(PART)
    values = [flow.log_density(part, fraction).double().cpu() for part in parts]
    return torch.cat(values).exp().view(square.cells, square.cells)


def mass_on(flow: Flow, side: float, like: Tensor) -> float:
    """The integral of the flow's density over [-side, side]^2 by the midpoint rule.

    It is 1 up to the errors of the solver and the mass outside the square.
    """
    square = Square(side, MASS_GRID)
    return float(density_on(flow, square, like).sum()) * square.cell_area
