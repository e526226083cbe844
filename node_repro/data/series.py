"""Time series as plain tensors: many series, each observed at times of its own, on one grid.

The grid makes one ODE solve serve all series: the state is computed at every time of the grid, and
each series is read where it was observed.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Series(NamedTuple):
    """B series with at most n observations of D channels.

    grid: (T,) float64, rising. count: (B,) int64, observations of each. at: (B, n) int64, their
    places on the grid, rising; behind the last observation its place is repeated. x: (B, n, D),
    zero in the padding. seen: (B, n, D) bool, False in the padding and for values that are missing.
    """

    grid: Tensor
    count: Tensor
    at: Tensor
    x: Tensor
    seen: Tensor

    @property
    def examples(self) -> int:
        return len(self.count)

    def of(self, chosen: Tensor) -> "Series":
        """The series at the indices chosen: (b,), on the same grid."""
        return Series(self.grid, *(part[chosen] for part in self[1:]))

    def to(self, device: torch.device, dtype: torch.dtype) -> "Series":
        """All but the grid on the device, values in the dtype."""
        count, at, seen = (part.to(device) for part in (self.count, self.at, self.seen))
        return Series(self.grid, count, at, self.x.to(device, dtype), seen)


def padded(
    grid: Tensor, at: Sequence[Tensor], x: Sequence[Tensor], seen: Sequence[Tensor]
) -> Series:
    """Series of different lengths as one: at: (n_i,), x: (n_i, D), seen: (n_i, D) of each."""
    count = torch.tensor([len(places) for places in at])
    n = max(int(count.max()), 1)
    whole = Series(
        grid,
        count,
        torch.zeros(len(at), n, dtype=torch.int64),
        torch.zeros(len(at), n, x[0].shape[1], dtype=torch.float64),
        torch.zeros(len(at), n, x[0].shape[1], dtype=torch.bool),
    )
    for i, places in enumerate(at):
        k = len(places)
        whole.at[i, :k], whole.x[i, :k], whole.seen[i, :k] = places, x[i], seen[i]
        if k:
            whole.at[i, k:] = places[-1]
    return whole


def tightened(series: Series, keep: Sequence[int]) -> Series:
    """The same series on the smallest grid that has their places and those to keep, padded no more
    than they need.
    """
    n = max(int(series.count.max()), 1)
    kept = torch.tensor(list(keep), dtype=torch.int64, device=series.at.device)
    places, index = torch.unique(torch.cat((kept, series.at[:, :n].flatten())), return_inverse=True)
    at = index[len(kept) :].reshape(-1, n)
    x, seen = series.x[:, :n], series.seen[:, :n]
    return Series(series.grid[places.cpu()], series.count, at, x, seen)


def generator(*words: object) -> torch.Generator:
    """A CPU generator of its own for what the words name: neighbouring seeds share nothing."""
    digest = hashlib.sha256(",".join(map(str, words)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def digest(*tensors: Tensor) -> str:
    """The sha256 of the tensors' bytes, which identifies generated data."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
