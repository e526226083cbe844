"""Encoder, ODE, decoder: z(0) = encoder(x), dz/dt = f(t, z), y = decoder(z(end))."""

from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from node_repro.models import Deep, Path
from node_repro.models.augmentation import Augmentation
from node_repro.models.encoder_decoder import encoder_decoder
from node_repro.ode.block import ODEBlock
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.odeint import odeint, time_span
from node_repro.ode.solver import Solver

PATH_POINTS = 101  # depths at which a path is computed


class DepthField(nn.Module):
    """f(t, z): one hidden tanh layer on the state z (B, D) and the depth."""

    def __init__(self, dimensions: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Linear(dimensions + 1, hidden)
        self.outer = nn.Linear(hidden, dimensions)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        with_depth = torch.cat((z, t.expand(len(z), 1)), dim=1)
        return self.outer(torch.tanh(self.inner(with_depth)))


class EncodedODE(Deep):
    """A deep map whose state follows an ODE.

    Args:
        features: Components of x.
        outputs: Components of y.
        dimensions: Components of the encoded state. None starts the ODE at x itself.
        augment: Components of zeros that are appended to it before the ODE.
        hidden: Units in the hidden layer of f.
        end: Depth at which the state is decoded.
        solver: Solver of the ODE.
        gradient: How the solution is differentiated.
    """

    def __init__(
        self,
        *,
        features: int,
        outputs: int,
        dimensions: Annotated[int, Ge(1)] | None,
        augment: Annotated[int, Ge(0)] = 0,
        hidden: Annotated[int, Ge(1)],
        end: Annotated[float, Gt(0)],
        solver: Solver,
        gradient: GradientMethod,
    ) -> None:
        super().__init__()
        encoder, self.decoder, size = encoder_decoder(features, dimensions, outputs, augment)
        self.encoder = nn.Sequential(encoder, Augmentation(augment)) if augment else encoder
        self.block = ODEBlock(
            DepthField(size, hidden), solver=solver, gradient=gradient, span=(0.0, end)
        )

    @property
    def span(self) -> tuple[float, float]:
        t0, t1 = time_span(*self.block.span).detach().tolist()
        return t0, t1

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.block(self.encoder(x)))

    def rate(self, t: float, z: Tensor) -> Tensor:
        return self.block.f(torch.tensor(t).to(z), z)

    def path(self, x: Tensor) -> Path:
        """The states at evenly spaced depths; all inputs are solved as one system."""
        ts = torch.linspace(*self.span, PATH_POINTS, dtype=torch.float64)
        return Path(ts, self.block.along(self.encoder(x), ts))

    def evaluation_points(self, x: Tensor) -> Path:
        """Where f is evaluated when the ODE is solved for one input alone."""
        block = self.block
        points: list[tuple[Tensor, Tensor]] = []

        def recording_field(t: Tensor, z: Tensor) -> Tensor:
            points.append((t.reshape(1), z))
            return block.f(t, z)

        ts = torch.tensor(self.span, dtype=torch.float64)
        z0 = self.encoder(x)
        odeint(
            recording_field,
            z0,
            ts,
            solver=block.solver,
            gradient=block.gradient,
            parameters=block.f.parameters(),
        )
        t, z = zip(*points, strict=True)
        return Path(torch.cat(t), torch.cat(z))
