"""Direct differentiation: autograd keeps the graph of the accepted steps (the paper's RK-Net).

The gradient is that of the discrete solution, exact to rounding; memory grows with the steps.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from node_repro.ode.engines import SolveOptions
from node_repro.ode.field import Plain
from node_repro.ode.gradients import Problem
from node_repro.ode.methods import State
from node_repro.ode.solution import Solution, SolverError, Stats
from node_repro.ode.solver import Solver


@dataclass(frozen=True)
class Direct:
    """Rejected steps leave nothing behind; the choice of the steps is not differentiated."""

    needs: ClassVar[str] = "runge_kutta"

    def solve(self, problem: Problem, solver: Solver) -> Solution[Tensor]:
        if not solver.differentiable:
            raise SolverError(
                "bad_input",
                f"autograd does not see through {type(solver).__name__}: take gradient=adjoint, or "
                "a Runge-Kutta method",
            )
        backward = Stats()
        trajectory = solver.solve(
            Plain(problem.f, backward), State(problem.y0), problem.ts, SolveOptions(problem.norm)
        )
        ys, stats = trajectory.ys, trajectory.stats

        def begin(cotangent: Tensor) -> None:
            stats.backward = backward

        if ys.requires_grad:
            ys.register_hook(begin)
        return Solution(ys, stats)
