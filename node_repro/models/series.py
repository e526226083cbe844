"""What every model of time series is given, and the recurrent cells that read it."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from node_repro.share import drawn

CELLS: dict[str, type[nn.RNN] | type[nn.GRU]] = {"tanh": nn.RNN, "gru": nn.GRU}


class Observed(Protocol):
    """B series with at most n observations of D channels, all on one grid of times.

    grid: (T,) float64, rising. count: (B,), observations of each. at: (B, n), their places on the
    grid, the last one repeated in the padding. x: (B, n, D).
    """

    @property
    def grid(self) -> Tensor: ...

    @property
    def count(self) -> Tensor: ...

    @property
    def at(self) -> Tensor: ...

    @property
    def x(self) -> Tensor: ...


class Predicted(NamedTuple):
    """means: (S, B, n, D), of S posterior samples (1 where there is no posterior), one for every
    observation. kl: (B,), of the posterior from the prior, 0 without one.
    """

    means: Tensor
    kl: Tensor


def times(series: Observed) -> Tensor:
    """When each observation was made, (B, n) in the dtype of the values."""
    return series.grid.to(series.x)[series.at]


def read(rows: Tensor, places: Tensor) -> Tensor:
    """Of every series b the rows (..., B, T, L) at its places (B, n): (..., B, n, L)."""
    index = places[..., None].expand(*rows.shape[:-2], -1, rows.shape[-1])
    return rows.gather(-2, index)


def normal(shape: tuple[int, int, int], like: Tensor, random: torch.Generator) -> Tensor:
    """Standard normal numbers (S, B, L), drawn on the host so that every device gets the same."""

    def draw(whole: Sequence[int]) -> Tensor:
        return torch.randn(whole, generator=random, dtype=like.dtype)

    return drawn(shape, 1, draw).to(like.device)
