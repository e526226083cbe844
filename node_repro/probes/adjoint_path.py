"""The adjoint a(t) = dL/dz(t) along a trajectory with observations, which figure 2 sketches.

The selected model of a field fit is solved in float64 from the known start to N observations x_i of
the trajectory, and the loss is L = sum_i |z(t_i) - x_i|^2 / 2. State and adjoint are then solved
backwards together, dz/dt = f and da/dt = -a^T df/dz, from observation to observation, where a jumps
by z(t_i) - x_i. The reference is autograd: for a time s, the steps of a fine solve from z(s) to the
observations after it are differentiated with respect to z(s).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from node_repro.models import TrajectoryModel
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.gradients.direct import Direct
from node_repro.ode.odeint import odeint
from node_repro.probes import Count, Measurement, NotApplicable, Positive, Tolerances, TrainedRun
from node_repro.probes.solve import solving_part
from node_repro.tasks.field_fit import FieldFit
from node_repro.training.build import named_solver

METHOD = "dopri5"
CHECKED = 5  # times between two observations at which autograd computes the adjoint


class Observed(NamedTuple):
    """A field, the start of a trajectory, and its observations x (N, 2) at ts[1:], ts (N + 1,)."""

    field: nn.Module
    start: Tensor
    ts: Tensor
    x: Tensor


class Leg(NamedTuple):
    """States and adjoints (T, 2) at times ts (T,) between two observations, from the later one."""

    ts: Tensor
    z: Tensor
    a: Tensor
    nfe: int


@dataclass(frozen=True)
class AdjointPath:
    """Error of the adjoint along a trajectory, by the tolerance of the solves.

    Args:
        observations: Number of observations.
        spacing: Points of the data from one observation to the next.
        points: Times between two observations at which the path is drawn.
        tolerances: rtol = atol of the solves.
        reference: Tolerance of the reference.
    """

    observations: Count
    spacing: Count
    points: Count
    tolerances: Tolerances
    reference: Positive

    def measure(self, run: TrainedRun) -> Measurement:
        from node_repro.figures.adjoint_path import state_and_adjoint

        observed = self._observe(run)
        exact = [_by_autograd(observed, i, self.reference) for i in self._intervals]
        largest = max(float(leg.a.abs().max()) for leg in exact)
        rows = []
        for tolerance in self.tolerances:
            legs = solve_backwards(observed, CHECKED, tolerance)
            pairs = list(zip(legs, exact, strict=True))
            error = max(float((ours.a - true.a).abs().max()) for ours, true in pairs) / largest
            drift = max(float((ours.z - true.z).abs().max()) for ours, true in pairs)
            nfe = sum(leg.nfe for leg in legs)
            by_method = _by_adjoint_method(observed, tolerance)
            row = {
                "tolerance": tolerance,
                "adjoint_error": error,
                "state_error": drift,
                "method_error": float((by_method - exact[0].a[-1]).abs().max()) / largest,
                "nfe": nfe,
            }
            rows.append(row)
            run.print_progress(f"{tolerance:g}: relative error of the adjoint {error:.1e}")
        drawn = solve_backwards(observed, self.points, min(self.tolerances))
        picture = state_and_adjoint(
            [tuple(part.cpu().numpy() for part in leg[:3]) for leg in drawn],
            [(leg.ts.cpu().numpy(), leg.a.cpu().numpy()) for leg in exact],
            observed.ts[1:].cpu().numpy(),
            observed.x.cpu().numpy(),
        )
        facts = {
            "observations": self.observations,
            "end": float(observed.ts[-1]),
            "largest_adjoint": largest,
            "reference": f"direct, {METHOD} at {self.reference:g} in float64",
        }
        return Measurement(facts, rows, {"figure2.png": picture})

    @property
    def _intervals(self) -> range:
        """The number of the observation that ends each interval, from 1."""
        return range(1, self.observations + 1)

    def _observe(self, run: TrainedRun) -> Observed:
        model, task = run.model(), run.task
        if not isinstance(model, TrajectoryModel) or not isinstance(task, FieldFit):
            raise NotApplicable("a field learned from a trajectory (experiment=demo_field_fit)")
        places = torch.arange(self.observations + 1) * self.spacing
        if int(places[-1]) >= len(task.ts):
            raise NotApplicable(
                f"a trajectory of more than {int(places[-1])} points, but it has {len(task.ts)}; "
                "take a smaller probe.observations or probe.spacing"
            )
        field = solving_part(model).double().f
        assert isinstance(field, nn.Module)
        x = task.noisy.double()[places.to(task.noisy.device)]
        return Observed(field, task.clean.double()[0], task.ts[places], x[1:])


def _forward(observed: Observed, tolerance: float) -> Tensor:
    """The states (N + 1, 2) at the start and at the observations."""
    solver = named_solver(METHOD, tolerance)
    with torch.no_grad():
        return odeint(
            observed.field, observed.start, observed.ts, solver=solver, gradient=Adjoint()
        ).ys


def solve_backwards(observed: Observed, points: int, tolerance: float) -> list[Leg]:
    """State and adjoint between the observations, in the order of time, each leg from its end."""
    f = observed.field

    def augmented(t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        z, a = state
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            dz = f(t, z)
            (by_z,) = torch.autograd.grad(dz, z, a)
        return dz.detach(), -by_z

    solver = named_solver(METHOD, tolerance)
    states = _forward(observed, tolerance)
    a = torch.zeros_like(states[-1])
    legs: list[Leg] = []
    for i in range(len(observed.x), 0, -1):
        a = a + states[i] - observed.x[i - 1]  # the jump
        ts = torch.linspace(float(observed.ts[i]), float(observed.ts[i - 1]), points).double()
        ts[0], ts[-1] = observed.ts[i], observed.ts[i - 1]
        with torch.no_grad():
            (zs, adjoints), stats = odeint(
                augmented, (states[i], a), ts, solver=solver, gradient=Adjoint(), parameters=()
            )
        legs.append(Leg(ts, zs.cpu(), adjoints.cpu(), stats.nfe))
        a = adjoints[-1]
    return legs[::-1]


def _by_autograd(observed: Observed, i: int, tolerance: float) -> Leg:
    """The adjoint between the observations i - 1 and i, through the steps of solves after it."""
    solver = named_solver(METHOD, tolerance)
    ts = torch.linspace(float(observed.ts[i]), float(observed.ts[i - 1]), CHECKED).double()
    ts[0], ts[-1] = observed.ts[i], observed.ts[i - 1]
    before = torch.cat((observed.ts[:1], ts.flip(0)))
    with torch.no_grad():
        states = odeint(
            observed.field, observed.start, before, solver=solver, gradient=Adjoint()
        ).ys[1:]
    adjoints, nfe = [], 0
    for s, state in zip(ts, states.flip(0), strict=True):
        z = state.clone().requires_grad_()
        after = torch.cat((s[None], observed.ts[i:]))
        solution = odeint(observed.field, z, after, solver=solver, gradient=Direct())
        loss = (solution.ys[1:] - observed.x[i - 1 :]).square().sum() / 2
        adjoints.append(torch.autograd.grad(loss, z)[0])
        nfe += solution.stats.nfe
    return Leg(ts, states.flip(0).cpu(), torch.stack(adjoints).cpu(), nfe)


def _by_adjoint_method(observed: Observed, tolerance: float) -> Tensor:
    """dL/dz(t0) by the gradient method of the same name."""
    z0 = observed.start.clone().requires_grad_()
    solver = named_solver(METHOD, tolerance)
    solution = odeint(observed.field, z0, observed.ts, solver=solver, gradient=Adjoint())
    loss = (solution.ys[1:] - observed.x).square().sum() / 2
    return torch.autograd.grad(loss, z0)[0].cpu()
