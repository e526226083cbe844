"""Hamiltonian paths by a solver of ODEs, whose steps may be controlled by tolerances.

A controlled solve is neither reversible nor preserves volume: its step sizes depend on the state,
and explicit Runge-Kutta methods are not symplectic. The Metropolis rule with the error of the
energy alone then leaves a bias, which vanishes with the tolerance. The Jacobian determinant of the
map, which a correct rule contains, is 1 for the exact flow only.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from node_repro.data.potential import Potential
from node_repro.models import HamiltonianPath, PathEnd, Sampler, SolvesODE
from node_repro.models.hamilton_equations import gradient
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.odeint import odeint
from node_repro.ode.solution import Solution, SolverError, Stats
from node_repro.ode.solver import RungeKutta, Solver

States = tuple[Tensor, ...]
"""Positions q and momenta p."""


class HamiltonianFlow(SolvesODE):
    """The solution (q, p) of Hamilton's equations.

    Its error control is scaled by a factor: tolerances are multiplied by it. Constant steps are,
    too: time is measured in units of it.
    """

    def forward(
        self, potential: Potential, start: States, ts: Tensor, scale: float
    ) -> Solution[States]:
        """The states (T, 1, D) at the times ts (T,), from start (1, D) at ts[0] = 0."""
        unit, solver = scale, self.solver
        if self.solver.controls_error:
            unit, solver = 1.0, self.solver.with_tolerance(**_tolerances(self.solver, scale))

        def field(t: Tensor, state: States) -> States:
            q, p = state
            return unit * p, -unit * gradient(potential, q)

        return odeint(field, start, ts / unit, solver=solver, gradient=self.gradient, parameters=())


class HamiltonianODE(Sampler):
    """Paths solved one chain at a time, each with steps of its own.

    A path that cannot be solved at the tolerance is not proposed.

    Args:
        chains: Number of Markov chains.
        dimensions: Components of q.
        solver: Solver of the ODE.
        gradient: Not used by sampling, which differentiates no solution.
    """

    def __init__(
        self, *, chains: int, dimensions: int, solver: Solver, gradient: GradientMethod
    ) -> None:
        super().__init__(chains=chains, dimensions=dimensions)
        self.flow = HamiltonianFlow(solver=solver, gradient=gradient)

    @property
    def scale(self) -> float:
        """The factor of the tolerances or steps."""
        return float(self.log_scale.detach().exp())

    @property
    def accuracy(self) -> Mapping[str, float]:
        if self.flow.solver.controls_error:
            return _tolerances(self.flow.solver, self.scale)
        return {"scale": self.scale}

    def propose(self, potential: Potential, q: Tensor, p: Tensor, time: float) -> PathEnd:
        total, ends, evaluations = Stats(), [], []
        ts = torch.tensor((0.0, time), dtype=torch.float64)
        for start in zip(q.split(1), p.split(1), strict=True):
            try:
                (qs, ps), stats = self.flow(potential, start, ts, self.scale)
                ends.append((qs[-1], ps[-1]))
            except SolverError as error:
                if error.kind == "bad_input":
                    raise
                stats = Stats()
                ends.append((start[0] * torch.nan, start[1] * torch.nan))
            total.add(stats)
            evaluations.append(float(stats.nfe))
        self.flow.stats = total
        q, p = (torch.cat(part) for part in zip(*ends, strict=True))
        return PathEnd(q, p, torch.tensor(evaluations, dtype=torch.float64))

    def path(self, potential: Potential, q: Tensor, p: Tensor, time: float) -> HamiltonianPath:
        ends = torch.tensor((0.0, time), dtype=torch.float64)
        _, stats = self.flow(potential, (q, p), ends, self.scale)
        inner = torch.tensor(stats.sizes, dtype=torch.float64).cumsum(0)
        ts = torch.cat((ends[:1], inner * (time / inner[-1])))
        ts[-1] = time
        (qs, ps), _ = self.flow(potential, (q, p), ts, self.scale)
        return HamiltonianPath(ts, qs[:, 0], ps[:, 0])


def _tolerances(solver: Solver, scale: float) -> dict[str, float]:
    """The solver's tolerances times a factor."""
    if not isinstance(solver, RungeKutta):
        raise SolverError(
            "bad_input",
            f"Hamiltonian paths are solved by Runge-Kutta methods, not by {type(solver).__name__}",
        )
    tolerances = solver.controller.tolerances
    assert tolerances is not None
    return {key: scale * float(getattr(tolerances, key)) for key in ("rtol", "atol")}
