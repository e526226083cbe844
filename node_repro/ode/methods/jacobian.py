"""Jacobians df/dy at one point, from the graph of one evaluation of f."""

import torch
from torch import Tensor

from node_repro.ode.methods import Linear
from node_repro.ode.solution import Stats


def real(x: Tensor) -> Tensor:
    """A view of a complex tensor's real and imaginary parts; a real tensor itself."""
    return torch.view_as_real(x) if x.is_complex() else x


def like(x: Tensor, y: Tensor) -> Tensor:
    """A tensor of real numbers with the dtype and the trailing shape of y: the inverse of real."""
    if y.is_complex():
        x = torch.view_as_complex(x.reshape(-1, 2))
    return x.reshape(-1, *y.shape)


class Jacobian:
    """df/dy from the graph that leads from y to dy = f(t, y).

    matrix() is computed once, by a batch of vector-Jacobian products, and frees the graph.
    product() differentiates a vector-Jacobian product, so f must be differentiable twice.

    Args:
        dy: The value of f, (*S).
        y: The state, (*S).
        stats: Counts the work.
        hooked: Whether a hook on dy counts every product in stats.nvjp already.
    """

    def __init__(self, dy: Tensor, y: Tensor, stats: Stats, *, hooked: bool = False) -> None:
        self.dy, self.y, self.stats, self.products = dy, y, stats, 0 if hooked else 1
        self._matrix: Tensor | None = None
        self._pulled: tuple[Tensor, Tensor] | None = None

    def count_into(self, stats: Stats) -> None:
        self.stats = stats

    @property
    def size(self) -> int:
        return real(self.y).numel()

    def matrix(self) -> Tensor:
        if self._matrix is None:
            self._matrix = self._rows()
            self.dy = self.dy.detach()
            self.y = self.y.detach()
        return self._matrix

    def _rows(self) -> Tensor:
        y, n = self.y, self.size
        self.stats.jacobians += 1
        self.stats.nvjp += self.products - 1
        zeros = real(y.detach()).new_zeros(1, n, n)
        if not self.dy.requires_grad or not n:
            return zeros
        each = like(torch.eye(n, dtype=zeros.dtype, device=y.device), y)
        (rows,) = torch.autograd.grad(
            self.dy, y, each, retain_graph=True, is_grads_batched=True, allow_unused=True
        )
        return zeros if rows is None else real(rows).reshape(1, n, n)

    def product(self, v: Tensor) -> Tensor:
        if not self.dy.requires_grad:
            return torch.zeros_like(v)
        if self._pulled is None:
            with torch.enable_grad():
                w = torch.zeros_like(self.dy).requires_grad_()
                (pulled,) = torch.autograd.grad(
                    self.dy, self.y, w, create_graph=True, materialize_grads=True, allow_unused=True
                )
            self._pulled = w, pulled
        w, pulled = self._pulled
        self.stats.nvjp += self.products
        if not pulled.requires_grad:
            return torch.zeros_like(v)
        (product,) = torch.autograd.grad(pulled, w, v, retain_graph=True)
        return product

    def transposed_product(self, v: Tensor) -> Tensor:
        if not self.dy.requires_grad:
            return torch.zeros_like(v)
        self.stats.nvjp += self.products
        (product,) = torch.autograd.grad(
            self.dy, self.y, v, retain_graph=True, materialize_grads=True, allow_unused=True
        )
        return product


class AdjointJacobian:
    """The Jacobian of the field of [y, a], stacked, with da/dt = -(df/dy)^T a: J and -J^T.

    The derivative of da/dt with respect to y is left out. As y does not depend on a, Newton's
    iteration converges for a one iteration later than for y.
    """

    def __init__(self, inner: Linear) -> None:
        self.inner = inner

    @property
    def stats(self) -> Stats:
        return self.inner.stats

    def count_into(self, stats: Stats) -> None:
        self.inner.count_into(stats)

    @property
    def size(self) -> int:
        return self.inner.size

    def matrix(self) -> Tensor:
        matrix = self.inner.matrix()
        return torch.cat((matrix, -matrix.mT))

    def product(self, v: Tensor) -> Tensor:
        return torch.stack((self.inner.product(v[0]), -self.inner.transposed_product(v[1])))

    def transposed_product(self, v: Tensor) -> Tensor:
        return torch.stack((self.inner.transposed_product(v[0]), -self.inner.product(v[1])))


class RepeatedJacobian:
    """The Jacobian of several states with one linear field: J for each of the rows of y."""

    def __init__(self, inner: Linear) -> None:
        self.inner = inner

    @property
    def stats(self) -> Stats:
        return self.inner.stats

    def count_into(self, stats: Stats) -> None:
        self.inner.count_into(stats)

    @property
    def size(self) -> int:
        return self.inner.size

    def matrix(self) -> Tensor:
        return self.inner.matrix()

    def product(self, v: Tensor) -> Tensor:
        return torch.stack([self.inner.product(row) for row in v])

    def transposed_product(self, v: Tensor) -> Tensor:
        return torch.stack([self.inner.transposed_product(row) for row in v])
