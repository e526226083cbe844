"""Results of a solve: `Solution`, its cost (`Stats`), and `SolverError`."""

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
    """A solve failed, or was given invalid arguments.

    Args:
        kind: The kind of error: bad_input, dt_underflow, max_steps, no_convergence,
            non_finite_state or non_finite_dynamics.
        message: The problem, where it occurred and a remedy, in one line.
        t: The time at which it happened; None if the solve had not begun.
        h: The signed size of the step that failed; None if there was none.

    Attributes:
        kind: The kind of error.
        t: The time.
        h: The step size.

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> try:
        ...     ode.odeint(
        ...         lambda t, y: y * y,
        ...         torch.ones(1),
        ...         torch.tensor([0.0, 2.0]),
        ...         solver=ode.dopri5(rtol=1e-3, atol=1e-6, max_steps=20),
        ...         gradient=ode.Direct(),
        ...     )
        ... except ode.SolverError as error:
        ...     print(error.kind, 0.9 < error.t < 1.1)
        max_steps True
    """

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
    """The cost of a solve.

    Attributes:
        nfe: Evaluations of f.
        nvjp: Vector-Jacobian products of f.
        jacobians: Full Jacobian matrices df/dy of implicit methods. Each takes one evaluation of f,
            counted in nfe, and a batch of products, not counted in nvjp.
        factorizations: LU decompositions of implicit methods.
        accepted: Accepted steps.
        rejected: Rejected steps.
        h_min: The smallest size of an accepted step, infinite before the first.
        h_max: The largest size of an accepted step.
        sizes: The sizes of all accepted steps.
        reconstruction: For a backward solve that reconstructs the state, the largest relative RMS
            error of the state at the end of its intervals; None without one.
        backward: The cost of all backward passes through the solution so far; None before the
            first.

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> y0 = torch.ones(1, requires_grad=True)
        >>> ys, stats = ode.odeint(
        ...     lambda t, y: -y,
        ...     y0,
        ...     torch.tensor([0.0, 1.0]),
        ...     solver=ode.rk4(step_size=0.25),
        ...     gradient=ode.Direct(),
        ... )
        >>> stats.nfe, stats.accepted, stats.backward
        (16, 4, None)
        >>> ys[-1].sum().backward()
        >>> stats.backward.nvjp
        16
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
        """Count an accepted step of signed size h."""
        self.accepted += 1
        self.h_min = min(self.h_min, abs(h))
        self.h_max = max(self.h_max, abs(h))
        self.sizes.append(abs(h))

    def add(self, other: "Stats") -> None:
        """Add the counts of another solve."""
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
        """Add the counts of a backward pass to `backward`."""
        if self.backward is None:
            self.backward = Stats()
        self.backward.add(other)


Y = TypeVar("Y")


class Solution(NamedTuple, Generic[Y]):
    """The result of odeint, which unpacks as (ys, stats).

    Attributes:
        ys: The states at the requested times, (T, *S), or a tuple of such for a tuple of states.
        stats: The cost of the solve.

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> position, velocity = ode.odeint(
        ...     lambda t, y: (y[1], -y[0]),
        ...     (torch.ones(2), torch.zeros(2)),
        ...     torch.linspace(0, 1, 5),
        ...     solver=ode.tsit5(rtol=1e-3, atol=1e-6),
        ...     gradient=ode.Direct(),
        ... ).ys
        >>> position.shape
        torch.Size([5, 2])
    """

    ys: Y
    stats: Stats


def count_non_finite(x: Tensor) -> str:
    """The number of NaN and infinite elements as "3 of 512 elements", for messages."""
    return f"{int((~torch.isfinite(x)).sum())} of {x.numel()} elements"
