"""Methods: the interface that takes one step of a given size, and its types.

Shapes: a state and every slope are (*S), of any shape S.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from node_repro.ode.solution import Stats

Time = float | Tensor
"""A time or a step size: a float, or a float64 scalar tensor if its gradient is required."""


def at(t: Time, y: Tensor) -> Tensor:
    """The time as f receives it: a scalar in the real dtype of y, on the device of y."""
    real = y.dtype.to_real()
    if isinstance(t, Tensor):
        return t.to(device=y.device, dtype=real, non_blocking=True)
    return torch.full((), t, dtype=real, device=y.device)  # on a GPU this is a fill without a copy


def to_device(x: Tensor, like: Tensor) -> Tensor:
    """A tensor of the host with the dtype and on the device of another one.

    The host does not wait until a GPU has finished its work, as it does in x.to(like). This is safe
    in this direction only: a copy to the host must be complete before it is read.
    """
    return x.to(like, non_blocking=True)


class Slope(NamedTuple):
    """The value of a field.

    Attributes:
        dy: dy/dt, (*S).
        integrands: The rates of the integrals of a State.
    """

    dy: Tensor
    integrands: tuple[Tensor, ...] = ()


class State(NamedTuple):
    """The state of a solve, with integrals that do not feed back.

    In the backward solve of the adjoint method the gradients of the parameters are integrals. As
    nothing depends on them, they need no stage sums, and no evaluation at stages of weight zero.

    Attributes:
        y: The state, (*S).
        integrals: Integrals over time of functions of t and y, which y does not depend on.
    """

    y: Tensor
    integrals: tuple[Tensor, ...] = ()


class Field(Protocol):
    """The right-hand side that a method evaluates."""

    def __call__(self, t: Time, y: Tensor, *, integrands: bool) -> Slope:
        """The slope at (t, y); the integrands may be missing with integrands=False."""
        ...

    def at_times(self, times: Sequence[Time], like: Tensor) -> "Sequence[Rate]":
        """The field at each of several times, such as those of the stages of a step.

        Functions of time alone may be computed for all times at once. `like` is a tensor with the
        shape, dtype and device of the states.
        """
        ...

    def jacobian(self, t: Time, y: Tensor) -> "Linear":
        """df/dy at (t, y), by one more evaluation of f. May be approximate, as Newton's iteration
        uses it.
        """
        ...

    @property
    def vjps(self) -> Stats | None:
        """Counts the vector-Jacobian products of f in a later backward pass."""
        ...


class Rate(Protocol):
    """A field at one time."""

    def __call__(self, y: Tensor, *, integrands: bool) -> Slope: ...


class Past(NamedTuple):
    """The slope at the start of an earlier step, and the time of that start."""

    t: Time
    slope: Slope


class Linear(Protocol):
    """df/dy at one point as a map of real numbers: a complex state of n elements has 2n.

    It is block diagonal. The elements of y are consecutive blocks of `size` elements, and all
    blocks share one matrix or each has its own.
    """

    @property
    def stats(self) -> Stats:
        """Counts the work."""
        ...

    def count_into(self, stats: Stats) -> None:
        """Replace the stats that count the work."""
        ...

    @property
    def size(self) -> int:
        """n, the number of elements of a block."""
        ...

    def matrix(self) -> Tensor:
        """(1, n, n) or (blocks, n, n)."""
        ...

    def product(self, v: Tensor) -> Tensor:
        """df/dy v, for v like y."""
        ...

    def transposed_product(self, v: Tensor) -> Tensor:
        """(df/dy)^T v, for v like y."""
        ...


class Newton(NamedTuple):
    """Jacobian and linear system that the next step of an implicit method may reuse.

    Attributes:
        jacobian: df/dy.
        t: The time at which it was evaluated.
        system: The solver of the linear equations.
        h: The step size for which the equations were set up.
        contraction: The rate of convergence of the slowest iteration of the last step.
    """

    jacobian: Linear
    t: float
    system: Any
    h: float
    contraction: float


class Carry(NamedTuple):
    """Data that the next step uses besides y.

    Attributes:
        slope: The slope at its start, if known.
        twin: The second state of a reversible method, (*S).
        history: Earlier slopes of a multistep method, the latest first.
        newton: What an implicit method may reuse.
        solved: The slopes of the stages, if a step of an implicit method is repeated.
    """

    slope: Slope | None = None
    twin: Tensor | None = None
    history: tuple[Past, ...] = ()
    newton: Newton | None = None
    solved: tuple[Tensor, ...] = ()


class Step(NamedTuple):
    """The result of one step.

    Attributes:
        end: The state at its end.
        error: The error estimate; None without one.
        carry: Data that the next step uses besides the state.
        stages: The slopes of the stages, for the dense output.
        solved: The slopes without a graph, for an implicit method.
    """

    end: State
    error: State | None
    carry: Carry
    stages: tuple[Tensor, ...]
    solved: tuple[Tensor, ...] = ()


class Method(Protocol):
    """Takes a step of a given size.

    Examples:
        >>> from node_repro import ode
        >>> def evaluations_for(method: ode.Method, time: float, step_size: float) -> float:
        ...     return time / step_size * len(method.tableau.b)
        >>> evaluations_for(ode.RK4, 1.0, 0.1)
        40.0
    """

    @property
    def name(self) -> str:
        """The name, for messages."""
        ...

    @property
    def order(self) -> int:
        """The order of the solution."""
        ...

    @property
    def dense_order(self) -> int:
        """The order of the dense output."""
        ...

    @property
    def error_order(self) -> int:
        """The power of h with which the error estimate falls."""
        ...

    @property
    def adaptive(self) -> bool:
        """Whether steps have an error estimate."""
        ...

    def init(self, f: Field, t: Time, y: Tensor, twin: Tensor | None = None) -> Carry:
        """The data of a step from (t, y), with its slope. twin is None for a new solve."""
        ...

    def step(
        self, f: Field, t: Time, t1: Time, state: State, carry: Carry, *, advance_only: bool = False
    ) -> Step:
        """Take a step.

        Args:
            f: The field.
            t: The start of the step.
            t1: Its end.
            state: The state at t.
            carry: Further data of the step; its slope must be known.
            advance_only: Leave out the error estimate, the dense output and the slope for the next
                step where they need extra work.
        """
        ...

    def interpolate(self, y: Tensor, h: Time, stages: tuple[Tensor, ...], x: Tensor) -> Tensor:
        """The dense output of a step from y, at the fractions x of it: (m,) -> (m, *S)."""
        ...

    def rate(self, h: Time, stages: tuple[Tensor, ...], x: Tensor) -> Tensor:
        """The derivative of the dense output with respect to time: x (m,) -> (m, *S)."""
        ...


class ReversibleMethod(Method, Protocol):
    """A method whose step can be inverted, up to rounding, from its end and the twin there."""

    def unstep(
        self, f: Field, t: Time, t1: Time, y1: Tensor, twin1: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute (y, twin) at t from those at t1."""
        ...
