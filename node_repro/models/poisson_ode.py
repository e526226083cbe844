"""A latent ODE whose state determines the rate of events (section 5, figure 7): log lambda = g(z).

log p(t_1 ... t_n) = sum_i log lambda(z(t_i)) - int lambda(z(t)) dt. The integral is one more
component of the state.
"""

from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn

from node_repro.data.series import Series
from node_repro.data.sharding import Noise
from node_repro.models import EventModel, EventPrediction, Posterior
from node_repro.models.latent_ode import LatentField, latent_decoder
from node_repro.models.recognition import Recognition
from node_repro.models.series import read_rows
from node_repro.ode.block import ODEBlock
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.solver import Solver


class RateField(nn.Module):
    """Time derivatives of z and of the integral of lambda, for states y (..., L + 1)."""

    def __init__(self, latent: int, width: int) -> None:
        super().__init__()
        self.dynamics = LatentField(latent, width)
        self.log_rate = nn.Sequential(nn.Linear(latent, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        z = y[..., :-1]
        return torch.cat((self.dynamics(t, z), self.log_rate(z).exp()), dim=-1)


class PoissonODE(EventModel):
    """A latent ODE for the rate of events and their marks.

    Args:
        features: Components of the marks, 0 without marks.
        latent: Dimensions of the latent state.
        cell: Recurrent cell of the recognition network.
        hidden: Units of the recognition network.
        times: Whether the recognition network reads the time of each event, besides the time since
            the one before it.
        width: Units in the hidden layers of the dynamics, of the rate and of the decoder.
        samples: Posterior samples in a training step.
        predicted: Posterior samples of a prediction.
        solver: Solver of the ODE.
        gradient: How the solution is differentiated.
    """

    def __init__(
        self,
        *,
        features: int,
        latent: Annotated[int, Ge(1)],
        cell: Literal["tanh", "gru"],
        hidden: Annotated[int, Ge(1)],
        times: bool,
        width: Annotated[int, Ge(1)],
        samples: Annotated[int, Ge(1)],
        predicted: Annotated[int, Ge(1)],
        solver: Solver,
        gradient: GradientMethod,
    ) -> None:
        super().__init__()
        self.recognition = Recognition(features, latent, cell=cell, hidden=hidden, times=times)
        self.field = RateField(latent, width)
        self.block = ODEBlock(self.field, solver=solver, gradient=gradient)
        self.decoder = latent_decoder(latent, width, features) if features else None
        self.samples, self.predicted = samples, predicted

    def forward(self, events: Series, noise: Noise) -> EventPrediction:
        posterior = self.recognition(events)
        samples = self.samples if self.training else self.predicted
        z0 = posterior.sample(samples, noise)
        z, integral = self._path(z0, events.grid)
        z = read_rows(z, events.at)
        return EventPrediction(
            self.field.log_rate(z)[..., 0],
            integral[..., -1],
            self._decode(z),
            posterior.kl(),
            log_weight(posterior, z0),
        )

    def intensity(self, events: Series, ts: Tensor, noise: Noise) -> Tensor:
        z0 = self.recognition(events).sample(self.predicted, noise)
        z, _ = self._path(z0, ts)
        return self.field.log_rate(z)[..., 0].exp()

    def marks(self, events: Series, ts: Tensor, noise: Noise) -> Tensor:
        z0 = self.recognition(events).sample(self.predicted, noise)
        z, _ = self._path(z0, ts)
        return self._decode(z)

    def _decode(self, z: Tensor) -> Tensor:
        return self.decoder(z) if self.decoder else z[..., :0]

    def _path(self, z0: Tensor, ts: Tensor) -> tuple[Tensor, Tensor]:
        """z (S, B, T, L) and the integral of lambda from ts[0], (S, B, T)."""
        y0 = torch.cat((z0, torch.zeros_like(z0[..., :1])), dim=-1)
        y = self.block.along(y0, ts).movedim(0, -2)
        return y[..., :-1], y[..., -1]


def log_weight(posterior: Posterior, z0: Tensor) -> Tensor:
    """log N(z0; 0, I) - log q(z0) of samples z0 (S, B, L), as (S, B)."""
    standardised = (z0 - posterior.mean) / posterior.log_sd.exp()
    return (0.5 * (standardised**2 - z0**2) + posterior.log_sd).sum(-1)
