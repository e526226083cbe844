"""Cost of solving a minibatch as one system (section 6 of the paper, "minibatching").

All examples of a minibatch share one sequence of steps. `nfe_batch / nfe_mean` compares the
evaluations of f of the minibatch with those of the same examples solved one at a time.
`nfe_batch / nfe_max` shows whether the most expensive example determines the cost, which need not
be so, since the error is a mean over the minibatch.
"""

from dataclasses import dataclass

from node_repro.probes import Count, Measurement, Row, Tolerances, TrainedRun
from node_repro.probes.solve import forward, median, record_test_solves
from node_repro.training.build import named_solver

SOLVERS = ("dopri5", "vode_adams")


@dataclass(frozen=True)
class MinibatchCost:
    """Evaluations of f of a minibatch and of its examples solved separately.

    Args:
        tolerances: rtol = atol of the solves.
        batches: Number of test minibatches.
        batch: Examples in a minibatch.
    """

    tolerances: Tolerances
    batches: Count
    batch: Count

    def measure(self, run: TrainedRun) -> Measurement:
        whole = record_test_solves(run, self.batch, self.batches)
        single = record_test_solves(run, 1, self.batch * self.batches)
        rows: list[Row] = []
        for name in SOLVERS:
            for tolerance in self.tolerances:
                solver = named_solver(name, tolerance)
                alone = [forward(solve, solver).stats.nfe for solve in single]
                new = []
                for k, solve in enumerate(whole):
                    own = alone[k * self.batch : (k + 1) * self.batch]
                    together = forward(solve, solver).stats.nfe
                    new.append(
                        {
                            "solver": name,
                            "tolerance": tolerance,
                            "batch": k,
                            "examples": len(own),
                            "nfe_batch": together,
                            "nfe_min": min(own),
                            "nfe_mean": sum(own) / len(own),
                            "nfe_max": max(own),
                            "batch_over_mean": together * len(own) / sum(own),
                            "batch_over_max": together / max(own),
                        }
                    )
                rows += new
                over_mean, over_max = (
                    median([row[key] for row in new])
                    for key in ("batch_over_mean", "batch_over_max")
                )
                run.print_progress(
                    f"{name} at {tolerance:g}: a minibatch takes {over_mean:.2f} times the mean of "
                    f"its examples, {over_max:.2f} times the most"
                )
        return Measurement({"examples_a_batch": self.batch}, rows)
