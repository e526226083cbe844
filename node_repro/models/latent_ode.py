"""The latent ODE of section 5: z(t0) ~ q(z | x), dz/dt = f(z), x(t) ~ p(x | z(t))."""

import torch
from torch import Tensor, nn

from node_repro.models.recognition import Posterior, Recognition
from node_repro.models.series import Observed, Predicted, read
from node_repro.ode.block import ODEBlock
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.solver import Solver


class LatentField(nn.Module):
    """f(z): one hidden layer, the same at all times. z: (..., L)."""

    def __init__(self, latent: int, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(latent, width)
        self.outer = nn.Linear(width, latent)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return self.outer(torch.tanh(self.inner(z)))


def decoder(latent: int, width: int, features: int) -> nn.Sequential:
    """The mean of x at a latent state, one hidden layer: (..., L) -> (..., D)."""
    return nn.Sequential(nn.Linear(latent, width), nn.ReLU(), nn.Linear(width, features))


class LatentODE(nn.Module):
    """latent: L. cell, hidden: of the recognition network. width: of the hidden layers of f and of
    the decoder. samples: of the posterior, in a training step; predictions take `predicted`.

    All series are solved as one system on the grid that they share.
    """

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
        self.block = ODEBlock(LatentField(latent, width), solver=solver, gradient=gradient)
        self.decoder = decoder(latent, width, features)
        self.samples, self.predicted = samples, predicted

    def forward(self, series: Observed, random: torch.Generator) -> Predicted:
        """Means of the observations themselves; the grid is solved up to the last of them."""
        posterior = self.posterior(series)
        z0 = posterior.sampled(self.samples, random)
        z = self.path(z0, series.grid[: int(series.at.max()) + 1])
        return Predicted(self.decode(read(z, series.at)), posterior.kl())

    def predict(self, series: Observed, places: Tensor, random: torch.Generator) -> Tensor:
        """Means (S, B, m, D) at the places (B, m) of the grid, for S samples of the posterior."""
        z0 = self.posterior(series).sampled(self.predicted, random)
        z = self.path(z0, series.grid[: int(places.max()) + 1])
        return self.decode(read(z, places))

    def posterior(self, series: Observed) -> Posterior:
        """Of z at the grid's first time."""
        return self.recognition(series)

    def path(self, z0: Tensor, ts: Tensor) -> Tensor:
        """Latent states (..., T, L) at the times ts, from z0: (..., L)."""
        return self.block.along(z0, ts).movedim(0, -2)

    def decode(self, z: Tensor) -> Tensor:
        """The mean of x at latent states z: (..., L) -> (..., D)."""
        return self.decoder(z)
