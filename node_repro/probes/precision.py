"""Errors of a trained network by the tolerance of its solver and by the precision of its floats.

Section 3 of the paper and the authors' talk: the tolerance of a solver is a finer control of
accuracy than floating-point numbers of low precision. Both are measured on the same test digits.

* Tolerances: the ODE is solved in float32 and compared with a solve in float64 at a far smaller
  tolerance.
* Precisions: the ODE is solved in bfloat16, float16 and float32, weights and states alike, and
  compared with float64. All take the steps of one float64 solve, so that the difference is the
  rounding error alone; the error estimate of a solve in low precision would be rounding error.

Everything else of the network is computed in float64. The kernels are torch's: on most devices
sums within a convolution are accumulated in float32.
"""

import copy
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor, nn

from node_repro.models import Classifier
from node_repro.ode.gradients import Problem
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.solution import Solution, SolverError
from node_repro.ode.solver import Solver
from node_repro.probes import (
    Count,
    Measurement,
    NotApplicable,
    Positive,
    Row,
    Tolerances,
    TrainedRun,
)
from node_repro.probes.solve import Distance, solving_part
from node_repro.training.build import named_solver, prescribed_solver

METHOD = "dopri5"
PRECISIONS = (torch.bfloat16, torch.float16, torch.float32)


class Output(NamedTuple):
    """What a network computes: the ODE's end state, class scores (B, C), evaluations of f."""

    state: Tensor
    scores: Tensor
    nfe: int

    def against(self, true: "Output") -> Row:
        """Errors of the end state and of the prediction, and the share of other predictions."""
        moved = (self.scores.softmax(1) - true.scores.softmax(1)).abs()
        changed = self.scores.argmax(1) != true.scores.argmax(1)
        return {
            "state_relative_rms": Distance.between(self.state, true.state).relative_rms,
            "probability_error_max": float(moved.max()),
            "changed": float(changed.double().mean()),
            "nfe": self.nfe,
        }


@dataclass(frozen=True)
class Precision:
    """Errors of end state and prediction by tolerance and by floating-point type.

    Args:
        tolerances: rtol = atol of the solves in float32.
        batch: Number of test digits, solved as one system.
        fixed: Tolerance of the float64 solve whose steps every precision takes.
        reference: Tolerance of the reference solve in float64.
    """

    tolerances: Tolerances
    batch: Count
    fixed: Positive
    reference: Positive

    def measure(self, run: TrainedRun) -> Measurement:
        network = _Network.of_run(run, self.batch)
        true, _ = network.solve(torch.float64, named_solver(METHOD, self.reference))
        run.print_progress(f"reference: {METHOD} at {self.reference:g} in float64, {true.nfe} NFE")
        same, steps = network.solve(torch.float64, named_solver(METHOD, self.fixed))
        rows: list[Row] = []
        for tolerance in self.tolerances:
            row = {"control": "tolerance", "precision": "float32", "tolerance": tolerance}
            errors = network.errors(torch.float32, named_solver(METHOD, tolerance), true)
            rows.append(row | errors)
            run.print_progress(_format(rows[-1]))
        for dtype in PRECISIONS:
            row = {"control": "precision", "precision": _name(dtype), "tolerance": self.fixed}
            rows.append(row | network.errors(dtype, steps, same))
            run.print_progress(_format(rows[-1]))
        facts = {
            "examples": len(true.scores),
            "reference": f"{METHOD} at {self.reference:g} in float64",
            "steps": f"those of {METHOD} at {self.fixed:g} in float64",
            "error_of_the_steps": same.against(true),
        }
        return Measurement(facts, rows)


@dataclass
class _InPrecision:
    """A gradient method that solves in another floating-point type and returns float64."""

    dtype: torch.dtype
    state: Tensor | None = None
    points: tuple[float, ...] = ()

    def solve(self, problem: Problem, solver: Solver) -> Solution[Tensor]:
        assert isinstance(problem.f, nn.Module)
        f = copy.deepcopy(problem.f).to(self.dtype)
        cast = problem._replace(f=f, y0=problem.y0.to(self.dtype), parameters=tuple(f.parameters()))
        solution = Adjoint().solve(cast, solver)
        ys = solution.ys.double()
        self.state = ys[-1]
        self.points = tuple(accumulate(solution.stats.sizes, initial=float(problem.ts[0])))
        return solution._replace(ys=ys)


class _Network(NamedTuple):
    """A network in float64 and its test digits."""

    model: Classifier
    images: Tensor

    @classmethod
    def of_run(cls, run: TrainedRun, digits: int) -> "_Network":
        model = run.model()
        if not isinstance(model, Classifier):
            raise NotApplicable("a classifier of images with one ODE")
        solving_part(model)
        return cls(model.double(), run.test_batches(digits, 1)[0].images.double())

    def solve(self, dtype: torch.dtype, solver: Solver) -> tuple[Output, Solver]:
        """The output with the ODE solved in `dtype`, and a solver that repeats the steps."""
        part, cast = solving_part(self.model), _InPrecision(dtype)
        part.solver, part.gradient = solver, cast
        with torch.no_grad():
            scores = self.model(self.images)
        assert cast.state is not None
        steps = prescribed_solver(METHOD, cast.points)
        return Output(cast.state, scores, part.stats.nfe), steps

    def errors(self, dtype: torch.dtype, solver: Solver, true: Output) -> Row:
        """The errors of the output with the ODE solved in `dtype`, or why there is none."""
        try:
            return self.solve(dtype, solver)[0].against(true)
        except SolverError as failure:
            return {"failure": str(failure)}


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _format(row: Row) -> str:
    how = "steps fixed" if row["control"] == "precision" else f"at {row['tolerance']:g}"
    what = f"{row['precision']}, {how}"
    if "failure" in row:
        return f"{what}: {row['failure']}"
    return (
        f"{what}: relative error {row['state_relative_rms']:.1e}, probabilities "
        f"{row['probability_error_max']:.1e}, {row['changed']:.2%} of predictions changed, "
        f"NFE {row['nfe']}"
    )
