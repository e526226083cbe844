"""Gradient methods: the interface that solves a problem so that autograd can differentiate it."""

from typing import NamedTuple, Protocol

from torch import Tensor

from node_repro.ode.field import VectorField
from node_repro.ode.norm import Norm, RmsNorm
from node_repro.ode.solution import Solution
from node_repro.ode.solver import Solver

Parameters = tuple[Tensor, ...] | None
"""The tensors that f depends on besides t and y; None if unknown."""


class Problem(NamedTuple):
    """An initial value problem: dy/dt = f(t, y), y(ts[0]) = y0, with outputs at the times ts.

    Attributes:
        f: The vector field.
        y0: The initial state, (*S).
        ts: The times, (T,) float64 on the host.
        parameters: The tensors that f depends on besides t and y.
        parts: If y packs a tuple of tensors, the number of elements of each; empty for one tensor.
        frozen: The tensors that f depends on but that get no gradient.
        error_norm: The norm of the forward solve's error; None for the largest root mean square of
            the parts.
        explicit: Whether the caller declared the parameters, instead of passing a module.
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
        """The norm of the forward solve's error."""
        return self.error_norm or RmsNorm(parts=self.parts)


class GradientMethod(Protocol):
    """Gives dL/dy0, dL/dtheta and dL/dt for every requested time.

    Implementations are Direct, Checkpointed, Reversible, Adjoint and Forward. A custom one:

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
            problem: The problem.
            solver: The solver of the forward solve.

        Returns:
            The states at the problem's times, (T, *S), differentiable in the tensors that require a
            gradient, and the cost of the solve. Its stats.backward is None until the first backward
            pass.

        Raises:
            SolverError: The method cannot differentiate such a problem or solver (kind bad_input),
                or the solve failed.
        """
        ...
