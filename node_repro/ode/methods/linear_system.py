"""The linear equations of an implicit step: (I - h A (x) df/dy) x = r.

A, (m, m), couples the slopes of m stages that are solved together; x and r are (m, *S). df/dy is
the same for all stages or one for each. Small systems are solved by LU decomposition, large ones by
GMRES with Jacobian-vector products (Saad, Schultz 1986).
"""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from node_repro.ode.methods import Linear, to_device
from node_repro.ode.methods.jacobian import like, real

LARGEST_DENSE = 1000
"""Largest number of unknowns for LU decomposition; see docs/numerics.md for measurements."""
RESTART = 40  # Krylov vectors before GMRES restarts
CYCLES = 25  # the most restarts


class LinearSystem(Protocol):
    """The equations (I - h A (x) df/dy) x = r for any r."""

    def solve(self, r: Tensor) -> Tensor:
        """Solve for x with the right-hand side r, (m, *S)."""
        ...

    def solve_transposed(self, r: Tensor) -> Tensor:
        """Solve the equations with the transposed matrix."""
        ...


def linear_system(
    jacobians: Sequence[Linear],
    coupling: tuple[tuple[float, ...], ...],
    h: float,
    *,
    accuracy: float,
) -> LinearSystem:
    """Build the equations of a step.

    Args:
        jacobians: One df/dy, or one for each of the m stages.
        coupling: The matrix A.
        h: The signed step size.
        accuracy: The relative accuracy of an iterative solution.
    """
    if jacobians[0].size * len(coupling) <= LARGEST_DENSE:
        return Dense(jacobians, coupling, h)
    return MatrixFree(jacobians, coupling, h, accuracy)


class Dense:
    """Direct solution by an LU decomposition of every block."""

    def __init__(
        self, jacobians: Sequence[Linear], coupling: tuple[tuple[float, ...], ...], h: float
    ) -> None:
        jacobians[0].stats.factorizations += 1
        m, self.size = len(coupling), jacobians[0].size
        matrices = [jacobian.matrix() for jacobian in jacobians]
        if m == 1:
            matrix = matrices[0] * (-h * coupling[0][0])
        else:
            a = to_device(torch.tensor(coupling, dtype=matrices[0].dtype), matrices[0])
            stacked = torch.stack(matrices).expand(m, *matrices[0].shape)
            matrix = torch.einsum("ij,ibpq->bipjq", a * -h, stacked)
            matrix = matrix.reshape(-1, m * self.size, m * self.size)
        matrix.diagonal(dim1=-2, dim2=-1).add_(1.0)
        self.factors, self.pivots, _ = torch.linalg.lu_factor_ex(matrix)

    def solve(self, r: Tensor) -> Tensor:
        return self._solve(r, adjoint=False)

    def solve_transposed(self, r: Tensor) -> Tensor:
        return self._solve(r, adjoint=True)

    def _solve(self, r: Tensor, *, adjoint: bool) -> Tensor:
        m, n = r.shape[0], self.size
        # blocks that share one matrix are columns of one right-hand side
        shared = self.factors.shape[0] == 1
        rows = real(r).reshape(m, -1, n)
        columns = rows.permute(0, 2, 1).reshape(1, m * n, -1) if shared else None
        if columns is None:
            columns = rows.permute(1, 0, 2).reshape(-1, m * n, 1)
        x = torch.linalg.lu_solve(self.factors, self.pivots, columns, adjoint=adjoint)
        x = x.reshape(m, n, -1).permute(0, 2, 1) if shared else x.reshape(-1, m, n).transpose(0, 1)
        return like(x, r[0])


