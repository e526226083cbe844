"""The rivals of section 5: a recurrent network that predicts the next observation."""

import torch
from torch import Tensor, nn

from node_repro.models.series import CELLS, Observed, Predicted, read, times


class SeriesRNN(nn.Module):
    """Reads x_i and says the mean of x_(i+1); with gaps it also reads t_(i+1) - t_i.

    cell: "tanh" or "gru". The first observation is said from nothing.
    """

    def __init__(self, *, features: int, cell: str, hidden: int, gaps: bool) -> None:
        super().__init__()
        self.cell = CELLS[cell](features + gaps, hidden, batch_first=True)
        self.out = nn.Linear(hidden, features)
        self.gaps = gaps

    def forward(self, series: Observed, random: torch.Generator) -> Predicted:
        """Means of the observations, each from those before it: (1, B, n, D)."""
        means = self.out(self._states(series))
        return Predicted(means[None], means.new_zeros(len(means)))

    def predict(self, series: Observed, places: Tensor, random: torch.Generator) -> Tensor:
        """Means (1, B, m, D) at rising places (B, m) of the grid.

        Up to the first place behind a series' last observation from the observations before the
        place; from there on freely, from its own prediction at one place to the next.
        """
        t, asked = times(series), series.grid.to(series.x)[places]
        known = torch.searchsorted(series.at.contiguous(), places.contiguous())
        known = torch.minimum(known, series.count[:, None])  # observations before each place
        last = (known - 1).clamp(min=0)
        some = (known > 0)[..., None]
        gap = asked - t.gather(1, last)
        states = self._step(read(series.x, last), gap, read(self._states(series), last))
        states = torch.where(some, states, torch.zeros_like(states))
        free = known == series.count[:, None]
        state, means = states[:, 0], [self.out(states[:, 0])]
        for j in range(1, places.shape[1]):
            gap = asked[:, j] - asked[:, j - 1]
            running = self._step(means[-1][:, None], gap[:, None], state[:, None])[:, 0]
            state = torch.where(free[:, j - 1, None], running, states[:, j])
            means.append(self.out(state))
        return torch.stack(means, dim=1)[None]

    def _states(self, series: Observed) -> Tensor:
        """(B, n, H): the state that says observation i, zero for the first."""
        t = times(series)
        nothing = series.x.new_zeros(len(t), 1, self.cell.hidden_size)
        if t.shape[1] == 1:  # torch's cells refuse a sequence of no length
            return nothing
        hidden, _ = self.cell(self._input(series.x[:, :-1], t[:, 1:] - t[:, :-1]))
        return torch.cat((nothing, hidden), dim=1)

    def _step(self, x: Tensor, gap: Tensor, state: Tensor) -> Tensor:
        """One step from each state: x: (B, m, D), gap: (B, m), state: (B, m, H) -> (B, m, H)."""
        rows = self._input(x, gap).flatten(0, 1)[:, None]
        _, after = self.cell(rows, state.flatten(0, 1)[None].contiguous())
        return after[0].reshape(state.shape)

    def _input(self, x: Tensor, gap: Tensor) -> Tensor:
        return torch.cat((x, gap[..., None]), dim=2) if self.gaps else x
