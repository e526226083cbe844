"""Inversion error of a trained continuous flow as a function of the tolerance.

The selected model is evaluated in float64 on test points x of its data. For every tolerance, the
probe measures the error of x -> z -> x', the evaluations of f in both directions, the error of
log p relative to a far smaller tolerance, and the mass of the density on a grid, whose exact value
is 1. A picture compares densities and samples at two tolerances with the data, and shows
where the inversion errs.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from node_repro.data.generated import seeded_generator
from node_repro.models.continuous_flow import ContinuousFlow
from node_repro.probes import Count, Measurement, NotApplicable, Positive, Tolerances, TrainedRun
from node_repro.probes.solve import rms
from node_repro.tasks.cnf import CNF
from node_repro.tasks.density_grid import GRID, Square, density_on, mass_on


class Trained(NamedTuple):
    """A run's selected model in float64, its task, and a scalar like the model's parameters."""

    flow: ContinuousFlow
    task: CNF
    like: Tensor


@dataclass(frozen=True)
class Inversion:
    """Errors of x -> z -> x' of a continuous flow.

    Args:
        tolerances: rtol = atol of the solves.
        shown: Tolerances in the picture.
        reference: Tolerance of the reference log p.
        examples: Number of data points.
    """

    tolerances: Tolerances
    shown: tuple[Positive, ...]
    reference: Positive
    examples: Count

    def measure(self, run: TrainedRun) -> Measurement:
        flow, task = run.model(), run.task
        if not isinstance(flow, ContinuousFlow) or not isinstance(task, CNF):
            raise NotApplicable("a continuous flow trained on points (task=cnf)")
        ode = run.config.ode
        if ode is None or not ode.error_controlled:
            raise NotApplicable("a solver with tolerances, since the probe varies the tolerance")
        like = torch.zeros((), dtype=torch.float64, device=run.device)
        trained = Trained(flow.double(), task, like)
        with torch.no_grad():
            x = task.data.law.sample(self.examples, seeded_generator(2, bits=64)).to(like)
            _set_tolerance(flow, self.reference)
            exact = flow.log_density(x)
            rows = []
            for tolerance in self.tolerances:
                rows.append(_row(trained, tolerance, x, exact))
                run.print_progress(
                    f"{tolerance:g}: |x - x'| {rows[-1]['distance_rms']:.1e}, log p off by "
                    f"{rows[-1]['log_density_rms']:.1e}, mass {rows[-1]['mass']:.5f}, NFE "
                    f"{rows[-1]['nfe_encode']} / {rows[-1]['nfe_decode']}"
                )
            picture = self._draw(trained, x)
        facts = {"examples": self.examples, "reference": self.reference, "precision": "float64"}
        return Measurement(facts, rows, {"inversion.png": picture})

    def _draw(self, trained: Trained, x: Tensor) -> bytes:
        """Draw densities, samples and errors at the shown tolerances, and the data."""
        from node_repro.figures.flows import Inverse, inverses

        flow, task, like = trained
        square = Square(task.side, GRID)
        true = task.data.law.log_density(square.points(like.cpu())).exp().view(GRID, GRID)
        generator = seeded_generator(1, bits=64)
        z = torch.randn(len(x), 2, generator=generator, dtype=torch.float64).to(like)
        flows = {}
        for tolerance in self.shown:
            _set_tolerance(flow, tolerance)
            there = _there_and_back(flow, x)
            title = (
                f"tolerance {tolerance:g}\nNFE {there.nfe_encode} there, {there.nfe_decode} back"
            )
            flows[title] = Inverse(
                density_on(flow, square, like).numpy(),
                flow.sample(z).x.cpu().numpy(),
                there.distances.cpu().numpy(),
            )
        return inverses(true.numpy(), x.cpu().numpy(), flows, task.side)


class ThereAndBack(NamedTuple):
    """Distances |x − x′| (N,) of x -> z -> x′, and the evaluations of f in both directions."""

    distances: Tensor
    nfe_encode: int
    nfe_decode: int


def _there_and_back(flow: ContinuousFlow, x: Tensor) -> ThereAndBack:
    z = flow.encode(x)
    nfe_encode = flow.stats.nfe
    back = flow.sample(z).x
    return ThereAndBack((back - x).norm(dim=1), nfe_encode, flow.stats.nfe)


def _row(trained: Trained, tolerance: float, x: Tensor, exact: Tensor) -> dict[str, float]:
    """Measure one tolerance; x (N, 2): points, exact (N,): their log densities."""
    flow, task, like = trained
    _set_tolerance(flow, tolerance)
    distances, nfe_encode, nfe_decode = _there_and_back(flow, x)
    error = flow.log_density(x) - exact
    mass = mass_on(flow, max(2 * task.side, 6.0), like)
    return {
        "tolerance": tolerance,
        "nfe_encode": nfe_encode,
        "nfe_decode": nfe_decode,
        "distance_rms": rms(distances),
        "distance_max": float(distances.max()),
        "log_density_rms": rms(error),
        "log_density_max": float(error.abs().max()),
        "mass": mass,
        "mass_error": abs(mass - 1),
    }


def _set_tolerance(flow: ContinuousFlow, tolerance: float) -> None:
    """Set the tolerance of all further solves."""
    flow.solver = flow.solver.with_tolerance(tolerance, tolerance)
