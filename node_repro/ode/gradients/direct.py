"""Direct differentiation: autograd keeps the graph of the accepted steps (the paper's RK-Net).

The gradient is that of the discrete solution, exact to rounding; memory grows with the steps.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from node_repro.ode.engines import SolveOptions
from node_repro.ode.engines.auto import next_engine
from node_repro.ode.engines.compiled import Compiled
from node_repro.ode.field import Plain, evaluate
from node_repro.ode.gradients import Problem
from node_repro.ode.gradients.checkpointed import Checkpointed
from node_repro.ode.gradients.declared import FirstChecked
from node_repro.ode.methods import State
from node_repro.ode.methods.adams import Adams
from node_repro.ode.solution import Solution, SolverError, Stats
from node_repro.ode.solver import RungeKutta, Solver
from node_repro.ode.transforms import transformed


@dataclass(frozen=True)
class Direct:
    """Backpropagation through the steps of the solver; memory grows with their number.

    Use it where memory suffices, and for higher derivatives and torch.func. The gradient is that of
    the discrete solution, exact up to rounding errors. The graph contains the accepted steps only,
    and the choice of the steps is not differentiated. Every tensor that f uses gets its gradient,
    also those in frozen=(...). If parameters=(...) are passed to odeint, f may depend only on
    tensors in parameters or frozen.

    Raises:
        SolverError: When it solves: the solver is one of scipy's, or f depends on a tensor that
            requires a gradient and is in neither parameters nor frozen (kind bad_input).

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> y0 = torch.tensor(1.0, requires_grad=True)
        >>> ts = torch.tensor([0.0, 1.0])
        >>> solver = ode.dopri5(rtol=1e-5, atol=1e-5)
        >>> ys, _ = ode.odeint(lambda t, y: -y, y0, ts, solver=solver, gradient=ode.Direct())
        >>> ys[-1].backward()
        >>> torch.allclose(y0.grad, torch.exp(-ts[-1]), rtol=1e-4)
        True
    """

    needs: ClassVar[str] = "runge_kutta"

    def solve(self, problem: Problem, solver: Solver) -> Solution[Tensor]:
        """Solve the problem and keep the graph of the steps; see GradientMethod.solve."""
        if not solver.differentiable:
            raise SolverError(
                "bad_input",
                f"autograd cannot differentiate {type(solver).__name__}: use gradient=adjoint, or "
                "a Runge-Kutta method",
            )
        if _replaced(problem, solver):
            return Checkpointed().solve(problem, solver)
        first = evaluate
        if problem.explicit and torch.is_grad_enabled() and not transformed():
            first = FirstChecked((*(problem.parameters or ()), *problem.frozen))
        backward = Stats()
        trajectory = solver.solve(
            Plain(problem.f, backward, first),
            State(problem.y0),
            problem.ts,
            SolveOptions(problem.norm),
        )
        ys, stats = trajectory.ys, trajectory.stats

        def begin(cotangent: Tensor) -> None:
            stats.backward = backward

        if ys.requires_grad:
            ys.register_hook(begin)
        return Solution(ys, stats)


def _replaced(problem: Problem, solver: Solver) -> bool:
    """Whether Checkpointed, which gives the same gradient, takes the place of Direct.

    A compiled loop has no graph of its steps, so with the compiled engine the steps are replayed.
    This is not possible for trained times, or if what f depends on is unknown.
    """
    return (
        isinstance(solver, RungeKutta)
        and isinstance(next_engine(solver.engine, solver, problem.y0), Compiled)
        and not isinstance(solver.method, Adams)
        and torch.is_grad_enabled()
        and problem.parameters is not None
        and not problem.ts.requires_grad
        and not transformed()
    )
