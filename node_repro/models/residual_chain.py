"""Residual layers between an encoder and a decoder: z(k + 1) = z(k) + f_k(z(k)), equation 1."""

import torch
from torch import Tensor, nn

from node_repro.models.deep import Evaluated, Path, ends


class ResidualLayer(nn.Module):
    """f_k(z): one hidden layer of tanh. z: (B, D)."""

    def __init__(self, dimensions: int, hidden: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(dimensions, hidden), nn.Linear(hidden, dimensions)

    def forward(self, z: Tensor) -> Tensor:
        return self.outer(torch.tanh(self.inner(z)))


class ResidualChain(nn.Module):
    """x (B, features) -> y (B, outputs). blocks: layers, each with weights of its own. dimensions:
    of the state; None: the state starts as x.
    """

    def __init__(
        self, *, features: int, outputs: int, dimensions: int | None, hidden: int, blocks: int
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, size = ends(features, dimensions, outputs)
        self.layers = nn.ModuleList(ResidualLayer(size, hidden) for _ in range(blocks))
        self.depth = float(blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.path(x).z[-1])

    def rate(self, t: float, z: Tensor) -> Tensor:
        """What the layer at depth t, a whole number, adds: (B, D) -> (B, D)."""
        return self.layers[int(t)](z)

    def path(self, x: Tensor) -> Path:
        """The states between the layers."""
        states = [self.encoder(x)]
        for layer in self.layers:
            states.append(states[-1] + layer(states[-1]))
        return Path(torch.arange(len(states), dtype=torch.float64), torch.stack(states))

    def evaluated(self, x: Tensor) -> Evaluated:
        """Where the layers are evaluated for one input (1, features): at their depths."""
        ts, z = self.path(x)
        return Evaluated(ts[:-1], z[:-1, 0])
