"""Residual layers between an encoder and a decoder: z(k + 1) = z(k) + f_k(z(k)), equation 1."""

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from node_repro.models import Deep, Path
from node_repro.models.encoder_decoder import encoder_decoder


class ResidualLayer(nn.Module):
    """f_k(z): one hidden tanh layer on the state z (B, D)."""

    def __init__(self, dimensions: int, hidden: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(dimensions, hidden), nn.Linear(hidden, dimensions)

    def forward(self, z: Tensor) -> Tensor:
        return self.outer(torch.tanh(self.inner(z)))


class ResidualChain(Deep):
    """A deep map of residual layers, each with its own weights.

    Args:
        features: Components of x.
        outputs: Components of y.
        dimensions: Components of the state. None starts the state at x itself.
        hidden: Units in the hidden layer of each residual layer.
        blocks: Number of residual layers.
    """

    def __init__(
        self,
        *,
        features: int,
        outputs: int,
        dimensions: Annotated[int, Ge(1)] | None,
        hidden: Annotated[int, Ge(1)],
        blocks: Annotated[int, Ge(1)],
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, size = encoder_decoder(features, dimensions, outputs)
        self.layers = nn.ModuleList(ResidualLayer(size, hidden) for _ in range(blocks))

    @property
    def span(self) -> tuple[float, float]:
        return 0.0, float(len(self.layers))

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.path(x).z[-1])

    def rate(self, t: float, z: Tensor) -> Tensor:
        """The change of states z (B, D) by the layer at depth t, a whole number."""
        return self.layers[int(t)](z)

    def path(self, x: Tensor) -> Path:
        """The states before, between and after the layers."""
        states = [self.encoder(x)]
        for layer in self.layers:
            states.append(states[-1] + layer(states[-1]))
        return Path(torch.arange(len(states), dtype=torch.float64), torch.stack(states))

    def evaluation_points(self, x: Tensor) -> Path:
        """The depths of the layers and the states that enter them."""
        ts, z = self.path(x)
        return Path(ts[:-1], z[:-1, 0])
