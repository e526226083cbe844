"""Helpers of the models of time series: observation times, reading rows, recurrent cells."""

from torch import Tensor, nn

from node_repro.data.series import Series

CELLS: dict[str, type[nn.RNN] | type[nn.GRU]] = {"tanh": nn.RNN, "gru": nn.GRU}


def observation_times(series: Series) -> Tensor:
    """The time of each observation, (B, n), in the dtype of the values."""
    return series.grid.to(series.x)[series.at]


def read_rows(rows: Tensor, places: Tensor) -> Tensor:
    """Row `places[b, i]` of each series b: rows (..., B, T, L), places (B, n) -> (..., B, n, L)."""
    index = places[..., None].expand(*rows.shape[:-2], -1, rows.shape[-1])
    return rows.gather(-2, index)


def read_observations(series: Series, rollout: float) -> Tensor:
    """How many of its first observations a model reads of each series, (B, 1), at least one; the
    share `rollout`, the last ones, is predicted without them.
    """
    return ((1 - rollout) * series.count).ceil().clamp(min=1)[:, None]
