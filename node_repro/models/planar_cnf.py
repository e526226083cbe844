"""The planar continuous flow: dz/dt = mean_n u_n tanh(w_n z + b_n), with time-dependent parameters
(section 4 of the paper, "time-dependent dynamics" and "multiple hidden units").

The trace has a closed form, tr(df/dz) = mean_n (1 - tanh^2) u_n w_n, so M units cost O(M).
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, NamedTuple

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from node_repro.data.sharding import Noise
from node_repro.models.continuous_flow import ContinuousFlow, Dynamics
from node_repro.ode.field import VectorField
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.solver import Solver

Context = Any
"""The context argument of an autograd function."""


class Units(NamedTuple):
    """The parameters of M units at one time: w, u (M, D), b (M,)."""

    w: Tensor
    u: Tensor
    b: Tensor


class Hypernetwork(nn.Module):
    """Maps t to the parameters of M units: two tanh layers, and gates u = v * sigmoid(g).

    The paper has one gate per unit. Here, as in the authors' public code, there is one per unit and
    dimension.
    """

    def __init__(self, dimension: int, width: int, hidden: int) -> None:
        super().__init__()
        self.dimension, self.width = dimension, width
        self.first, self.second = nn.Linear(1, hidden), nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, width * (3 * dimension + 1))

    def forward(self, ts: Tensor) -> list[Units]:
        """The parameters at each of the times ts (m,), from one pass through the layers."""
        h = torch.tanh(self.second(torch.tanh(self.first(ts[:, None]))))
        w, v, g, b = self.last(h).split([*[self.width * self.dimension] * 3, self.width], dim=1)
        u = v * torch.sigmoid(g)
        shape = (self.width, self.dimension)
        return [Units(w[i].view(shape), u[i].view(shape), b[i]) for i in range(len(ts))]


class Constants(nn.Module):
    """Parameters that do not depend on time: M (2D + 1) numbers, as many as a planar flow of M
    layers has.
    """

    def __init__(self, dimension: int, width: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(width, dimension))
        self.u = nn.Parameter(torch.randn(width, dimension))
        self.b = nn.Parameter(torch.randn(width))

    def forward(self, ts: Tensor) -> list[Units]:
        return [Units(self.w, self.u, self.b)] * len(ts)


class Planar(torch.autograd.Function):
    """dy/dt from (y, w, u, b), with states y (D + 1, B).

    Uses tanh(x) = 2 s - 1 with the logistic function s of 2x, which takes an eighth of the time in
    torch's CPU kernels; with q = s (1 - s) the derivative of tanh is 4 q. The backward pass is
    written by hand because autograd's own launches three times as many kernels. Differentiating it
    again raises an error.
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
        gx.addcmul_(s, torch.outer(wu, ap), value=4).mul_(q)  # half the gradient by w z + b
        gy = torch.cat((torch.mm(2 * w.T, gx), torch.zeros_like(a[d:])))
        gwb = 2 * torch.mm(gx, z1.T)
        gwu = -2 * torch.mv(q, ap)[:, None]
        gw = torch.addcmul(gwb[:, :d], gwu, u)
        gu = torch.addmm(gwu * w - az.sum(dim=1) / 2, s, az.T)
        return gy, gw, gu, gwb[:, d]


def _planar(y: Tensor, w: Tensor, u: Tensor, b: Tensor) -> Tensor:
    """dy/dt from (y, w, u, b), as `Planar`, in operations that autograd differentiates."""
    d, units = w.shape[1], len(w)
    h = torch.tanh(torch.addmm(b[:, None], w, y[:d]))
    dz = torch.mm(u.T, h) / units
    trace = torch.mm((w * u).sum(dim=1)[None], 1 - h * h) / units
    return torch.cat((dz, -trace))


class PlanarDynamics(Dynamics):
    """Planar dynamics. `units` maps times (m,) to the list of the `Units` at each."""

    def __init__(self, units: nn.Module) -> None:
        super().__init__()
        self.units = units

    def bind(self, y: Tensor, noise: Noise | None) -> VectorField:
        return self

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """dy/dt (D + 1, B) at time t () and states y (D + 1, B)."""
        (units,) = self.units(t[None])
        return self._rate(units, y)

    def at_times(self, ts: Tensor) -> list[Callable[[Tensor], Tensor]]:
        """The fields at the times ts (m,), from one evaluation of the hypernetwork."""
        return [partial(self._rate, units) for units in self.units(ts)]

    def _rate(self, units: Units, y: Tensor) -> Tensor:
        if torch.compiler.is_compiling():  # the compiler fuses the plain formula better
            return _planar(y, *units)
        dy = Planar.apply(y, *units)
        assert isinstance(dy, Tensor)
        return dy


class PlanarCNF(ContinuousFlow):
    """A continuous flow in the plane with planar dynamics.

    Args:
        width: Number M of units.
        hyper_hidden: Units in the hidden layers of the hypernetwork, which maps time to the
            parameters of the dynamics. None makes the dynamics independent of time.
        end: Time at which the flow reaches the data.
        solver: Solver of the ODE.
        gradient: How the solution is differentiated.
    """

    def __init__(
        self,
        *,
        width: Annotated[int, Ge(1)],
        hyper_hidden: Annotated[int, Ge(1)] | None,
        end: Annotated[float, Gt(0)],
        solver: Solver,
        gradient: GradientMethod,
    ) -> None:
        units = (
            Constants(2, width) if hyper_hidden is None else Hypernetwork(2, width, hyper_hidden)
        )
        super().__init__(PlanarDynamics(units), solver=solver, gradient=gradient, end=end)

    def export_weights(self) -> Mapping[str, Tensor]:
        """See `ExportsWeights`: "units.first.weight", ..., "units.last.bias"; or, if the dynamics
        do not depend on time, "units.w", "units.u" and "units.b". "end" is the flow's end time.
        """
        return {**self.dynamics.state_dict(), "end": torch.tensor(self.end)}
