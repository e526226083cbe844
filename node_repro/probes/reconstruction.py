"""Error of the reconstructed initial state, |z(t0) recovered - z(t0)| (section 6 of the paper).

z(t0) is recovered from z(t1) in three ways. "solved": the state alone is solved from t1 to t0 at
the same tolerance. "adjoint": the state within the backward solve of the adjoint method. "undone":
the steps of a reversible method are inverted one by one, exactly except for rounding. The error of
the first is relative to z(t0), those of the others, reported by the solver, to the largest state.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from node_repro.ode.solution import SolverError
from node_repro.probes import Count, Measurement, Row, Tolerances, TrainedRun
from node_repro.probes.solve import (
    Distance,
    Solve,
    differentiate,
    forward,
    median,
    record_test_solves,
    rms,
)
from node_repro.training.build import named_gradient, named_solver

SOLVED = ("dopri5", "tsit5", "vode_adams", "reversible_dopri5", "reversible_tsit5")
BY_ADJOINT = ("dopri5", "tsit5")
UNDONE = ("reversible_dopri5", "reversible_tsit5", "reversible_bosh3")


@dataclass(frozen=True)
class Reconstruction:
    """Distances between z(t0) and the state recovered by a solve back to t0.

    Args:
        tolerances: rtol = atol of the solves.
        batches: Number of test minibatches.
        batch: Examples in a minibatch.
    """

    tolerances: Tolerances
    batches: Count
    batch: Count

    def measure(self, run: TrainedRun) -> Measurement:
        solves = record_test_solves(run, self.batch, self.batches)
        rows: list[Row] = []
        for back, solver, measure in _ways():
            for tolerance in self.tolerances:
                new: list[Row] = []
                for k, solve in enumerate(solves):
                    row = {"back": back, "solver": solver, "tolerance": tolerance, "batch": k}
                    try:
                        row |= measure(solve, solver, tolerance)
                    except SolverError as failure:
                        row["failure"] = str(failure)
                    new.append(row)
                rows += new
                error = median([float(r["relative_rms"]) for r in new if "relative_rms" in r])
                run.print_progress(f"{back} by {solver} at {tolerance:g}: relative RMS {error:.1e}")
        facts = {
            "examples_a_batch": self.batch,
            "state_size": solves[0].problem.y0.numel(),
            "state_rms": rms(solves[0].problem.y0),
        }
        return Measurement(facts, rows)


def _ways() -> Iterator[tuple[str, str, Callable[[Solve, str, float], Row]]]:
    yield from (("solved", solver, _solved) for solver in SOLVED)
    yield from (("adjoint", solver, _by_adjoint) for solver in BY_ADJOINT)
    yield from (("undone", solver, _undone) for solver in UNDONE)


def _solved(solve: Solve, name: str, tolerance: float) -> Row:
    solver = named_solver(name, tolerance)
    there = forward(solve, solver)
    problem = solve.problem
    returning = problem._replace(y0=there.ys[-1], ts=problem.ts[[-1, 0]])
    back = forward(Solve(returning, solve.cotangent), solver)
    return {
        **Distance.between(back.ys[-1], problem.y0)._asdict(),
        "nfe_forward": there.stats.nfe,
        "nfe_backward": back.stats.nfe,
    }


def _by_adjoint(solve: Solve, name: str, tolerance: float) -> Row:
    return _reported(solve, name, "adjoint", tolerance)


def _undone(solve: Solve, name: str, tolerance: float) -> Row:
    return _reported(solve, name, "reversible", tolerance)


def _reported(solve: Solve, name: str, gradient: str, tolerance: float) -> Row:
    passed = differentiate(
        solve, named_solver(name, tolerance), named_gradient(gradient, tolerance)
    )
    return {
        "relative_rms": passed.backward.reconstruction,
        "nfe_forward": passed.stats.nfe,
        "nfe_backward": passed.backward.nfe,
    }
