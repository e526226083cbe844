"""The baselines of section 5: a recurrent network that predicts the next observation.

It is scored on what lies far ahead, which it predicts from its own predictions. With `rollout` it
is also trained on that, as latent ODEs are.
"""

from typing import Annotated, Literal

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn

from node_repro.data.series import Series
from node_repro.data.sharding import Noise
from node_repro.models import SeriesModel, SeriesPrediction
from node_repro.models.series import CELLS, observation_times, read_observations, read_rows


class SeriesRNN(SeriesModel):
    """Reads x_i and predicts the mean of x_(i+1); the first one is predicted from a zero state.

    Args:
        features: Number of channels.
        cell: Recurrent cell.
        hidden: Units of the cell.
        gaps: Whether the network also reads the time to the next observation, t_(i+1) - t_i.
        rollout: Share of each series, its last observations, that the network predicts from its own
            predictions, as it does beyond the series; 0 to predict each from the one before it.
    """

    def __init__(
        self,
        *,
        features: int,
        cell: Literal["tanh", "gru"],
        hidden: Annotated[int, Ge(1)],
        gaps: bool,
        rollout: Annotated[float, Ge(0), Lt(1)],
    ) -> None:
        super().__init__()
        self.cell = CELLS[cell](features + gaps, hidden, batch_first=True)
        self.out = nn.Linear(hidden, features)
        self.gaps, self.rollout = gaps, rollout

    def forward(self, series: Series, noise: Noise) -> SeriesPrediction:
        """Means of the observations (1, B, n, D), each given those before it that are read."""
        states = self._states(series)
        means = self._roll_out(series, states) if self.rollout else self.out(states)
        return SeriesPrediction(means[None], means.new_zeros(len(means)))

    def predict(self, series: Series, places: Tensor, noise: Noise) -> Tensor:
        """Means (1, B, m, D) at increasing grid indices `places` (B, m).

        A place before a series' last observation is predicted from the observations before it.
        Beyond the last observation the network runs on its own predictions, at the rate at which it
        was trained: one step for each mean gap between the observations of the series. Between
        these steps the prediction is interpolated linearly.
        """
        t, target = observation_times(series), series.grid.to(series.x)[places]
        known = torch.searchsorted(series.at.contiguous(), places.contiguous())
        known = torch.minimum(known, series.count[:, None])  # observations before each place
        last = (known - 1).clamp(min=0)
        some = (known > 0)[..., None]
        gap = target - t.gather(1, last)
        states = self._states(series)
        within = self._step(read_rows(series.x, last), gap, read_rows(states, last))
        within = self.out(torch.where(some, within, torch.zeros_like(within)))
        beyond = self._run_on(series, states, target)
        return torch.where((known == series.count[:, None])[..., None], beyond, within)[None]

    def _run_on(self, series: Series, states: Tensor, target: Tensor) -> Tensor:
        """Means (B, m, D) at times (B, m) behind the last observation of each series."""
        t, grid = observation_times(series), series.grid.to(series.x)
        last = (series.count - 1).clamp(min=0)[:, None]
        begin, end = t[:, :1], t.gather(1, last)
        spacing = (grid[-1] - grid[0]) / max(len(grid) - 1, 1)  # for series of one observation
        gap = torch.where(last > 0, (end - begin) / last.clamp(min=1), spacing)
        place = ((target - end) / gap).clamp(min=0)  # in steps of the network
        state, means = read_rows(states, last), [read_rows(series.x, last)]
        for _ in range(int(place.max()) + 1):
            state = self._step(means[-1], gap, state)
            means.append(self.out(state))
        rows = torch.cat(means, dim=1)
        before = place.long()
        share = (place - before)[..., None]
        return (1 - share) * read_rows(rows, before) + share * read_rows(rows, before + 1)

    def _roll_out(self, series: Series, states: Tensor) -> Tensor:
        """Means (B, n, D) of the observations. The last ones are predicted from predictions at the
        times of the observations.
        """
        gaps = observation_times(series).diff(dim=1)
        read = read_observations(series, self.rollout)
        begin = int(read.min())  # observations that are read in every series
        state, means = states[:, begin, None], [self.out(states[:, : begin + 1])]
        for i in range(begin, gaps.shape[1]):
            x = torch.where((i < read)[..., None], series.x[:, i, None], means[-1][:, -1:])
            state = self._step(x, gaps[:, i, None], state)
            means.append(self.out(state))
        return torch.cat(means, dim=1)

    def _states(self, series: Series) -> Tensor:
        """The states (B, n, H) that predict each observation; zero for the first."""
        t = observation_times(series)
        first = series.x.new_zeros(len(t), 1, self.cell.hidden_size)
        if t.shape[1] == 1:  # torch's cells refuse an empty sequence
            return first
        hidden, _ = self.cell(self._input(series.x[:, :-1], t[:, 1:] - t[:, :-1]))
        return torch.cat((first, hidden), dim=1)

    def _step(self, x: Tensor, gap: Tensor, state: Tensor) -> Tensor:
        """One step from each state: x (B, m, D), gap (B, m), state (B, m, H) -> (B, m, H)."""
        rows = self._input(x, gap).flatten(0, 1)[:, None]
        _, after = self.cell(rows, state.flatten(0, 1)[None].contiguous())
        return after[0].reshape(state.shape)

    def _input(self, x: Tensor, gap: Tensor) -> Tensor:
        return torch.cat((x, gap[..., None]), dim=2) if self.gaps else x
