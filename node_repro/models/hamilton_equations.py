"""Hamilton's equations of H(q, p) = U(q) + |p|^2 / 2."""

import torch
from torch import Tensor

from node_repro.data.potential import Potential


def gradient(potential: Potential, q: Tensor) -> Tensor:
    """The gradient (C, D) of U at positions q (C, D), without a graph."""
    with torch.enable_grad():
        q = q.detach().requires_grad_()
        (slope,) = torch.autograd.grad(potential(q).sum(), q)
    return slope


def energy(potential: Potential, q: Tensor, p: Tensor) -> Tensor:
    """H (C,) at positions q and momenta p (C, D)."""
    return potential(q) + p.square().sum(dim=1) / 2
