"""Contracts of models: one abstract base class for each kind of model that a task can train.

A task names the contract of its models in the signature of its `loss`, and a model implements it by
deriving from it. A model's constructor takes its options, the sizes that the task's data determine
(`Task.sizes`) and, if it solves an ODE, a `solver` and a `gradient` method.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from node_repro.data.potential import Potential
from node_repro.data.series import Series
from node_repro.data.sharding import Noise
from node_repro.ode.block import SolvesODE

__all__ = [
    "BouncingModel",
    "Classifier",
    "Deep",
    "EventModel",
    "EventPrediction",
    "ExportsWeights",
    "Flow",
    "FlowSample",
    "HamiltonianPath",
    "HasSmoothTwin",
    "LatentSeriesModel",
    "LineModel",
    "MotionField",
    "MotionModel",
    "Path",
    "PathEnd",
    "Posterior",
    "Sampler",
    "SeriesModel",
    "SeriesPrediction",
    "SolvesODE",
    "TrajectoryModel",
]


class Classifier(nn.Module, ABC):
    """A classifier of images."""

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Class scores (B, C) of images (B, 1, 28, 28)."""


class Path(NamedTuple):
    """States z at depths ts, (T,): (T, B, D) for a batch or (T, D) for one input."""

    ts: Tensor
    z: Tensor


class Deep(nn.Module, ABC):
    """A map from x (B, features) to y (B, outputs) whose state z (B, D) changes along a depth.

    The state changes from layer to layer or by an ODE: encoder(x) is the state at the first depth,
    and y = decoder(z) of the state z at the last.

    Attributes:
        decoder: The last step, from the final state to y.
    """

    decoder: nn.Module

    @property
    @abstractmethod
    def span(self) -> tuple[float, float]:
        """The first and the last depth: 0 and the number of layers, or the ODE's t0 and t1."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """y (B, outputs) of x (B, features)."""

    @abstractmethod
    def rate(self, t: float, z: Tensor) -> Tensor:
        """The change of states z (B, D) at depth t, per layer or per unit of depth."""

    @abstractmethod
    def path(self, x: Tensor) -> Path:
        """The states (T, B, D) of the inputs along the depth."""

    @abstractmethod
    def evaluation_points(self, x: Tensor) -> Path:
        """Where the layers or the vector field are evaluated for one input (1, features)."""


class FlowSample(NamedTuple):
    """Points x (B, D) and their log density (B,) under the model."""

    x: Tensor
    log_density: Tensor


class Flow(nn.Module, ABC):
    """A normalizing flow: a density obtained by transforming the standard normal density.

    `fraction` is a position between the base (0) and the data (1). `noise`, where given, lets a
    model in training mode estimate log densities instead of computing them exactly.
    """

    @abstractmethod
    def sample(self, z: Tensor, noise: Noise | None = None) -> FlowSample:
        """Map points z (B, D) of the base to the data."""

    @abstractmethod
    def log_density(self, x: Tensor, fraction: float = 1.0, noise: Noise | None = None) -> Tensor:
        """Log densities (B,) of points x (B, D), under the density at `fraction`."""

    @abstractmethod
    def path(self, z: Tensor, fractions: Sequence[float]) -> Tensor:
        """Positions (T, B, D) of base points z (B, D) at increasing fractions."""


class TrajectoryModel(nn.Module, ABC):
    """A learned vector field dy/dt = f(y) in the plane."""

    @abstractmethod
    def forward(self, y0: Tensor, ts: Tensor) -> Tensor:
        """The solution (T, B, 2) at times ts (T,), float64, from the states y0 (B, 2) at ts[0]."""

    @abstractmethod
    def field(self, y: Tensor) -> Tensor:
        """dy/dt (B, 2) at the states y (B, 2)."""


class MotionModel(nn.Module, ABC):
    """The motion of a mechanical system, whose state y = (q, v) holds n coordinates and their
    velocities, D = 2 n components.
    """

    @abstractmethod
    def forward(self, y0: Tensor, ts: Tensor) -> Tensor:
        """The states (T, B, D) at times ts (T,), float64, from the states y0 (B, D) at ts[0]."""


class MotionField(MotionModel):
    """A motion that follows a learned vector field dy/dt = f(y)."""

    @abstractmethod
    def field(self, y: Tensor) -> Tensor:
        """dy/dt (..., D) at the states y (..., D)."""

    @abstractmethod
    def energy(self, y: Tensor) -> Tensor | None:
        """The energy (...) that the field conserves by construction; None if there is none."""


class BouncingModel(MotionModel):
    """The motion of a ball that bounces off a floor; its state is height and velocity (D = 2)."""

    @property
    @abstractmethod
    def constants(self) -> Mapping[str, float]:
        """The learned "gravity", "floor" (its height) and "restitution"."""

    @abstractmethod
    def bounce_times(self, y0: Tensor, count: int) -> Tensor:
        """The times (B, count) of the first bounces from the states y0 (B, 2) at time 0."""


class LineModel(nn.Module, ABC):
    """A line through a known point.

    Attributes:
        slope: The learned slope.
    """

    @property
    @abstractmethod
    def slope(self) -> float: ...

    @abstractmethod
    def forward(self, y0: Tensor, xs: Tensor) -> Tensor:
        """y (N, 1) at xs (N,), float64, given y0 (1,) at xs[0]."""


class Posterior(NamedTuple):
    """A normal distribution with independent components: mean and log_sd, (B, L)."""

    mean: Tensor
    log_sd: Tensor

    def sample(self, samples: int, noise: Noise) -> Tensor:
        """Samples (S, B, L), differentiable in mean and log_sd (Kingma and Welling 2014)."""
        normal = noise.normal((samples, *self.mean.shape), rows=1, like=self.mean)
        return self.mean + self.log_sd.exp() * normal

    def kl(self) -> Tensor:
        """KL(q || N(0, I)) in nats, (B,)."""
        variance = (2 * self.log_sd).exp()
        return 0.5 * (self.mean**2 + variance - 1 - 2 * self.log_sd).sum(1)


class SeriesPrediction(NamedTuple):
    """Predicted means of the observations of B series.

    means: (S, B, n, D), for S posterior samples (S = 1 without a posterior). kl: (B,), the
    divergence of the posterior from the prior in nats (0 without a posterior).
    """

    means: Tensor
    kl: Tensor


class SeriesModel(nn.Module, ABC):
    """A model of irregularly observed series with D channels."""

    @abstractmethod
    def forward(self, series: Series, noise: Noise) -> SeriesPrediction:
        """Predicted means of the series' own observations."""

    @abstractmethod
    def predict(self, series: Series, places: Tensor, noise: Noise) -> Tensor:
        """Predicted means (S, B, m, D) at increasing grid indices `places` (B, m)."""


