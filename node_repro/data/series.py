"""Irregularly observed time series as tensors: many series on one common grid of times.

With the common grid, one ODE solve serves all series: the state is computed at every time of the
grid, and each series is read where it was observed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Series(NamedTuple):
    """B series with at most n observations of D channels.

    grid: (T,) float64, increasing times. count: (B,) int64, observations of each series. at: (B, n)
    int64, grid indices of the observations, increasing, padded with the last one. x: (B, n, D),
    values, zero in the padding. seen: (B, n, D) bool, False in the padding and for missing values.
    """

    grid: Tensor
    count: Tensor
    at: Tensor
    x: Tensor
    seen: Tensor

    @property
    def examples(self) -> int:
        """Number of series."""
        return len(self.count)

    def select(self, indices: Tensor) -> "Series":
        """The series at the indices (b,), on the same grid."""
        return Series(self.grid, *(part[indices.to(part.device)] for part in self[1:]))

    def to(self, device: torch.device, dtype: torch.dtype) -> "Series":
        """A copy with everything but the grid on the device, and the values in the dtype."""
        count, at, seen = (part.to(device) for part in (self.count, self.at, self.seen))
        return Series(self.grid, count, at, self.x.to(device, dtype), seen)


def pad_series(
    grid: Tensor, at: Sequence[Tensor], x: Sequence[Tensor], seen: Sequence[Tensor]
) -> Series:
    """Combine series of different lengths, given `at` (n_i,), x and seen (n_i, D) of each."""
    count = torch.tensor([len(places) for places in at])
    n = max(int(count.max()), 1)
    padded = Series(
        grid,
        count,
        torch.zeros(len(at), n, dtype=torch.int64),
        torch.zeros(len(at), n, x[0].shape[1], dtype=torch.float64),
        torch.zeros(len(at), n, x[0].shape[1], dtype=torch.bool),
    )
    for i, places in enumerate(at):
        k = len(places)
        padded.at[i, :k], padded.x[i, :k], padded.seen[i, :k] = places, x[i], seen[i]
        if k:
            padded.at[i, k:] = places[-1]
    return padded


def shrink_grid(series: Series, keep: Sequence[int]) -> Series:
    """The same series on the smallest grid that contains their times and the indices in `keep`,
    without superfluous padding.
    """
    n = max(int(series.count.max()), 1)
    kept = torch.tensor(list(keep), dtype=torch.int64, device=series.at.device)
    places, index = torch.unique(torch.cat((kept, series.at[:, :n].flatten())), return_inverse=True)
    at = index[len(kept) :].reshape(-1, n)
    x, seen = series.x[:, :n], series.seen[:, :n]
    return Series(series.grid[places.cpu()], series.count, at, x, seen)
