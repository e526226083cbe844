"""Test error as a function of the tolerance used at test time.

Section 3.2 of the paper: "train tight, test loose". It also shows how far a trained model depends
on its solver (Ott et al. 2021, https://arxiv.org/abs/2007.15386).

The selected model is tested at other tolerances and with other methods in constant steps. Each
score is a mean over test examples with its standard error. The difference from the score with the
model's own solver is computed per example, so that its standard error is far smaller.
"""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.solution import SolverError, Stats
from node_repro.ode.solver import Solver
from node_repro.probes import Count, Counts, Measurement, Row, Tolerances, TrainedRun
from node_repro.probes.solve import record_solve, solving_part
from node_repro.training.build import named_solver, stepping_solver

ADAPTIVE = ("dopri5", "tsit5")
STEPPING = ("euler", "midpoint", "rk4")


@dataclass(frozen=True)
class AtTestTime:
    """Test scores and evaluations of f by the solver used at test time.

    Args:
        tolerances: rtol = atol of the adaptive solvers.
        steps: Numbers of constant steps of the other solvers.
        examples: Number of test examples.
        batch: Examples in a batch.
    """

    tolerances: Tolerances
    steps: Counts
    examples: Count
    batch: Count

    def measure(self, run: TrainedRun) -> Measurement:
        model, task = run.model(), run.task
        part = solving_part(model)
        own: Solver = part.solver  # pyright: ignore[reportAssignmentType]
        usual, cost = self._test(run, model, part, own)
        count = len(next(iter(usual.values())))
        rows = [{"solver": "own", **_scores(usual, usual), **cost}]
        ts = record_solve(model, task, run.test_batches(1, 1)[0]).problem.ts
        for row, solver in self._solvers(abs(float(ts[-1] - ts[0]))):
            try:
                scores, cost = self._test(run, model, part, solver)
                row |= _scores(scores, usual) | cost
            except SolverError as failure:
                row["failure"] = str(failure)
            rows.append(row)
            run.print_progress(_format(row, task.selection_metric))
        ode = run.config.ode
        facts = {
            "examples": count,
            "batch": self.batch,
            "score": task.selection_metric,
            "trained_with": None if ode is None else f"{ode.solver.name} at rtol {ode.rtol:g}",
        }
        return Measurement(facts, rows)

    def _solvers(self, span: float) -> Iterator[tuple[Row, Solver]]:
        for name in ADAPTIVE:
            for tolerance in self.tolerances:
                yield {"solver": name, "tolerance": tolerance}, named_solver(name, tolerance)
        for name in STEPPING:
            for steps in self.steps:
                yield {"solver": name, "steps": steps}, stepping_solver(name, span / steps)

    def _test(
        self, run: TrainedRun, model: nn.Module, part: nn.Module, solver: Solver
    ) -> tuple[dict[str, Tensor], Row]:
        """The scores of each example, by metric, and their cost."""
        part.solver = solver  # pyright: ignore[reportArgumentType]
        # there is no backward solve, and some solvers would refuse its tolerances
        part.gradient = Adjoint()  # pyright: ignore[reportArgumentType]
        task, values = run.task, {}
        nfe, began = [], time.perf_counter()
        with torch.no_grad():
            for batch in run.test_batches(self.batch, math.ceil(self.examples / self.batch)):
                for name, value in task.scores(model, batch).items():
                    values.setdefault(name, []).append(value.double().cpu())
                stats = part.stats
                assert isinstance(stats, Stats)
                nfe.append(stats.nfe)
        seconds = time.perf_counter() - began
        scores = {name: torch.cat(parts)[: self.examples] for name, parts in values.items()}
        return scores, {"nfe_forward": sum(nfe) / len(nfe), "seconds": seconds}


def _scores(scores: Mapping[str, Tensor], usual: Mapping[str, Tensor]) -> Row:
    row: Row = {}
    for name, values in scores.items():
        difference = values - usual[name]
        row[name] = float(values.mean())
        row[f"{name}_standard_error"] = _standard_error(values)
        row[f"{name}_difference"] = float(difference.mean())
        row[f"{name}_difference_standard_error"] = _standard_error(difference)
    return row


def _standard_error(values: Tensor) -> float:
    return float(values.std(correction=0)) / math.sqrt(len(values))


def _format(row: Row, score: str) -> str:
    how = f"at {row['tolerance']:g}" if "tolerance" in row else f"in {row['steps']} steps"
    if "failure" in row:
        return f"{row['solver']} {how}: {row['failure']}"
    return (
        f"{row['solver']} {how}: {score} {row[score]:.4f} ± {row[f'{score}_standard_error']:.4f}, "
        f"{row[f'{score}_difference']:+.4f} ± {row[f'{score}_difference_standard_error']:.4f} "
        f"against its own solver, NFE {row['nfe_forward']:g}"
    )
