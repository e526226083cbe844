"""An encoder, an ODE, a decoder: z(0) = f2(x), dz/dt = f(t, z), y = f3(z(end))."""

import torch
from torch import Tensor, nn

from node_repro.models.deep import Evaluated, Path, ends
from node_repro.ode.block import ODEBlock
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.odeint import odeint
from node_repro.ode.solver import Solver

DRAWN = 101  # depths of a path


class DepthField(nn.Module):
    """f(t, z): one hidden layer of tanh on the state and the depth. z: (B, D)."""

    def __init__(self, dimensions: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Linear(dimensions + 1, hidden)
        self.outer = nn.Linear(hidden, dimensions)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        at = torch.cat((z, t.expand(len(z), 1)), dim=1)
        return self.outer(torch.tanh(self.inner(at)))


class EncodedODE(nn.Module):
    """x (B, features) -> y (B, outputs). dimensions: of the state; None: the state starts as x.
    end: the depth, at which the state is read.
    """

    def __init__(
        self,
        *,
        features: int,
        outputs: int,
        dimensions: int | None,
        hidden: int,
        end: float,
        solver: Solver,
        gradient: GradientMethod,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, size = ends(features, dimensions, outputs)
        self.block = ODEBlock(
            DepthField(size, hidden), solver=solver, gradient=gradient, span=(0.0, end)
        )
        self.depth = end

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.block(self.encoder(x)))

    def rate(self, t: float, z: Tensor) -> Tensor:
        """dz/dt at depth t: (B, D) -> (B, D)."""
        return self.block.f(torch.tensor(t).to(z), z)

    def path(self, x: Tensor) -> Path:
        """The states at depths from 0 to the end, all inputs solved as one system."""
        ts = torch.linspace(0, self.depth, DRAWN, dtype=torch.float64)
        return Path(ts, self.block.along(self.encoder(x), ts))

    def evaluated(self, x: Tensor) -> Evaluated:
        """Where f is evaluated for one input (1, features), solved alone: (n,) and (n, D)."""
        places: list[tuple[Tensor, Tensor]] = []

        def noted(t: Tensor, z: Tensor) -> Tensor:
            places.append((t.reshape(1), z))
            return self.block.f(t, z)

        block = self.block
        ts = torch.tensor((0.0, self.depth), dtype=torch.float64)
        odeint(
            noted, self.encoder(x), ts, solver=block.solver, gradient=block.gradient, parameters=()
        )
        t, z = zip(*places, strict=True)
        return Evaluated(torch.cat(t), torch.cat(z))
