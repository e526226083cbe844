"""Interface of unnormalised densities exp(-U) whose moments are known."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor


class Moments(NamedTuple):
    """E[q_i], E[q_i^2] and E[q_i^4] of every coordinate, (D,) each, float64 on the CPU."""

    mean: Tensor
    square: Tensor
    fourth: Tensor


class Potential(ABC):
    """A density exp(-U) on D coordinates, up to a constant factor."""

    @property
    @abstractmethod
    def dimensions(self) -> int:
        """The number D of coordinates."""

    @abstractmethod
    def __call__(self, q: Tensor) -> Tensor:
        """U (N,) at points q (N, D)."""

    @property
    @abstractmethod
    def moments(self) -> Moments:
        """The exact moments, or those by quadrature."""

    @abstractmethod
    def planar_density(self, points: Tensor) -> Tensor:
        """The normalised density (N,) of the last two coordinates at points (N, 2)."""
