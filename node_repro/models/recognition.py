"""The recognition network of section 5: a recurrent network that reads a series backwards in time
and gives the posterior of the latent state at the grid's first time.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from node_repro.models.series import CELLS, Observed, normal, read, times


class Posterior(NamedTuple):
    """A normal distribution with independent parts: mean, log_sd: (B, L)."""

    mean: Tensor
    log_sd: Tensor

    def sampled(self, samples: int, random: torch.Generator) -> Tensor:
        """(S, B, L), differentiable in mean and log_sd (Kingma and Welling 2014)."""
        batch, latent = self.mean.shape
        noise = normal((samples, batch, latent), self.mean, random)
        return self.mean + self.log_sd.exp() * noise

    def kl(self) -> Tensor:
        """KL(q || N(0, 1)) of every series, (B,), in nats."""
        variance = (2 * self.log_sd).exp()
        return 0.5 * (self.mean**2 + variance - 1 - 2 * self.log_sd).sum(1)


class Recognition(nn.Module):
    """Reads (x_i, t_i - t_(i-1)) from the last observation to the first, t_0 being the grid's
    start, so that it knows how far to go back after each. cell: "tanh" or "gru".
    """

    def __init__(self, features: int, latent: int, *, cell: str, hidden: int) -> None:
        super().__init__()
        self.cell = CELLS[cell](features + 1, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 2 * latent)

    def forward(self, series: Observed) -> Posterior:
        t = times(series)
        before = torch.cat((series.grid[:1].to(t).expand(len(t), 1), t[:, :-1]), dim=1)
        seen = torch.cat((series.x, (t - before)[..., None]), dim=2)
        i = torch.arange(seen.shape[1], device=t.device)
        backwards = (series.count[:, None] - 1 - i).clamp(min=0)
        hidden, _ = self.cell(read(seen, backwards))
        last = read(hidden, (series.count[:, None] - 1).clamp(min=0))[:, 0]
        last = torch.where(series.count[:, None] > 0, last, torch.zeros_like(last))
        return Posterior(*self.out(last).chunk(2, dim=1))
