"""What programs of torchdiffeq give there and here, for the tests of node_repro.ode.drop_in."""

from types import ModuleType
from typing import Any

import pytest
import torch
from chosen import Net, leaf, real
from torch import Tensor

from node_repro.ode import drop_in

ADAPTIVE = ["dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun"]
FIXED = ["euler", "midpoint", "heun2", "heun3", "rk4"]
BOTH = pytest.mark.parametrize("name", ["odeint", "odeint_adjoint"])
WAYS = pytest.mark.parametrize("ends", [(0.0, 0.5, 2.0), (2.0, 0.5, 0.0)])
TS = (0.0, 0.4, 1.0, 2.5)


def results(
    library: ModuleType, name: str, ts: tuple[float, ...] = TS, **given: Any
) -> list[Tensor]:
    """The states at ts, and a loss's gradients with respect to y0, ts and the parameters."""
    f, y0, t = Net(), leaf(0.5, -0.2, 0.9), leaf(*ts)
    ys = getattr(library, name)(f, y0, t, **given)
    return [ys.detach(), *torch.autograd.grad(ys.square().sum(), (y0, t, *f.parameters()))]


def errors(found: list[Tensor], aim: list[Tensor]) -> list[float]:
    """Relative, of each result."""
    pairs = zip(found, aim, strict=True)
    return [((a - b).abs().max() / b.abs().max()).item() for a, b in pairs]


def exact() -> list[Tensor]:
    return results(drop_in, "odeint", method="dopri5", rtol=1e-12, atol=1e-12)


def fall(t: Tensor, y: Tensor) -> Tensor:
    """y' = -y."""
    return -y


def part(t: Tensor, y: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """A field of two parts that do not meet."""
    return -y[0], y[1] * torch.cos(t)


def solved(name: str, ts: tuple[float, ...], library: Any = drop_in, **given: Any) -> list[Tensor]:  # noqa: ANN401
    """The states, and the gradients of y0 and the parameters."""
    f, y0 = Net(), leaf(0.5, -0.2, 0.9)
    ys = getattr(library, name)(f, y0, real(*ts), **given)
    return [ys.detach(), *torch.autograd.grad(ys.square().sum(), (y0, *f.parameters()))]
