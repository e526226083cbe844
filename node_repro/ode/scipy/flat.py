"""Conversion of states to numpy vectors of reals, and of norms to weights of their elements."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from node_repro.ode.methods import State
from node_repro.ode.norm import Norm, RmsNorm, Tolerances
from node_repro.ode.solution import SolverError

Vector = np.ndarray
"""(N,) float64: y's elements and then every integral's; a complex number is two reals."""


class Flat:
    """Converts between states like a given one and vectors of N reals."""

    def __init__(self, like: State) -> None:
        self.like = like
        self.sizes = [_reals_of(x) for x in (like.y, *like.integrals)]

    def __len__(self) -> int:
        return sum(self.sizes)

    def vector(self, y: Tensor, integrals: tuple[Tensor, ...]) -> Vector:
        """The vector of a state, in one copy from y's device."""
        return torch.cat([_flattened(x) for x in (y, *integrals)]).cpu().numpy()

    def y(self, v: Vector) -> Tensor:
        return _shaped(v[: self.sizes[0]], self.like.y)

    def state(self, v: Vector) -> State:
        y, *integrals = np.split(v, np.cumsum(self.sizes)[:-1])
        like = self.like
        pairs = zip(integrals, like.integrals, strict=True)
        return State(_shaped(y, like.y), tuple(_shaped(q, x) for q, x in pairs))

    def tolerances(self, given: Tolerances) -> "Weighted":
        """rtol and atol of every real; both reals of a complex number have those of the number."""
        y = self.like.y
        values = (given.rtol, given.atol)
        rtol, atol = (
            np.concatenate((_spread(value, y), np.full(len(self) - self.sizes[0], least)))
            for value, least in zip(values, given.integrals, strict=True)
        )
        return Weighted(rtol, np.maximum(atol, np.finfo(np.float64).tiny))  # 0 / 0 at y = 0

    def counts(self, norm: Norm) -> Vector:
        """The number of elements of the part that each real belongs to.

        Returns:
            (N,), with 0 for reals that the norm leaves out.

        Raises:
            SolverError: The norm is not an RmsNorm (kind bad_input).
        """
        if not isinstance(norm, RmsNorm):
            raise SolverError(
                "bad_input",
                "scipy's integrators have norms of their own and support no other: leave out the "
                "norm, or use a Runge-Kutta method",
            )
        y, integrals = self.like
        block = y.numel() // norm.segments
        parts = norm.parts or (block,)
        of_y = np.tile(np.repeat(parts, parts), norm.segments)
        sizes = [q.numel() for q in integrals]
        of_integrals = np.repeat(sizes, sizes) * norm.integrals
        elements = np.concatenate((of_y, of_integrals)).astype(np.float64)
        if norm.flat:
            elements = np.where(elements > 0, np.count_nonzero(elements), 0.0)
        reals = [2 if x.is_complex() else 1 for x in (y, *integrals)]
        return np.repeat(elements, np.repeat(reals, [y.numel(), *sizes]))

    def mean_weights(self, norm: Norm) -> Vector:
        """Weights of tolerances for which a mean square over all reals gives the norm, or a bound.

        The flat norm is that mean. A mean for each of J parts results from w_i = sqrt(n_j / N) for
        the n_j elements of part j:

            (1/N) sum_i (e_i / (w_i tol_i))^2 = sum_j (1/n_j) sum_{i in j} (e_i / tol_i)^2,

        the sum of the parts' mean squares: not below the largest of them, and at most J times that.
        So the requested norm is bounded, and the tolerance is up to sqrt(J) stricter.

        Returns:
            (N,), with 0 for reals that the norm leaves out.
        """
        return np.sqrt(self.counts(norm) / len(self))


class Weighted(NamedTuple):
    """The tolerance rtol |v_i| + atol of every real.

    Attributes:
        rtol: (N,).
        atol: (N,).
    """

    rtol: Vector
    atol: Vector

    def times(self, weights: Vector) -> "Weighted":
        """The tolerances times weights, where a weight of 0 allows any error.

        An infinite atol expresses this: the element contributes e / inf = 0.
        """
        atol = np.where(weights > 0, self.atol * weights, np.inf)
        return Weighted(self.rtol * weights, atol)


def _reals_of(x: Tensor) -> int:
    return x.numel() * (2 if x.is_complex() else 1)


def _flattened(x: Tensor) -> Tensor:
    x = x.detach()
    x = torch.view_as_real(x.resolve_conj()) if x.is_complex() else x
    return x.reshape(-1).to(torch.float64)


def _shaped(v: Vector, like: Tensor) -> Tensor:
    """A copy, because the integrators reuse their vectors."""
    x = torch.tensor(v, dtype=like.dtype.to_real(), device=like.device)
    if like.is_complex():
        return torch.view_as_complex(x.reshape(*like.shape, 2))
    return x.reshape(like.shape)


def _spread(value: float | Tensor, y: Tensor) -> Vector:
    """A tolerance for every real of y."""
    host = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
    each = np.broadcast_to(host, tuple(y.shape)).astype(np.float64).reshape(-1)
    return np.repeat(each, 2) if y.is_complex() else each
