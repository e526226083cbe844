"""The checkerboard density: uniform on every other cell of a board of four by four."""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor

from node_repro.data.density import Density


@dataclass(frozen=True)
class Checkerboard:
    """The checkerboard density, 1 / (8 scale^2) on eight of sixteen cells.

    Args:
        scale: Side of a cell.
    """

    scale: Annotated[float, Gt(0)]
    name = "checkerboard"

    def load(self) -> Density:
        return Density(self)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        column = torch.randint(4, (count,), generator=generator)
        row = 2 * torch.randint(2, (count,), generator=generator) + column % 2
        inside = torch.rand(count, 2, generator=generator, dtype=torch.float64)
        return self.scale * (torch.stack((column, row), dim=1) - 2 + inside)

    def log_density(self, x: Tensor) -> Tensor:
        cell = (x / self.scale + 2).floor()
        on_board = ((cell >= 0) & (cell < 4)).all(dim=1)
        filled = on_board & ((cell[:, 0] - cell[:, 1]) % 2 == 0)
        height = -math.log(8 * self.scale**2)
        return torch.where(filled, height, -math.inf).double()
