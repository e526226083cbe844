"""Figure 3 d: evaluations of f over the training.

"measured" rows use the weights kept after every epoch, on a fixed set of test examples, each solved
by itself, at several tolerances, with the default solver and the paper's. "state" rows tell what
changes beside them: the size of the initial state and of the field, and how far the state moves. A
stem whose output grows makes a solve cheaper, and a field that grows makes it more expensive.

"recorded" rows come from the run's log: evaluations of f on the validation set, which is the same
in every epoch, and means over the training batches of an epoch, forward and backward.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from node_repro.probes import Count, Measurement, Row, Tolerances, TrainedRun, Weights
from node_repro.probes.solve import Solve, forward, record_solve, rms
from node_repro.training.build import named_solver

SOLVERS = ("dopri5", "vode_adams")


@dataclass(frozen=True)
class Epochs:
    """Evaluations of f over the training.

    Args:
        tolerances: rtol = atol of the solves with stored weights.
        examples: Number of test examples, each solved separately.
    """

    tolerances: Tolerances
    examples: Count

    def measure(self, run: TrainedRun) -> Measurement:
        rows: list[Row] = []
        task, batches = run.task, run.test_batches(1, self.examples)
        per_epoch = task.iterations_per_epoch
        for weights in _stored(run):
            model, step = run.model(weights), run.step(weights)
            solves = [record_solve(model, task, batch) for batch in batches]
            when: Row = {"step": step, "epoch": step / per_epoch if per_epoch else None}
            new = list(self._rows(solves))
            rows += [when | row for row in new]
            costs = [
                f"{row['solver']} {row['nfe_forward']:.1f} at {row['tolerance']:g}"
                for row in new
                if row["source"] == "measured"
            ]
            run.print_progress(f"after {step} iterations: NFE {', '.join(costs)}")
        facts = {
            "examples": len(batches),
            "iterations_per_epoch": per_epoch,
            "kept": len(run.kept_steps),
            "recorded": "nfe_forward: mean over the batches of the validation set; "
            "nfe_forward_training, nfe_backward_training: means over the training batches since "
            "the line before",
        }
        return Measurement(facts, [*_recorded(run, per_epoch), *rows])

    def _rows(self, solves: list[Solve]) -> Iterator[Row]:
        for name in SOLVERS:
            for tolerance in self.tolerances:
                solver = named_solver(name, tolerance)
                nfe = [forward(solve, solver).stats.nfe for solve in solves]
                yield {
                    "source": "measured",
                    "solver": name,
                    "tolerance": tolerance,
                    "nfe_forward": sum(nfe) / len(nfe),
                    "nfe_each": nfe,
                }
        yield {"source": "state", **_states(solves, min(self.tolerances))}


def _stored(run: TrainedRun) -> list[Weights]:
    """The initial weights, those that were kept, and the last ones."""
    kept: list[Weights] = list(run.kept_steps)
    return ["fresh", *kept] if kept and kept[-1] == run.step("last") else ["fresh", *kept, "last"]


def _states(solves: list[Solve], tolerance: float) -> Row:
    """Means over examples of |z0|, |f(t0, z0)| and |z1 - z0| / |z0|, with root mean squares."""
    sizes, rates, moves = [], [], []
    solver = named_solver(SOLVERS[0], tolerance)
    for solve in solves:
        y0, ts = solve.problem.y0, solve.problem.ts
        with torch.no_grad():
            rates.append(rms(solve.problem.f(ts[0].to(y0), y0)))
        sizes.append(rms(y0))
        moves.append(rms(forward(solve, solver).ys[-1] - y0) / sizes[-1])
    count = len(solves)
    return {
        "state_rms": sum(sizes) / count,
        "field_rms": sum(rates) / count,
        "displacement": sum(moves) / count,
    }


def _recorded(run: TrainedRun, per_epoch: int | None) -> Iterator[Row]:
    """One row for each validation during training."""
    training = {line["step"]: line for line in run.metrics if line["split"] == "epoch"}
    for line in run.metrics:
        if line["split"] == "validation":
            step, mean = line["step"], training.get(line["step"], {})
            yield {
                "source": "recorded",
                "step": step,
                "epoch": step / per_epoch if per_epoch else None,
                "nfe_forward": line.get("nfe_forward"),
                "nfe_forward_training": mean.get("nfe_forward"),
                "nfe_backward_training": mean.get("nfe_backward"),
            }