class MatrixFree:
    """Iterative solution by GMRES, with one product with df/dy per stage and iteration."""

    def __init__(
        self,
        jacobians: Sequence[Linear],
        coupling: tuple[tuple[float, ...], ...],
        h: float,
        accuracy: float,
    ) -> None:
        m = len(coupling)
        self.jacobians = list(jacobians) * (m if len(jacobians) == 1 else 1)
        self.coupling, self.h, self.accuracy = coupling, h, accuracy

    def solve(self, r: Tensor) -> Tensor:
        return self._gmres(self._apply, r)

    def solve_transposed(self, r: Tensor) -> Tensor:
        return self._gmres(self._apply_transposed, r)

    def _apply(self, x: Tensor) -> Tensor:
        inner = _coupled(self.coupling, x)
        pairs = zip(self.jacobians, inner, strict=True)
        return x - self.h * torch.stack([jacobian.product(v) for jacobian, v in pairs])

    def _apply_transposed(self, x: Tensor) -> Tensor:
        pairs = zip(self.jacobians, x, strict=True)
        pulled = torch.stack([jacobian.transposed_product(v) for jacobian, v in pairs])
        turned = tuple(zip(*self.coupling, strict=True))
        return x - self.h * _coupled(turned, pulled)

    def _gmres(self, apply: Callable[[Tensor], Tensor], r: Tensor) -> Tensor:
        def flat_apply(v: Tensor) -> Tensor:
            return real(apply(like(v, r[0]))).reshape(-1)

        return like(gmres(flat_apply, real(r).reshape(-1), self.accuracy), r[0])


def _coupled(coupling: Sequence[Sequence[float]], x: Tensor) -> Tensor:
    """sum_j a_ij x_j for every i."""
    if len(coupling) == 1:
        return x * coupling[0][0]
    a = to_device(torch.tensor(coupling, dtype=x.dtype), x)
    return torch.tensordot(a, x, dims=1)


def gmres(apply: Callable[[Tensor], Tensor], r: Tensor, accuracy: float) -> Tensor:
    """Solve apply(x) = r to |apply(x) - r| <= accuracy |r|, with at most RESTART * CYCLES products.

    There is one host read per product.
    """
    x = torch.zeros_like(r)
    rest, aim = r, None
    for _ in range(CYCLES):
        size = float(torch.linalg.vector_norm(rest))
        aim = accuracy * size if aim is None else aim
        if not (math.isfinite(size) and size > aim):
            break
        x = x + _cycle(apply, rest, size, aim)
        rest = r - apply(x)
    return x


def _cycle(apply: Callable[[Tensor], Tensor], r: Tensor, size: float, aim: float) -> Tensor:
    """One cycle of GMRES from x = 0, with at most RESTART Krylov vectors."""
    basis = r.new_empty(min(RESTART, r.numel()) + 1, r.numel())
    basis[0] = r / size
    triangle: list[list[float]] = []
    rotations: list[tuple[float, float]] = []
    right = [size]
    for k in range(len(basis) - 1):
        w = apply(basis[k])
        known = basis[: k + 1]
        h = known @ w
        w = w - h @ known
        again = known @ w  # a second Gram-Schmidt pass, for orthogonality up to rounding
        w = w - again @ known
        length = torch.linalg.vector_norm(w)
        *column, below = torch.cat((h + again, length.reshape(1))).tolist()
        for i, (c, s) in enumerate(rotations):
            upper, lower = column[i], column[i + 1]
            column[i], column[i + 1] = c * upper + s * lower, c * lower - s * upper
        radius = math.hypot(column[k], below)
        if not math.isfinite(radius) or radius == 0.0:
            break
        c, s = column[k] / radius, below / radius
        rotations.append((c, s))
        column[k] = radius
        triangle.append(column)
        right.append(-s * right[k])
        right[k] *= c
        if abs(right[k + 1]) <= aim or below <= 1e-300:
            break
        basis[k + 1] = w / length
    count = len(triangle)
    weights = [0.0] * count
    for i in reversed(range(count)):
        known_part = sum(triangle[j][i] * weights[j] for j in range(i + 1, count))
        weights[i] = (right[i] - known_part) / triangle[i][i]
    return to_device(torch.tensor(weights, dtype=r.dtype), r) @ basis[:count]
