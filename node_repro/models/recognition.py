"""The recognition network of section 5: a recurrent network that reads a series backwards in time
and returns the posterior of the latent state at the grid's first time.
"""

import torch
from torch import nn

from node_repro.data.series import Series
from node_repro.models import Posterior
from node_repro.models.series import CELLS, observation_times, read_rows


class Recognition(nn.Module):
    """Reads (x_i, t_i - t_(i-1)) from the last observation to the first.

    t_0 is the grid's start, so the network also reads the time from it to the first observation.
    With `times` it reads t_i itself, too.
    """

    def __init__(
        self, features: int, latent: int, *, cell: str, hidden: int, times: bool = False
    ) -> None:
        super().__init__()
        self.cell = CELLS[cell](features + 1 + times, hidden, batch_first=True)
        self.times = times
        self.out = nn.Linear(hidden, 2 * latent)

    def forward(self, series: Series) -> Posterior:
        t = observation_times(series)
        before = torch.cat((series.grid[:1].to(t).expand(len(t), 1), t[:, :-1]), dim=1)
        clocks = (t - before, t) if self.times else (t - before,)
        inputs = torch.cat((series.x, torch.stack(clocks, dim=2)), dim=2)
        i = torch.arange(inputs.shape[1], device=t.device)
        backwards = (series.count[:, None] - 1 - i).clamp(min=0)
        hidden, _ = self.cell(read_rows(inputs, backwards))
        last = read_rows(hidden, (series.count[:, None] - 1).clamp(min=0))[:, 0]
        last = torch.where(series.count[:, None] > 0, last, torch.zeros_like(last))
        return Posterior(*self.out(last).chunk(2, dim=1))
