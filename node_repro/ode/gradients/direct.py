"""Direct differentiation: autograd keeps the graph of the accepted steps (the paper's RK-Net).

The gradient is that of the discrete solution, exact to rounding; memory grows with the steps.
"""

from dataclasses import dataclass

from torch import Tensor

from node_repro.ode.field import Plain, VectorField
from node_repro.ode.gradients import Parameters
from node_repro.ode.methods import State
from node_repro.ode.solution import Solution, Stats
from node_repro.ode.solver import Solver


@dataclass(frozen=True)
class Direct:
    """Rejected steps leave nothing behind; the choice of the steps is not differentiated."""

    def solve(
        self, f: VectorField, y0: Tensor, ts: Tensor, solver: Solver, parameters: Parameters
    ) -> Solution:
        backward = Stats()
        trajectory = solver.solve(Plain(f, backward), State(y0), ts)
        ys, stats = trajectory.ys, trajectory.stats

        def begin(cotangent: Tensor) -> None:
            stats.backward = backward

        if ys.requires_grad:
            ys.register_hook(begin)
        return Solution(ys, stats)
