"""Cost of the backward solve by batch size, channels, solver, norm and first step.

The forward solve is at one tolerance, the backward solve at several. The error of a gradient is its
distance from that of a far more accurate backward solve from the same final state, so that it is
the error of the backward solve alone; the gradient error due to the forward solve is given beside
it. From these rows follow the evaluations of a backward solve at a given error of the gradient.

A norm that is one mean over n state numbers, n adjoint numbers and K parameters, of which the last
two are far below atol, is (2 + K/n)^(1/2) times smaller than the mean over the state alone. Steps
of a method whose error estimate is of order q + 1 in h are then longer by the (q + 1)-th root:
backward / forward evaluations = (2 + K/n)^(-1/(2 (q + 1))).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.norm import FLAT, FULL, SEMI, RmsNorm
from node_repro.ode.solution import SolverError
from node_repro.probes import (
    Count,
    Counts,
    Measurement,
    NotApplicable,
    Positive,
    Row,
    Tolerances,
    TrainedRun,
    Weights,
)
from node_repro.probes.solve import Solve, differentiate, in_float64, median, record_solve
from node_repro.training.build import named_solver

NORMS = {"full": FULL, "semi": SEMI, "flat": FLAT}
REFERENCE = "dopri5"


class Way(NamedTuple):
    """A backward solve: its solver, norm and first step ("inherited": the forward's last step)."""

    solver: str
    norm: str
    start: str

    def gradient(self, tolerance: float) -> Adjoint:
        """The adjoint method with rtol = atol = tolerance in the backward solve."""
        norm: RmsNorm = NORMS[self.norm]
        if self.start == "fresh":
            return Adjoint(norm, solver=named_solver(self.solver, tolerance))
        return Adjoint(norm, rtol=tolerance, atol=tolerance)


WAYS = (
    *(
        Way(solver, norm, start)
        for solver in ("dopri5", "tsit5")
        for norm in NORMS
        for start in ("fresh", "inherited")
    ),
    Way("vode_adams", "flat", "fresh"),  # scipy's integrators have one mean over everything
)


@dataclass(frozen=True)
class BackwardCost:
    """Evaluations and gradient error of backward solves.

    Args:
        tolerance: rtol = atol of the forward solves.
        tolerances: rtol = atol of the backward solves.
        sizes: Numbers of examples in a minibatch.
        batches: Number of test minibatches of each size.
        channels: Channels of further networks, with their initial weights.
        reference: Tolerance of the reference gradients in float64.
    """

    tolerance: Positive
    tolerances: Tolerances
    sizes: Counts
    batches: Count
    channels: Counts
    reference: Positive

    def measure(self, run: TrainedRun) -> Measurement:
        own = run.config.model.options.get("channels")
        if not isinstance(own, int):
            raise NotApplicable("a model with the option channels")
        rows: list[Row] = []
        others = [channels for channels in self.channels if channels != own]
        for channels in (own, *others):
            weights: Weights = "selected" if channels == own else "fresh"
            options = {} if channels == own else {"channels": channels}
            model, task = run.model(weights, **options), run.task
            for size in self.sizes:
                for k, batch in enumerate(run.test_batches(size, self.batches)):
                    solve = record_solve(model, task, batch)
                    head: Row = {
                        "channels": channels,
                        "weights": weights,
                        "size": size,
                        "batch": k,
                        "state_size": solve.problem.y0.numel(),
                        "parameters": sum(p.numel() for p in solve.parameters),
                    }
                    rows += [head | row for row in self._rows(solve)]
                run.print_progress(f"{channels} channels, minibatches of {size}: {_format(rows)}")
        facts = {
            "tolerance": self.tolerance,
            "trained": own,
            "reference": f"{REFERENCE} at {self.reference:g} in float64, fresh start, full norm",
        }
        return Measurement(facts, rows)

    def _rows(self, solve: Solve) -> Iterator[Row]:
        exact = in_float64(solve)
        tight = Way(REFERENCE, "full", "fresh").gradient(self.reference)
        true = differentiate(exact, named_solver(REFERENCE, self.reference), tight)
        for name in dict.fromkeys(way.solver for way in WAYS):
            solver = named_solver(name, self.tolerance)
            accurate = differentiate(exact, solver, tight)
            of_forward = _distance(accurate.by_parameters, true.by_parameters)
            head = {"solver": name, "forward_relative": of_forward["relative"]}
            for way in WAYS:
                if way.solver != name:
                    continue
                for tolerance in self.tolerances:
                    row = {**head, "norm": way.norm, "start": way.start, "tolerance": tolerance}
                    try:
                        passed = differentiate(solve, solver, way.gradient(tolerance))
                    except SolverError as failure:
                        yield row | {"failure": str(failure)}
                        continue
                    yield {
                        **row,
                        "nfe_forward": passed.stats.nfe,
                        "nfe_backward": passed.backward.nfe,
                        **_distance(passed.by_parameters, accurate.by_parameters),
                    }


def _distance(gradient: Tensor, exact: Tensor) -> dict[str, float]:
    """Relative error |g - g*| / |g*| and 1 - cos(g, g*)."""
    g, exact = gradient.double(), exact.double()
    cosine = (g @ exact) / (g.norm() * exact.norm())
    return {
        "relative": float((g - exact).norm() / exact.norm()),
        "one_minus_cosine": float(1 - cosine),
    }


def _format(rows: list[Row]) -> str:
    """Median evaluations at each tolerance with the paper's solver, for the last network."""
    last = rows[-1]
    same = ("channels", "size", "solver", "norm", "start", "tolerance")
    group = [row for row in rows if all(row[key] == last[key] for key in same)]
    known = [row for row in group if "failure" not in row]
    ratio = median([row["nfe_backward"] / row["nfe_forward"] for row in known])
    error = median([row["relative"] for row in known])
    return (
        f"{last['solver']} at {last['tolerance']:g} backward / forward {ratio:.2f}, "
        f"error of the gradient {error:.1e}"
    )
