"""Hamiltonian Monte Carlo with step-size control as a function of the tolerance.

The chains of a finished run go on with each tolerance in place of the one that the warm-up chose.
The probe measures the acceptance, the effective samples an evaluation, how far from their start
reversed paths end, and the deviations of sampled moments from the exact ones.
"""

import math
from dataclasses import dataclass

import torch

from node_repro.models.hamiltonian_ode import HamiltonianODE
from node_repro.probes import Count, Measurement, NotApplicable, Row, Tolerances, TrainedRun
from node_repro.tasks.hmc import HMC, observables
from node_repro.tasks.markov_chains import estimate


@dataclass(frozen=True)
class SamplingTolerance:
    """Acceptance, effective samples and bias by the tolerance.

    Args:
        tolerances: rtol = atol of the solves.
        evaluations: Evaluations of the gradient by each chain, for each tolerance.
    """

    tolerances: Tolerances
    evaluations: Count

    def measure(self, run: TrainedRun) -> Measurement:
        model, task = run.model(), run.task
        if not isinstance(model, HamiltonianODE) or not isinstance(task, HMC):
            raise NotApplicable("Hamiltonian paths solved as an ODE (model=hamiltonian_ode)")
        ode = run.config.ode
        if ode is None or not ode.error_controlled:
            raise NotApplicable("a solver with tolerances, since the probe varies the tolerance")
        with torch.no_grad():
            rows = [self._row(task, model, tolerance, run) for tolerance in self.tolerances]
        return Measurement({"evaluations": self.evaluations, "time": task.time}, rows)

    def _row(self, task: HMC, model: HamiltonianODE, tolerance: float, run: TrainedRun) -> Row:
        model.flow.solver = model.flow.solver.with_tolerance(tolerance, tolerance)
        model.log_scale.zero_()
        samples = task.sample(model, f"tolerance {tolerance:g}", self.evaluations)
        found = estimate(observables(samples.q))
        moments = task.moments(found)
        row = {
            "tolerance": tolerance,
            "acceptance": float(samples.acceptance.mean()),
            "energy_error": float(samples.error.nan_to_num(posinf=math.nan).abs().nanmean()),
            "evaluations": float(samples.evaluations.mean()),
            "ess_per_1000": float(task.ess_per_1000(samples)),
            "reversibility_error": task.reversibility_error(model),
            "deviation": max(abs(moment["deviation"]) for moment in moments.values()),
            "moments": moments,
        }
        run.print_progress(
            f"{tolerance:g}: acceptance {row['acceptance']:.3f}, {row['ess_per_1000']:.2f} "
            f"effective samples per 1,000 evaluations, moments off by up to "
            f"{row['deviation']:.1f} standard errors"
        )
        return row
