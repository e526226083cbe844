"""A continuous flow whose dynamics are a perceptron of (t, z), with an exact or estimated trace.

The trace is computed by forward-mode derivatives through the layers. The exact trace takes D
tangents, one per column of df/dz. Hutchinson's estimate takes one, because E[e^T (df/dz) e] is the
trace for noise e of unit covariance (Grathwohl et al. 2019). The noise is drawn once per solve, so
the field is deterministic within a solve. It is for training only: an estimate of log p is
unbiased, its exponential is not, so evaluation takes the exact trace.
"""

import itertools
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from node_repro.data.sharding import Noise
from node_repro.models.continuous_flow import ContinuousFlow, Dynamics
from node_repro.ode.field import VectorField
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.solver import Solver


class MLPDynamics(Dynamics):
    """Tanh layers on (z, t). `exact` takes the exact trace in training, too."""

    def __init__(self, dimension: int, hidden: int, layers: int, *, exact: bool) -> None:
        super().__init__()
        sizes = [dimension + 1, *[hidden] * layers, dimension]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for inputs, outputs in itertools.pairwise(sizes):
            layer = nn.Linear(inputs, outputs)  # for its initialisation
            self.weights.append(layer.weight)
            self.biases.append(layer.bias)
        self.dimension, self.exact = dimension, exact

    def bind(self, y: Tensor, noise: Noise | None) -> VectorField:
        d, count = self.dimension, y.shape[1]
        if self.exact or not self.training or noise is None:
            tangents = torch.eye(d, dtype=y.dtype, device=y.device)[:, :, None].expand(d, d, count)
        else:
            tangents = noise.normal((1, d, count), rows=2, like=y)
        return lambda t, y: self(t, y, tangents)

    def forward(self, t: Tensor, y: Tensor, tangents: Tensor) -> Tensor:
        """dz/dt and -sum_k e_k^T (df/dz) e_k as (D + 1, B), for tangents e_k (K, D, B)."""
        d = self.dimension
        x = torch.cat((y[:d], t.expand(1, y.shape[1])))
        dx = torch.cat((tangents, torch.zeros_like(tangents[:, :1])), dim=1)
        *inner, (last, shift) = zip(self.weights, self.biases, strict=True)
        for weight, bias in inner:
            x = torch.tanh(torch.addmm(bias[:, None], weight, x))
            dx = (weight @ dx) * (1 - x * x)
        trace = (tangents * (last @ dx)).sum(dim=(0, 1))
        return torch.cat((torch.addmm(shift[:, None], last, x), -trace[None]))


class MLPCNF(ContinuousFlow):
    """A continuous flow in the plane with a perceptron as dynamics.

    Args:
        hidden: Units in each hidden layer.
        layers: Number of hidden layers.
        trace: How tr(df/dz) is computed in training: exactly, or by Hutchinson's estimate.
        end: Time at which the flow reaches the data.
        solver: Solver of the ODE.
        gradient: How the solution is differentiated.
    """

    def __init__(
        self,
        *,
        hidden: Annotated[int, Ge(1)],
        layers: Annotated[int, Ge(1)],
        trace: Literal["exact", "hutchinson"],
        end: Annotated[float, Gt(0)],
        solver: Solver,
        gradient: GradientMethod,
    ) -> None:
        dynamics = MLPDynamics(2, hidden, layers, exact=trace == "exact")
        super().__init__(dynamics, solver=solver, gradient=gradient, end=end)
