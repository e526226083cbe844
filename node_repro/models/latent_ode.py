"""The latent ODE of section 5: z(t0) ~ q(z | x), dz/dt = f(z), x(t) ~ p(x | z(t))."""

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn

from node_repro.data.series import Series
from node_repro.data.sharding import Noise
from node_repro.models import LatentSeriesModel, Posterior, SeriesPrediction
from node_repro.models.recognition import Recognition
from node_repro.models.series import read_rows
from node_repro.ode.block import ODEBlock
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.solver import Solver


class LatentField(nn.Module):
    """f(z): one hidden layer on latent states z (..., L), independent of time."""

    def __init__(self, latent: int, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(latent, width)
        self.outer = nn.Linear(width, latent)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return self.outer(torch.tanh(self.inner(z)))


def latent_decoder(latent: int, width: int, features: int) -> nn.Sequential:
    """One hidden layer from latent states (..., L) to means of observations (..., D)."""
    return nn.Sequential(nn.Linear(latent, width), nn.ReLU(), nn.Linear(width, features))


class LatentODE(LatentSeriesModel):
    """A latent ODE. All series are solved as one system on their common grid.

    Args:
        features: Number of channels.
        latent: Dimensions of the latent state.
        cell: Recurrent cell of the recognition network.
        hidden: Units of the recognition network.
        width: Units in the hidden layers of the dynamics and of the decoder.
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
        width: Annotated[int, Ge(1)],
        samples: Annotated[int, Ge(1)],
        predicted: Annotated[int, Ge(1)],
        solver: Solver,
        gradient: GradientMethod,
    ) -> None:
        super().__init__()
        self.recognition = Recognition(features, latent, cell=cell, hidden=hidden)
        self.block = ODEBlock(LatentField(latent, width), solver=solver, gradient=gradient)
        self.decoder = latent_decoder(latent, width, features)
        self.samples, self.predicted = samples, predicted

    def forward(self, series: Series, noise: Noise) -> SeriesPrediction:
        posterior = self.posterior(series)
        z0 = posterior.sample(self.samples, noise)
        z = self.path(z0, series.grid[: int(series.at.max()) + 1])  # to the last observation
        return SeriesPrediction(self.decode(read_rows(z, series.at)), posterior.kl())

    def predict(self, series: Series, places: Tensor, noise: Noise) -> Tensor:
        z0 = self.posterior(series).sample(self.predicted, noise)
        z = self.path(z0, series.grid[: int(places.max()) + 1])
        return self.decode(read_rows(z, places))

    def posterior(self, series: Series) -> Posterior:
        return self.recognition(series)

    def path(self, z0: Tensor, ts: Tensor) -> Tensor:
        return self.block.along(z0, ts).movedim(0, -2)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)

    def export_weights(self) -> Mapping[str, Tensor]:
        """See `ExportsWeights`: "field.inner.weight", ..., "decoder.2.bias"."""
        parts = {"field": self.block.f, "decoder": self.decoder}
        return {f"{k}.{name}": w for k, m in parts.items() for name, w in m.state_dict().items()}
