"""Figure 3 a-c: error, time and evaluations of f as functions of the tolerance, by solver.

For each solver, tolerance and test minibatch, the probe measures the evaluations of f forward and
backward, the time, and the error of the final state relative to a solve in float64 at a far smaller
tolerance. rtol = atol, forward and backward. The loss is that of the task, a mean over the
minibatch, so its gradient is small. How much this reduces the error estimate of the backward solve
depends on the norm; therefore several norms are compared.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from node_repro.ode.solution import SolverError
from node_repro.ode.solver import Solver
from node_repro.probes import Count, Measurement, Positive, Row, Tolerances, TrainedRun
from node_repro.probes.solve import (
    Distance,
    Solve,
    differentiate,
    forward,
    in_float64,
    median,
    median_seconds,
    record_test_solves,
    rms,
)
from node_repro.training.build import named_gradient, named_solver

WAYS = (
    ("dopri5", "adjoint"),
    ("dopri5", "adjoint_seminorm"),
    ("tsit5", "adjoint"),
    ("vode_adams", "adjoint_flat"),
    ("lsoda", "adjoint_flat"),
)
"""Solver and gradient method: the default, the seminorm, another pair, and the paper's solvers."""
ALONE = ("lsoda",)  # solved one example at a time, since it allocates a Jacobian
REFERENCE = "dopri5"  # for fields with kinks (relu) a higher order has no advantage


class Reference(NamedTuple):
    """Reference solution: the final state y (*S) in float64, and its evaluations of f."""

    y: Tensor
    nfe: int


@dataclass(frozen=True)
class Tolerance:
    """Error, time and evaluations of f by tolerance and solver.

    Args:
        tolerances: rtol = atol of the solves.
        batches: Number of test minibatches.
        batch: Examples in a minibatch; 1 solves single examples.
        reference: Tolerance of the reference solve in float64.
        repeats: Number of forward solves over which the median time is taken.
    """

    tolerances: Tolerances
    batches: Count
    batch: Count
    reference: Positive
    repeats: Count

    def measure(self, run: TrainedRun) -> Measurement:
        whole = self._with_reference(run, self.batch)
        single = whole if self.batch == 1 else self._with_reference(run, 1)
        rows: list[Row] = []
        for solver, gradient in WAYS:
            solves, examples = (single, 1) if solver in ALONE else (whole, self.batch)
            for tolerance in self.tolerances:
                new = list(self._rows(solves, solver, gradient, tolerance))
                rows += [{**row, "examples": examples} for row in new]
                run.print_progress(_format(solver, gradient, tolerance, new))
        solve, reference = whole[0]
        looser = forward(in_float64(solve), named_solver(REFERENCE, 10 * self.reference)).ys[-1]
        facts = {
            "examples_a_batch": self.batch,
            "reference": f"{REFERENCE} at {self.reference:g} in float64",
            "reference_at_ten_times_the_tolerance": Distance.between(looser, reference.y)._asdict(),
            "reference_nfe": [reference.nfe for _, reference in whole],
            "state_size": solve.problem.y0.numel(),
            "state_rms": rms(solve.problem.y0),
            "cotangent_rms": rms(solve.cotangent[-1]),
            "parameters": sum(p.numel() for p in solve.parameters),
            "alone": f"{', '.join(ALONE)}: an example at a time; forward only where the backward "
            "solve's vector is too long for it",
        }
        return Measurement(facts, rows)

    def _with_reference(self, run: TrainedRun, size: int) -> list[tuple[Solve, Reference]]:
        solves = record_test_solves(run, size, self.batches)
        solver = named_solver(REFERENCE, self.reference)
        references = []
        for k, solve in enumerate(solves):
            solution = forward(in_float64(solve), solver)
            references.append(Reference(solution.ys[-1], solution.stats.nfe))
            run.print_progress(
                f"reference of batch {k + 1} of {len(solves)}: NFE {solution.stats.nfe}"
            )
        return list(zip(solves, references, strict=True))

    def _rows(
        self,
        solves: list[tuple[Solve, Reference]],
        solver_name: str,
        gradient_name: str,
        tolerance: float,
    ) -> Iterator[Row]:
        solver = named_solver(solver_name, tolerance)
        gradient = named_gradient(gradient_name, tolerance)
        for k, (solve, reference) in enumerate(solves):
            row: Row = {
                "solver": solver_name,
                "gradient": gradient_name,
                "tolerance": tolerance,
                "batch": k,
            }
            try:
                row |= self._forward(solve, solver, reference)
            except SolverError as failure:
                row["failure"] = str(failure)
                yield row
                continue
            try:
                passed = differentiate(solve, solver, gradient)
                row["nfe_backward"] = passed.backward.nfe
                row["backward_seconds"] = passed.backward_seconds
            except SolverError as failure:
                row["backward_failure"] = str(failure)
            yield row

    def _forward(self, solve: Solve, solver: Solver, reference: Reference) -> Row:
        ys, stats = forward(solve, solver)
        error = Distance.between(ys[-1], reference.y)
        seconds = median_seconds(lambda: forward(solve, solver), ys.device, self.repeats)
        return {
            "nfe_forward": stats.nfe,
            "accepted": stats.accepted,
            "rejected": stats.rejected,
            **{f"error_{name}": value for name, value in error._asdict().items()},
            "forward_seconds": seconds,
        }


def _format(solver: str, gradient: str, tolerance: float, rows: list[Row]) -> str:
    def middle(name: str, form: str) -> str:
        values = [row[name] for row in rows if name in row]
        return format(median(values), form) if values else "-"

    return (
        f"{solver} {gradient} at {tolerance:g}: NFE {middle('nfe_forward', 'g')} / "
        f"{middle('nfe_backward', 'g')}, error {middle('error_rms', '.1e')}, "
        f"{middle('forward_seconds', '.3f')} s (medians of {len(rows)})"
    )
