"""Figure 3 d: evaluations of f during training.

"recorded" rows come from the run's log: evaluations of f on the validation set, which is the same
in every epoch, and means over the training batches of an epoch, forward and backward. Weights of
single epochs are not stored, so "measured" rows use the initial, the selected and the last weights,
on single test examples, at several tolerances, with the default solver and the paper's.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from node_repro.probes import Count, Measurement, Row, Tolerances, TrainedRun, Weights
from node_repro.probes.solve import Solve, differentiate, record_solve
from node_repro.training.build import named_gradient, named_solver

WAYS = (("dopri5", "adjoint"), ("vode_adams", "adjoint_flat"))
WEIGHTS: tuple[Weights, ...] = ("fresh", "selected", "last")


@dataclass(frozen=True)
class Epochs:
    """Evaluations of f during training.

    Args:
        tolerances: rtol = atol of the solves with stored weights.
        examples: Number of test examples, each solved separately.
    """

    tolerances: Tolerances
    examples: Count

    def measure(self, run: TrainedRun) -> Measurement:
        rows: list[Row] = []
        task, batches = run.task, run.test_batches(1, self.examples)
        for weights in WEIGHTS:
            model = run.model(weights)
            solves = [record_solve(model, task, batch) for batch in batches]
            for solver, gradient in WAYS:
                for tolerance in self.tolerances:
                    cost = _cost(solves, solver, gradient, tolerance)
                    step = run.step(weights)
                    rows.append({"source": "measured", "weights": weights, "step": step, **cost})
                    run.print_progress(
                        f"{weights}, {solver} at {tolerance:g}: NFE {cost['nfe_forward']:.1f} / "
                        f"{cost['nfe_backward']:.1f}"
                    )
        facts = {
            "examples": len(batches),
            "iterations_per_epoch": task.iterations_per_epoch,
            "recorded": "nfe_forward: mean over the batches of the validation set; "
            "nfe_forward_training, nfe_backward_training: means over the training batches since "
            "the line before",
            "measured": "means over single test examples; weights of single epochs are not kept",
        }
        return Measurement(facts, [*_recorded(run), *rows])


def _cost(solves: list[Solve], solver: str, gradient: str, tolerance: float) -> Row:
    method, differentiator = named_solver(solver, tolerance), named_gradient(gradient, tolerance)
    passes = [differentiate(solve, method, differentiator) for solve in solves]
    forward = [each.stats.nfe for each in passes]
    backward = [each.backward.nfe for each in passes]
    return {
        "solver": solver,
        "gradient": gradient,
        "tolerance": tolerance,
        "nfe_forward": sum(forward) / len(forward),
        "nfe_forward_min": min(forward),
        "nfe_forward_max": max(forward),
        "nfe_backward": sum(backward) / len(backward),
        "nfe_backward_min": min(backward),
        "nfe_backward_max": max(backward),
    }


def _recorded(run: TrainedRun) -> Iterator[Row]:
    """One row for each validation during training."""
    training = {line["step"]: line for line in run.metrics if line["split"] == "epoch"}
    for line in run.metrics:
        if line["split"] == "validation":
            mean = training.get(line["step"], {})
            yield {
                "source": "recorded",
                "step": line["step"],
                "nfe_forward": line.get("nfe_forward"),
                "nfe_forward_training": mean.get("nfe_forward"),
                "nfe_backward_training": mean.get("nfe_backward"),
            }
