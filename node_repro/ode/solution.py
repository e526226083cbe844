"""What a solve returns, and how it fails."""

from dataclasses import dataclass, field
from typing import ClassVar, Generic, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

Kind = Literal[
    "bad_input",
    "dt_underflow",
    "max_steps",
    "no_convergence",
    "non_finite_state",
    "non_finite_dynamics",
]


class SolverError(Exception):
    """A solve that cannot go on. kind: what happened; t, h: where, if the loop had begun."""

    exit_code: ClassVar[int] = 4

    def __init__(
        self, kind: Kind, message: str, *, t: float | None = None, h: float | None = None
    ) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind: Kind = kind
        self.t = t
        self.h = h


@dataclass
class Stats:
    """What a solve cost, counted by the solver.

    nfe: evaluations of f; nvjp: products of a vector with f's Jacobian; jacobians: whole Jacobian
    matrices, each from one evaluation of f, which counts in nfe, and one batch of as many products
    as the state has elements, which do not count in nvjp; factorizations: LU decompositions of an
    implicit method's matrix; accepted, rejected: steps;
    h_min, h_max: the sizes of the accepted steps; sizes: of each. reconstruction: how far a
    backward solve comes back from the states it started from, the largest relative root mean
    square of all its legs (None where nothing is solved back). backward: the same for all
    backward passes made through the solution so far, None before the first.
    """

    nfe: int = 0
    nvjp: int = 0
    jacobians: int = 0
    factorizations: int = 0
    accepted: int = 0
    rejected: int = 0
    h_min: float = float("inf")
    h_max: float = 0.0
    sizes: list[float] = field(default_factory=list, repr=False)
    reconstruction: float | None = None
    backward: "Stats | None" = None

    def accept(self, h: float) -> None:
        """Count an accepted step of size |h|."""
        self.accepted += 1
        self.h_min = min(self.h_min, abs(h))
        self.h_max = max(self.h_max, abs(h))
        self.sizes.append(abs(h))

    def add(self, other: "Stats") -> None:
        """Count another solve's work here too."""
        self.nfe += other.nfe
        self.nvjp += other.nvjp
        self.jacobians += other.jacobians
        self.factorizations += other.factorizations
        self.accepted += other.accepted
        self.rejected += other.rejected
        self.h_min = min(self.h_min, other.h_min)
        self.h_max = max(self.h_max, other.h_max)
        self.sizes += other.sizes
        if other.reconstruction is not None:
            self.reconstruction = max(self.reconstruction or 0.0, other.reconstruction)

    def add_backward(self, other: "Stats") -> None:
        """Count a backward pass's work."""
        if self.backward is None:
            self.backward = Stats()
        self.backward.add(other)


Y = TypeVar("Y")


class Solution(NamedTuple, Generic[Y]):
    """ys: the states at the requested times, (T, *S), or a tuple of such for a tuple of states;
    stats: what they cost.
    """

    ys: Y
    stats: Stats


def count_non_finite(x: Tensor) -> str:
    """For messages: "3 of 512 elements"."""
    return f"{int((~torch.isfinite(x)).sum())} of {x.numel()} elements"
