"""What solving a minibatch as one system costs (section 6 of the paper, "minibatching").

All examples of a minibatch share one sequence of steps. Its evaluations of f are compared with
those of the same examples solved one at a time: `nfe_batch / nfe_mean` is how much more work the
shared steps are, and whether `nfe_batch` exceeds `nfe_max` says if the worst example decides. The
error is judged by one mean over the minibatch, so that it need not.
"""

from dataclasses import dataclass

from node_repro.probes import Count, Findings, Finished, Row, Values
from node_repro.probes.solve import forward, median, tested
from node_repro.training.build import named_solver

SOLVERS = ("dopri5", "vode_adams")


@dataclass(frozen=True)
class MinibatchCost:
    """Evaluations of f for a minibatch and for each of its examples.

    Args:
        tolerances: Tolerances to measure at, each for rtol and atol.
        batches: Number of test minibatches.
        batch: Examples in a minibatch.
    """

    tolerances: Values
    batches: Count
    batch: Count

    def measure(self, run: Finished) -> Findings:
        whole = tested(run, self.batch, self.batches)
        single = tested(run, 1, self.batch * self.batches)
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
                run.say(
                    f"{name} at {tolerance:g}: a minibatch takes {over_mean:.2f} times the mean of "
                    f"its examples, {over_max:.2f} times the most"
                )
        return Findings({"examples_a_batch": self.batch}, rows)
