"""The contract of a method: one step of a given size, with no opinion on what that size should
be.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from node_repro.ode.solution import Stats

Time = float | Tensor
"""A time or a step size: a float on the host, or a float64 scalar tensor where a gradient with
respect to it is wanted.
"""


def at(t: Time, y: Tensor) -> Tensor:
    """The time as f receives it: a scalar in y's real dtype, on y's device."""
    real = y.dtype.to_real()
    if isinstance(t, Tensor):
        return t.to(device=y.device, dtype=real)
    return torch.full((), t, dtype=real, device=y.device)  # on a GPU a fill, not a copy


class Slope(NamedTuple):
    """What a field returns: dy/dt (*S), and the integrands of quadratures that nothing feeds back
    on.
    """

    dy: Tensor
    integrands: tuple[Tensor, ...] = ()


class State(NamedTuple):
    """What is integrated: y (*S), and integrals that grow with y and t but do not influence y.

    Keeping the two apart is what makes the parameters' adjoint cheap: it costs no stage sums, and
    it is left out at stages whose weight is zero.
    """

    y: Tensor
    integrals: tuple[Tensor, ...] = ()


class Field(Protocol):
    """The right-hand side that a method evaluates; with integrands=False the integrands may be left
    out.
    """

    def __call__(self, t: Time, y: Tensor, *, integrands: bool) -> Slope: ...

    def at_times(self, times: Sequence[Time], like: Tensor) -> "Sequence[Rate]":
        """The field at each of several times, such as the stages of a step, for states like the
        given one. What depends on time alone may be computed for all of them at once.
        """
        ...

    def jacobian(self, t: Time, y: Tensor) -> "Linear":
        """df/dy at (t, y), by an evaluation of f of its own. An approximation is enough, as it
        serves Newton's iteration.
        """
        ...

    @property
    def vjps(self) -> Stats | None:
        """Where products with f's Jacobian in a later backward pass are counted."""
        ...


class Rate(Protocol):
    """A field at one time."""

    def __call__(self, y: Tensor, *, integrands: bool) -> Slope: ...


class Past(NamedTuple):
    """The slope at the start of an earlier step, and the time of that start."""

    t: Time
    slope: Slope


class Linear(Protocol):
    """df/dy at one point, on real numbers: a complex state of n elements is one of 2n.

    It is block diagonal: y's elements are consecutive blocks of size elements, and all blocks
    share one matrix or each has its own.
    """

    @property
    def stats(self) -> Stats:
        """Where the work is counted."""
        ...

    def count_into(self, stats: Stats) -> None:
        """Count it elsewhere from now on."""
        ...

    @property
    def size(self) -> int:
        """n, the elements of a block."""
        ...

    def matrix(self) -> Tensor:
        """(1, n, n) or (blocks, n, n)."""
        ...

    def product(self, v: Tensor) -> Tensor:
        """df/dy v for v like y."""
        ...

    def transposed_product(self, v: Tensor) -> Tensor:
        """The product with the transposed matrix."""
        ...


class Newton(NamedTuple):
    """What an implicit method's next step may reuse: df/dy; the solver of the linear equations and
    the h that it is for; t: where df/dy was evaluated; contraction: of the slowest iteration of
    the last step.
    """

    jacobian: Linear
    t: float
    system: Any
    h: float
    contraction: float


class Carry(NamedTuple):
    """What the next step starts from besides y: the slope at its start, if it is known; twin: the
    second state (*S) of a reversible method; history: of a multistep method, the latest first;
    newton: of an implicit method; solved: the stages' slopes, where a step is redone whose stages
    were found by iteration.
    """

    slope: Slope | None = None
    twin: Tensor | None = None
    history: tuple[Past, ...] = ()
    newton: Newton | None = None
    solved: tuple[Tensor, ...] = ()


class Step(NamedTuple):
    """One step's end, its error estimate (None without one), what the next step may reuse, and the
    stages' slopes; solved: the slopes without a graph, if they were found by iteration.
    """

    end: State
    error: State | None
    carry: Carry
    stages: tuple[Tensor, ...]
    solved: tuple[Tensor, ...] = ()


class Method(Protocol):
    """How a step is taken. order: of the solution; dense_order: of the dense output; error_order:
    the power of h that the error estimate falls with.
    """

    @property
    def name(self) -> str: ...

    @property
    def order(self) -> int: ...

    @property
    def dense_order(self) -> int: ...

    @property
    def error_order(self) -> int: ...

    @property
    def adaptive(self) -> bool:
        """Whether steps carry an error estimate."""
        ...

    def init(self, f: Field, t: Time, y: Tensor, twin: Tensor | None = None) -> Carry:
        """The carry to step from at (t, y), its slope evaluated; twin: None at a solve's start."""
        ...

    def step(
        self, f: Field, t: Time, t1: Time, state: State, carry: Carry, *, advance_only: bool = False
    ) -> Step:
        """From t to t1; the carry's slope must be known. advance_only leaves out what only error,
        dense output and the next carry's slope need.
        """
        ...

    def interpolate(self, y: Tensor, h: Time, stages: tuple[Tensor, ...], x: Tensor) -> Tensor:
        """The dense output of a step of size h at the fractions x: (m,) of it, as (m, *S)."""
        ...

    def rate(self, h: Time, stages: tuple[Tensor, ...], x: Tensor) -> Tensor:
        """The dense output's derivative with respect to time, at the fractions x: (m, *S)."""
        ...


class ReversibleMethod(Method, Protocol):
    """A method whose step can be undone, to rounding, from its end and the twin there."""

    def unstep(
        self, f: Field, t: Time, t1: Time, y1: Tensor, twin1: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(y, twin) at t from those at t1."""
        ...
