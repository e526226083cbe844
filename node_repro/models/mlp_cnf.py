"""A flow with dynamics of any kind: a perceptron of (t, z), the trace exact or estimated.

Derivatives are carried forward through the layers beside the values: exactly, D tangents, one for
each column of df/dz; estimated (Hutchinson), one, as E[e (df/dz) e] is the trace for noise e of
unit covariance (Grathwohl et al. 2019). The noise is drawn once a solve, so the solver sees none.
It is for training: a density is the exponential of log p, so evaluation takes the exact trace.
"""

import itertools

import torch
from torch import Tensor, nn

from node_repro.models.continuous_flow import ContinuousFlow
from node_repro.ode.field import VectorField
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.solver import Solver
from node_repro.share import drawn


class MLPDynamics(nn.Module):
    """A `Dynamics` of D dimensions: tanh layers. exact: the trace in training too."""

    def __init__(self, dimension: int, hidden: int, layers: int, *, exact: bool) -> None:
        super().__init__()
        sizes = [dimension + 1, *[hidden] * layers, dimension]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for wide, narrow in itertools.pairwise(sizes):
            layer = nn.Linear(wide, narrow)  # for its initial numbers
            self.weights.append(layer.weight)
            self.biases.append(layer.bias)
        self.dimension, self.exact = dimension, exact

    def drawn(self, y: Tensor) -> VectorField:
        d, count = self.dimension, y.shape[1]
        if self.exact or not self.training:
            tangents = torch.eye(d, dtype=y.dtype, device=y.device)[:, :, None].expand(d, d, count)
        else:
            tangents = drawn(
                (1, d, count), 2, lambda shape: torch.randn(shape, dtype=y.dtype, device=y.device)
            )
        return lambda t, y: self(t, y, tangents)

    def forward(self, t: Tensor, y: Tensor, tangents: Tensor) -> Tensor:
        """t: (), y: (D + 1, B), tangents e_k: (K, D, B) -> dz/dt and -sum_k e_k (df/dz) e_k."""
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
    """In the plane. trace: "exact" or "hutchinson"."""

    def __init__(
        self,
        *,
        hidden: int,
        layers: int,
        trace: str,
        end: float,
        solver: Solver,
        gradient: GradientMethod,
    ) -> None:
        dynamics = MLPDynamics(2, hidden, layers, exact=trace == "exact")
        super().__init__(dynamics, solver=solver, gradient=gradient, end=end)