class LatentSeriesModel(SeriesModel):
    """A series model with a latent state z (L,) that follows an ODE from the grid's first time."""

    @abstractmethod
    def posterior(self, series: Series) -> Posterior:
        """The posterior of the latent state at the grid's first time."""

    @abstractmethod
    def path(self, z0: Tensor, ts: Tensor) -> Tensor:
        """Latent states (..., T, L) at the times ts (T,) from z0 (..., L) at ts[0]."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Means (..., D) of the observations at latent states z (..., L)."""


class EventPrediction(NamedTuple):
    """Predictions for B sequences of events, for S posterior samples.

    log_rate: (S, B, n), at the events. integral: (S, B), of the rate over the whole grid. means:
    (S, B, n, D), of the marks. kl: (B,), of the posterior from the prior in nats. log_weight:
    (S, B), log p(z0) - log q(z0 | events).
    """

    log_rate: Tensor
    integral: Tensor
    means: Tensor
    kl: Tensor
    log_weight: Tensor


class EventModel(nn.Module, ABC):
    """A model of sequences of events, with D-dimensional marks or none (D = 0)."""

    @abstractmethod
    def forward(self, events: Series, noise: Noise) -> EventPrediction:
        """Predictions for the sequences' own events; the grid covers the observed interval."""

    @abstractmethod
    def intensity(self, events: Series, ts: Tensor, noise: Noise) -> Tensor:
        """The rate (S, B, T) at the times ts (T,), where ts[0] is the grid's start."""

    @abstractmethod
    def marks(self, events: Series, ts: Tensor, noise: Noise) -> Tensor:
        """Means (S, B, T, D) of marks at the times ts, of events that may occur there."""


class PathEnd(NamedTuple):
    """Ends of Hamiltonian paths of C chains.

    q, p: (C, D), positions and momenta; NaN for a path that could not be computed. evaluations:
    (C,), float64, of the gradient of U.
    """

    q: Tensor
    p: Tensor
    evaluations: Tensor


class HamiltonianPath(NamedTuple):
    """Positions q and momenta p (T, D) of one path at the times ts (T,) of its steps."""

    ts: Tensor
    q: Tensor
    p: Tensor


class Sampler(nn.Module, ABC):
    """Proposals of Hamiltonian Monte Carlo: paths of dq/dt = p, dp/dt = -grad U(q) (Neal 2011).

    Args:
        chains: Number of Markov chains.
        dimensions: Components of q.

    Attributes:
        log_scale: Logarithm of the factor by which steps or tolerances are larger than configured,
            the only parameter.
        positions: Where the chains are, (C, D), a buffer.
    """

    positions: Tensor

    def __init__(self, *, chains: int, dimensions: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.register_buffer("positions", torch.zeros(chains, dimensions))

    @property
    @abstractmethod
    def accuracy(self) -> Mapping[str, float]:
        """What log_scale sets, by name: the step size, or the tolerance."""

    @abstractmethod
    def propose(self, potential: Potential, q: Tensor, p: Tensor, time: float) -> PathEnd:
        """Follow the paths that start at q, p (C, D) for a time."""

    @abstractmethod
    def path(self, potential: Potential, q: Tensor, p: Tensor, time: float) -> HamiltonianPath:
        """All steps of the path of one chain from q, p (1, D)."""


@runtime_checkable
class ExportsWeights(Protocol):
    """A model whose field and decoder are simple enough to be evaluated without torch."""

    def export_weights(self) -> Mapping[str, Tensor]:
        """The weights of its field and decoder, by name."""
        ...


@runtime_checkable
class HasSmoothTwin(Protocol):
    """A vector field with an activation that may have kinks.

    Where its derivative jumps, gradients converge with the first order of the step size, whatever
    the order of the method. The twin shows the order of the method on the same weights.
    """

    def smooth_twin(self) -> nn.Module | None:
        """A copy with a smooth activation; None if the field is smooth itself."""
        ...
