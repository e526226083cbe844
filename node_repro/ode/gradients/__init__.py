"""The contract of a gradient method: it solves a problem so that autograd can differentiate it."""

from typing import NamedTuple, Protocol

from torch import Tensor

from node_repro.ode.field import VectorField
from node_repro.ode.norm import Norm, RmsNorm
from node_repro.ode.solution import Solution
from node_repro.ode.solver import Solver

Parameters = tuple[Tensor, ...] | None
"""What f depends on besides t and y; None where that is unknown."""


class Problem(NamedTuple):
    """dy/dt = f(t, y), y(ts[0]) = y0, wanted at the times ts.

    Attributes:
        f: The vector field.
        y0: The initial state, (*S).
        ts: The times, (T,) float64 on the host.
        parameters: What f depends on besides t and y.
        parts: The numbers of elements of a tuple's parts that y packs together, empty for one
            tensor.
        frozen: What f depends on and what gets no gradient all the same.
        error_norm: Of the forward solve's error, None for the largest root mean square of the
            parts.
        explicit: Whether the parameters were named by the caller, and not read off a module.
    """

    f: VectorField
    y0: Tensor
    ts: Tensor
    parameters: Parameters
    parts: tuple[int, ...] = ()
    frozen: tuple[Tensor, ...] = ()
    error_norm: Norm | None = None
    explicit: bool = False

    @property
    def norm(self) -> Norm:
        """Of the forward solve's error."""
        return self.error_norm or RmsNorm(parts=self.parts)


class GradientMethod(Protocol):
    """Gives dL/dy0, dL/dtheta and dL/dt for every requested time.

    Built in are Direct, Checkpointed, Reversible, Adjoint and Forward. Another one can wrap them:

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> class Counted:
        ...     solves = 0
        ...     def solve(self, problem, solver):
        ...         self.solves += 1
        ...         return ode.Direct().solve(problem, solver)
        >>> gradient, ts = Counted(), torch.tensor([0.0, 1.0])
        >>> solver = ode.rk4(step_size=0.1)
        >>> ys, _ = ode.odeint(lambda t, y: -y, torch.ones(2), ts, solver=solver, gradient=gradient)
        >>> gradient.solves
        1
    """

    def solve(self, problem: Problem, solver: Solver) -> Solution[Tensor]:
        """Solve the problem.

        Args:
            problem: What is to be solved.
            solver: Of the forward solve.

        Returns:
            The states at the times of the problem, (T, *S), differentiable where the problem's
            tensors want a gradient; and what the solve cost. Its stats.backward is None until a
            backward pass has been made.

        Raises:
            SolverError: The method cannot differentiate such a problem or solver (kind bad_input),
                or the solve failed.
        """
        ...
