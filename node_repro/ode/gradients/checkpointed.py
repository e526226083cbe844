"""Checkpointed differentiation: store the state at every accepted step, repeat one step at a time.

The gradient is that of the discrete solution, as with direct differentiation, for O(steps) states
of memory and one more evaluation of f per stage. A step's first slope is a function of its first
state, so only states are stored, with the second states of a reversible method and the solved
stages of an implicit one.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from node_repro.ode.engines import Mesh, Start, Starts
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
from node_repro.ode.gradients.replay import Replay, Stored, stepping
from node_repro.ode.gradients.saved_function import SavedFunction
from node_repro.ode.solution import Solution, Stats
from node_repro.ode.solver import RungeKutta, Solver


@dataclass(frozen=True)
class Checkpointed:
    """Repeat the steps one by one in the backward pass, with one state per step in memory.

    Use it for the gradient of Direct where the graph of all steps does not fit into memory. The
    gradient is that of the discrete solution, exact up to rounding errors. The backward pass
    evaluates f again at every stage.

    Raises:
        SolverError: When it solves: the solver is one of scipy's or an Adams method, or what f
            depends on is unknown, as f is no module and parameters=(...) is missing (kind
            bad_input).

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> f, ts = torch.nn.Linear(2, 2), torch.tensor([0.0, 1.0])
        >>> field = lambda t, y: f(y)
        >>> solve = {"solver": ode.rk4(step_size=0.1), "parameters": tuple(f.parameters())}
        >>> ys, _ = ode.odeint(field, torch.ones(2), ts, gradient=ode.Checkpointed(), **solve)
        >>> ys[-1].sum().backward()
        >>> f.weight.grad.shape
        torch.Size([2, 2])
    """

    needs: ClassVar[str] = "runge_kutta"

    def solve(self, problem: Problem, solver: Solver) -> Solution[Tensor]:
        """Solve the problem and store the starts of the steps; see GradientMethod.solve."""
        known = declared(problem, "checkpointed")
        stepper = stepping(solver, "checkpointed")

        def forward(inputs: Inputs) -> Forwarded:
            saved, trajectory = solve_forward(problem, known, stepper, inputs, keep_starts=True)
            saved.remember(inputs.y0, trajectory.slope)
            starts = trajectory.starts or (Starts.of(Start(inputs.y0, None)),)
            mesh, layout = trajectory.mesh, _StartsLayout.of(starts)
            backward = _CheckpointedPass(saved, stepper, mesh, problem.frozen, layout)
            tensors = [x for block in starts for x in block.tensors]
            return Forwarded(trajectory.ys, trajectory.stats, tensors, backward)

        return solve_with_backward("checkpointed", problem, known, forward)


class _StartsLayout(NamedTuple):
    """How the starts of the steps consist of tensors in a row.

    Attributes:
        counts: The number of steps in each block.
        twins: Whether there are second states of a reversible method.
        tensors: The number of tensors of a block.
    """

    counts: tuple[int, ...]
    twins: bool
    tensors: int

    @classmethod
    def of(cls, starts: tuple[Starts, ...]) -> "_StartsLayout":
        first = starts[0]
        counts = tuple(block.count for block in starts)
        return cls(counts, first.twins is not None, len(first.tensors))

    def blocks(self, tensors: tuple[Tensor, ...]) -> list[Starts]:
        """The starts, from their tensors."""
        blocks = []
        for i, count in enumerate(self.counts):
            ys, *rest = tensors[i * self.tensors : (i + 1) * self.tensors]
            twins = rest.pop(0) if self.twins else None
            blocks.append(Starts(count, ys, twins, tuple(rest)))
        return blocks


@dataclass(frozen=True)
class _CheckpointedPass:
    """The backward pass: every step is repeated from its start.

    Attributes:
        f: The vector field of the forward pass.
        solver: The solver of the steps.
        mesh: The accepted steps.
        frozen: The tensors that f depends on but that get no gradient.
        layout: How the stored starts consist of the saved tensors.
    """

    f: SavedFunction
    solver: RungeKutta
    mesh: Mesh
    frozen: tuple[Tensor, ...]
    layout: _StartsLayout

    def gradients(self, saved: Saved, gys: Tensor, stats: Stats) -> Gradients:
        """See BackwardPass.gradients."""
        blocks = self.layout.blocks(saved.tensors)
        replay = Replay(self.f, self.solver, self.mesh, self.frozen, saved)
        with self.f.restored() as f:
            return differentiate(replay, f, Stored(blocks), gys, stats)
