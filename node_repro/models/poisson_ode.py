"""A latent ODE whose state sets the rate of events (section 5, figure 7): log lambda = g(z(t)).

log p(t_1 ... t_n) = sum_i log lambda(z(t_i)) - int lambda(z(t)) dt. The integral is one more state
of the same solve.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from node_repro.models.latent_ode import LatentField, decoder
from node_repro.models.recognition import Posterior, Recognition
from node_repro.models.series import Observed, read
from node_repro.ode.block import ODEBlock
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.solver import Solver


class EventsPredicted(NamedTuple):
    """log_rate: (S, B, n) at the events. integral: (S, B), of the rate over the whole grid.
    means: (S, B, n, D) of the marks. kl: (B,), of the posterior from the prior. log_weight:
    (S, B), log p(z0) - log q(z0 | events) of every sample.
    """

    log_rate: Tensor
    integral: Tensor
    means: Tensor
    kl: Tensor
    log_weight: Tensor


class RateField(nn.Module):
    """The rates of change of z and of the integral of lambda. y: (..., L + 1)."""

    def __init__(self, latent: int, width: int) -> None:
        super().__init__()
        self.dynamics = LatentField(latent, width)
        self.log_rate = nn.Sequential(nn.Linear(latent, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        z = y[..., :-1]
        return torch.cat((self.dynamics(t, z), self.log_rate(z).exp()), dim=-1)


class PoissonODE(nn.Module):
    """features: D of the marks, 0 for none; the rest as in LatentODE."""

    def __init__(
        self,
        *,
        features: int,
        latent: int,
        cell: str,
        hidden: int,
        width: int,
        samples: int,
        predicted: int,
        solver: Solver,
        gradient: GradientMethod,
    ) -> None:
        super().__init__()
        self.recognition = Recognition(features, latent, cell=cell, hidden=hidden)
        self.field = RateField(latent, width)
        self.block = ODEBlock(self.field, solver=solver, gradient=gradient)
        self.decoder = decoder(latent, width, features) if features else None
        self.samples, self.predicted = samples, predicted

    def forward(self, events: Observed, random: torch.Generator) -> EventsPredicted:
        """Of the events themselves; the grid is the whole time that was watched."""
        posterior = self.recognition(events)
        samples = self.samples if self.training else self.predicted
        z0 = posterior.sampled(samples, random)
        z, integral = self._path(z0, events.grid)
        z = read(z, events.at)
        return EventsPredicted(
            self.field.log_rate(z)[..., 0],
            integral[..., -1],
            self.decoder(z) if self.decoder else z[..., :0],
            posterior.kl(),
            log_weight(posterior, z0),
        )

    def intensity(self, events: Observed, ts: Tensor, random: torch.Generator) -> Tensor:
        """lambda at the times ts: (T,), ts[0] the grid's start: (S, B, T)."""
        z0 = self.recognition(events).sampled(self.predicted, random)
        z, _ = self._path(z0, ts)
        return self.field.log_rate(z)[..., 0].exp()

    def _path(self, z0: Tensor, ts: Tensor) -> tuple[Tensor, Tensor]:
        """z: (S, B, T, L) and the integral of lambda from ts[0]: (S, B, T)."""
        y0 = torch.cat((z0, torch.zeros_like(z0[..., :1])), dim=-1)
        y = self.block.along(y0, ts).movedim(0, -2)
        return y[..., :-1], y[..., -1]


def log_weight(posterior: Posterior, z0: Tensor) -> Tensor:
    """log N(z0; 0, 1) - log q(z0) for samples (S, B, L): (S, B)."""
    standard = (z0 - posterior.mean) / posterior.log_sd.exp()
    return (0.5 * (standard**2 - z0**2) + posterior.log_sd).sum(-1)
