"""The planar continuous flow: dz/dt = mean_n u_n tanh(w_n z + b_n), with parameters that change in
time (section 4 of the paper, "time-dependent dynamics" and "multiple hidden units").

The trace is closed: tr(df/dz) = mean_n (1 - tanh^2) u_n w_n, so M units cost O(M).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from node_repro.models.continuous_flow import ContinuousFlow
from node_repro.ode.field import VectorField
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.solver import Solver

Context = Any
"""autograd's ctx."""


class Units(NamedTuple):
    """The parameters at one time: w, u (M, D), b (M,)."""

    w: Tensor
    u: Tensor
    b: Tensor


class Hypernetwork(nn.Module):
    """t -> the parameters of M units: tanh layers of `hidden`, and gates u = v * sigmoid(g).

    The paper has a gate for each unit; here, as in the public code, for each unit and dimension.
    """

    def __init__(self, dimension: int, width: int, hidden: int) -> None:
        super().__init__()
        self.dimension, self.width = dimension, width
        self.first, self.second = nn.Linear(1, hidden), nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, width * (3 * dimension + 1))

    def forward(self, ts: Tensor) -> list[Units]:
        """ts: (m,). The parameters at each time, from one pass through the layers."""
        h = torch.tanh(self.second(torch.tanh(self.first(ts[:, None]))))
        w, v, g, b = self.last(h).split([*[self.width * self.dimension] * 3, self.width], dim=1)
        u = v * torch.sigmoid(g)
        shape = (self.width, self.dimension)
        return [Units(w[i].view(shape), u[i].view(shape), b[i]) for i in range(len(ts))]


class Constants(nn.Module):
    """Parameters without time: M (2D + 1) numbers, the match of a planar flow of M layers."""

    def __init__(self, dimension: int, width: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(width, dimension))
        self.u = nn.Parameter(torch.randn(width, dimension))
        self.b = nn.Parameter(torch.randn(width))

    def forward(self, ts: Tensor) -> list[Units]:
        return [Units(self.w, self.u, self.b)] * len(ts)


class Planar(torch.autograd.Function):
    """(y, w, u, b) -> dy/dt; y: (D + 1, B), the points as columns, log p below them.

    tanh(x) = 2 s - 1 with the logistic s of 2x, which torch's CPU kernels take an eighth of the
    time for; with q = s (1 - s) the slope of tanh is 4 q. Backward is written out, as autograd's
    own has three times as many kernels; a second derivative, which it does not know, is refused.
    """

    @staticmethod
    def forward(ctx: Context, y: Tensor, w: Tensor, u: Tensor, b: Tensor) -> Tensor:
        d, mean = w.shape[1], 1 / len(w)
        z1 = torch.cat((y[:d], y.new_ones(1, y.shape[1])))
        s = torch.mm(torch.cat((2 * w, 2 * b[:, None]), dim=1), z1).sigmoid_()
        q = torch.addcmul(s, s, s, value=-1)
        wu = (w * u).sum(dim=1)
        dz = torch.addmm(-u.mean(dim=0)[:, None], u.T, s, alpha=2 * mean)
        dy = torch.cat((dz, torch.mm(wu[None] * (-4 * mean), q)))
        ctx.save_for_backward(z1, s, q, w, u, wu)
        return dy

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, a: Tensor) -> tuple[Tensor, ...]:
        z1, s, q, w, u, wu = ctx.saved_tensors
        d = w.shape[1]
        a = a * (2 / len(w))
        az, ap = a[:d], a[d]
        gx = torch.mm(torch.cat((u, -2 * wu[:, None]), dim=1), a)
        gx.addcmul_(s, torch.outer(wu, ap), value=4).mul_(q)  # half the gradient of w z + b
        gy = torch.cat((torch.mm(2 * w.T, gx), torch.zeros_like(a[d:])))
        gwb = 2 * torch.mm(gx, z1.T)
        gwu = -2 * torch.mv(q, ap)[:, None]
        gw = torch.addcmul(gwb[:, :d], gwu, u)
        gu = torch.addmm(gwu * w - az.sum(dim=1) / 2, s, az.T)
        return gy, gw, gu, gwb[:, d]


class PlanarDynamics(nn.Module):
    """A `Dynamics`. units: times (m,) -> the Units at each."""

    def __init__(self, units: nn.Module) -> None:
        super().__init__()
        self.units = units

    def drawn(self, y: Tensor) -> VectorField:
        return self

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """t: (), y: (D + 1, B) -> (D + 1, B)."""
        (units,) = self.units(t[None])
        return self._along(units, y)

    def at_times(self, ts: Tensor) -> list[Callable[[Tensor], Tensor]]:
        """The hypernetwork is evaluated once for all the times (m,)."""
        return [partial(self._along, units) for units in self.units(ts)]

    def _along(self, units: Units, y: Tensor) -> Tensor:
        dy = Planar.apply(y, *units)
        assert isinstance(dy, Tensor)
        return dy


class PlanarCNF(ContinuousFlow):
    """M = width units in the plane. hyper_hidden: None for dynamics without time."""

    def __init__(
        self,
        *,
        width: int,
        hyper_hidden: int | None,
        end: float,
        solver: Solver,
        gradient: GradientMethod,
    ) -> None:
        units = (
            Constants(2, width) if hyper_hidden is None else Hypernetwork(2, width, hyper_hidden)
        )
        super().__init__(PlanarDynamics(units), solver=solver, gradient=gradient, end=end)
