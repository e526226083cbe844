"""Reversible differentiation: store only the end, invert one step at a time, and repeat it.

The gradient is that of the discrete solution, exact to rounding, with memory that does not grow
with the steps (McCallum, Foster 2024; Kidger, Foster, Li, Lyons 2021).
"""

from dataclasses import dataclass
from typing import ClassVar, TypeGuard

from torch import Tensor

from node_repro.ode.engines import Mesh
from node_repro.ode.gradients import Problem
from node_repro.ode.gradients.compiled_replay import differentiate
from node_repro.ode.gradients.declared import declared
from node_repro.ode.gradients.function import (
    Forwarded,
    Gradients,
    Inputs,
    Saved,
    solve_forward,
    solve_with_backward,
)
from node_repro.ode.gradients.replay import Inverted, Replay, stepping
from node_repro.ode.gradients.saved_function import SavedFunction
from node_repro.ode.methods import Method, ReversibleMethod
from node_repro.ode.solution import Solution, SolverError, Stats
from node_repro.ode.solver import RungeKutta, Solver


@dataclass(frozen=True)
class Reversible:
    """Invert the steps one by one, with two states in memory. Requires a reversible method.

    Use it for long solves with little damping, as its memory does not grow with the steps. The
    gradient is that of the discrete solution, exact up to rounding errors. These grow as the steps
    of a decaying solution are inverted; a warning is given if half of the digits are lost.

    Raises:
        SolverError: When it solves: the solver's method is not reversible, or what f depends on is
            unknown, as f is no module and parameters=(...) is missing (kind bad_input).

    References:
        McCallum, Foster: Efficient, accurate and stable gradients for neural ODEs, 2024.

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> rate = torch.tensor(2.0, requires_grad=True)
        >>> solver = ode.reversible_dopri5(rtol=1e-5, atol=1e-5)
        >>> ys, _ = ode.odeint(
        ...     lambda t, y: -rate * y,
        ...     torch.ones(1),
        ...     torch.tensor([0.0, 1.0]),
        ...     solver=solver,
        ...     gradient=ode.Reversible(),
        ...     parameters=[rate],
        ... )
        >>> torch.autograd.grad(ys[-1], rate)[0].isclose(-torch.tensor(-2.0).exp(), rtol=1e-3)
        tensor(True)
    """

    needs: ClassVar[str] = "reversible"

    def solve(self, problem: Problem, solver: Solver) -> Solution[Tensor]:
        """Solve the problem and store its end only; see GradientMethod.solve."""
        known = declared(problem, "reversible")
        stepper = stepping(solver, "reversible")
        method = stepper.method
        if not _is_reversible(method):
            raise SolverError(
                "bad_input",
                f"gradient=reversible inverts steps, which {method.name} does not support: use a "
                "reversible method, such as reversible_dopri5, or gradient=checkpointed",
            )

        def forward(inputs: Inputs) -> Forwarded:
            saved, trajectory = solve_forward(problem, known, stepper, inputs)
            saved.remember(inputs.y0, trajectory.slope)
            twin = trajectory.carry.twin
            tensors = (inputs.y0, trajectory.end.y, inputs.y0 if twin is None else twin)
            back = _ReversiblePass(saved, stepper, method, trajectory.mesh, problem.frozen)
            return Forwarded(trajectory.ys, trajectory.stats, tensors, back)

        return solve_with_backward("reversible", problem, known, forward)


def _is_reversible(method: Method) -> TypeGuard[ReversibleMethod]:
    return hasattr(method, "unstep")


@dataclass(frozen=True)
class _ReversiblePass:
    """The backward pass: every step is inverted, and repeated from the resulting start.

    Attributes:
        f: The vector field of the forward pass.
        solver: The solver of the steps.
        method: Its method.
        mesh: The accepted steps.
        frozen: The tensors that f depends on but that get no gradient.
    """

    f: SavedFunction
    solver: RungeKutta
    method: ReversibleMethod
    mesh: Mesh
    frozen: tuple[Tensor, ...]

    def gradients(self, saved: Saved, gys: Tensor, stats: Stats) -> Gradients:
        """See BackwardPass.gradients."""
        replay = Replay(self.f, self.solver, self.mesh, self.frozen, saved)
        with self.f.restored() as f:
            return differentiate(
                replay, f, Inverted(self.method, self.mesh, *saved.tensors), gys, stats
            )
