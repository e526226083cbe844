"""How exact each gradient method is, against the tolerance.

On the run's own field and a small training batch. The truth is the direct method in float64 at a
far smaller tolerance; the loss is replaced by its linear part at the run's own solution, the same
for all, so that what is compared is the gradient method and not the loss. Backward solves keep to
the same tolerance as the forward one; the discrete methods have no error of their own beyond that
of the forward solve.
"""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from node_repro.ode.gradients.direct import Direct
from node_repro.ode.solution import SolverError
from node_repro.probes import Count, Findings, Finished, Row, Value, Values
from node_repro.probes.solve import Pass, Solve, differentiated, in_float64, recorded, refuse_slow
from node_repro.training.build import gradient_names, named_gradient, named_solver, undoes_steps

METHOD, REVERSIBLE = "dopri5", "reversible_dopri5"


class Gradient(NamedTuple):
    """With respect to the parameters and to y0, as vectors in float64."""

    parameters: Tensor
    y0: Tensor

    @classmethod
    def of(cls, found: Pass) -> "Gradient":
        return cls(found.by_parameters.double(), found.by_y0.double().reshape(-1))

    def against(self, true: "Gradient") -> dict[str, float]:
        """relative: |g - g*| / |g*|. cosine: of the angle between them, as 1 - cos."""
        found = {}
        for name, g, exact in zip(self._fields, self, true, strict=True):
            angle = (g @ exact) / (g.norm() * exact.norm())
            found[f"{name}_relative"] = float((g - exact).norm() / exact.norm())
            found[f"{name}_one_minus_cosine"] = float(1 - angle)
        return found


@dataclass(frozen=True)
class GradientError:
    """Error of every gradient method at several tolerances.

    Args:
        tolerances: Tolerances to measure at, each for rtol and atol.
        batch: Examples in a minibatch.
        reference: Tolerance of the reference gradient, in float64.
    """

    tolerances: Values
    batch: Count
    reference: Value

    def measure(self, run: Finished) -> Findings:
        solve = recorded(run.model(), run.task, run.training_batch(self.batch))
        exact = in_float64(solve)
        true, looser = (
            Gradient.of(differentiated(exact, named_solver(METHOD, tolerance), Direct()))
            for tolerance in (self.reference, 10 * self.reference)
        )
        run.say(f"reference: direct, {METHOD} at {self.reference:g} in float64")
        rows: list[Row] = []
        left_out: dict[str, str] = {}
        for name in gradient_names():
            for tolerance in self.tolerances:
                try:
                    row = _row(solve, name, tolerance, true)
                except SolverError as error:
                    if error.kind == "bad_input":
                        left_out[name] = str(error)
                        break
                    row = {"gradient": name, "tolerance": tolerance, "failure": str(error)}
                rows.append(row)
                if "failure" not in row:
                    run.say(
                        f"{name} at {tolerance:g}: relative error {row['parameters_relative']:.1e} "
                        f"of the parameters', {row['y0_relative']:.1e} of y0's"
                    )
        facts = {
            "examples": self.batch,
            "reference": f"direct, {METHOD} at {self.reference:g} in float64",
            "reference_at_ten_times_the_tolerance": looser.against(true),
            "state_size": solve.problem.y0.numel(),
            "parameters": len(true.parameters),
            "parameters_gradient_norm": float(true.parameters.norm()),
            "y0_gradient_norm": float(true.y0.norm()),
            "left_out": left_out,
        }
        return Findings(facts, rows)


def _row(solve: Solve, name: str, tolerance: float, true: Gradient) -> Row:
    solver = REVERSIBLE if undoes_steps(name) else METHOD
    gradient = named_gradient(name, tolerance)
    refuse_slow(solve, gradient)
    found = differentiated(solve, named_solver(solver, tolerance), gradient)
    return {
        "gradient": name,
        "solver": solver,
        "tolerance": tolerance,
        **Gradient.of(found).against(true),
        "nfe_forward": found.stats.nfe,
        "nfe_backward": found.backward.nfe,
        "nvjp_backward": found.backward.nvjp,
    }
