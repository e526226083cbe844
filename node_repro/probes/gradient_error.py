"""Errors of the gradient methods as functions of the tolerance.

The solve is that of the run, on a small training batch. The reference is the direct method in
float64 at a far smaller tolerance. The loss is replaced by its linearisation at the run's own
solution, the same for all, so that gradient methods are compared and not values of the loss.
Backward solves use the tolerance of the forward solve; the discrete methods have no error beyond
that of the forward solve. Constant steps of one method show the order of the error.

A field with kinks, as from relu, is measured a second time with a smooth activation and the same
weights. The field's derivative jumps at a kink, so that the error of a gradient is of first order
in the step size there, whatever the order of the method.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from node_repro.models import HasSmoothTwin
from node_repro.ode.gradients.direct import Direct
from node_repro.ode.solution import SolverError
from node_repro.probes import Count, Counts, Measurement, Positive, Row, Tolerances, TrainedRun
from node_repro.probes.solve import (
    Pass,
    Solve,
    differentiate,
    in_float64,
    record_solve,
    refuse_slow,
)
from node_repro.training.build import (
    gradient_names,
    named_gradient,
    named_solver,
    stepping_solver,
    undoes_steps,
)

METHOD, REVERSIBLE = "dopri5", "reversible_dopri5"
STEPPING = "rk4"


class Gradient(NamedTuple):
    """Gradients with respect to the parameters and to y0, as vectors in float64."""

    parameters: Tensor
    y0: Tensor

    @classmethod
    def from_pass(cls, passed: Pass) -> "Gradient":
        return cls(passed.by_parameters.double(), passed.by_y0.double().reshape(-1))

    def against(self, true: "Gradient") -> dict[str, float]:
        """Relative error |g - g*| / |g*| and 1 - cos(g, g*), for both gradients."""
        errors = {}
        for name, g, exact in zip(self._fields, self, true, strict=True):
            cosine = (g @ exact) / (g.norm() * exact.norm())
            errors[f"{name}_relative"] = float((g - exact).norm() / exact.norm())
            errors[f"{name}_one_minus_cosine"] = float(1 - cosine)
        return errors


@dataclass(frozen=True)
class GradientError:
    """Relative errors of the gradients, by gradient method and field.

    Args:
        tolerances: rtol = atol of the solves.
        steps: Numbers of constant steps of the direct method, in float64.
        batch: Examples in the training batch.
        reference: Tolerance of the reference gradient.
    """

    tolerances: Tolerances
    steps: Counts
    batch: Count
    reference: Positive

    def measure(self, run: TrainedRun) -> Measurement:
        solve = record_solve(run.model(), run.task, run.training_batch(self.batch))
        ode = run.config.ode
        facts: dict[str, object] = {
            "examples": self.batch,
            "reference": f"direct, {METHOD} at {self.reference:g} in float64",
            "trained_at": ode.rtol if ode is not None and ode.error_controlled else None,
            "state_size": solve.problem.y0.numel(),
            "parameters": sum(p.numel() for p in solve.parameters),
        }
        rows: list[Row] = []
        accuracy: dict[str, dict[str, float]] = {}
        norms: dict[str, dict[str, float]] = {}
        left_out: dict[str, str] = {}
        for field, one in _fields(solve):
            true, looser = self._references(one)
            accuracy[field] = looser.against(true)
            norms[field] = {part: float(g.norm()) for part, g in true._asdict().items()}
            run.print_progress(f"{field} field: {facts['reference']}")
            rows += [{"field": field, **row} for row in self._rows(run, one, true, left_out)]
            exact = in_float64(one)
            rows += [{"field": field, **_stepping_row(exact, n, true)} for n in self.steps]
        facts |= {"reference_at_ten_times_the_tolerance": accuracy, "gradient_norms": norms}
        facts["left_out"] = left_out
        return Measurement(facts, rows)

    def _references(self, solve: Solve) -> tuple[Gradient, Gradient]:
        """The reference gradient, and the same at ten times its tolerance."""
        exact = in_float64(solve)
        true, looser = (
            Gradient.from_pass(differentiate(exact, named_solver(METHOD, tolerance), Direct()))
            for tolerance in (self.reference, 10 * self.reference)
        )
        return true, looser

    def _rows(
        self, run: TrainedRun, solve: Solve, true: Gradient, left_out: dict[str, str]
    ) -> Iterator[Row]:
        """A row for each method and tolerance; methods that refuse the solve go to `left_out`."""
        for name in gradient_names():
            for tolerance in self.tolerances:
                try:
                    row = _row(solve, name, tolerance, true)
                except SolverError as error:
                    if error.kind == "bad_input":
                        left_out[name] = str(error)
                        break
                    row = {"gradient": name, "tolerance": tolerance, "failure": str(error)}
                yield row
                if "failure" not in row:
                    run.print_progress(
                        f"{name} at {tolerance:g}: relative error of the gradient "
                        f"{row['parameters_relative']:.1e} (parameters), "
                        f"{row['y0_relative']:.1e} (y0)"
                    )


def _fields(solve: Solve) -> Iterator[tuple[str, Solve]]:
    """The solve of the model's own field, and of its smooth twin if the field has kinks."""
    yield "own", solve
    f = solve.problem.f
    twin = f.smooth_twin() if isinstance(f, HasSmoothTwin) else None
    if twin is not None:
        parameters = tuple(p for p in twin.parameters() if p.requires_grad)
        problem = solve.problem._replace(f=twin, parameters=parameters)
        yield "smooth", solve._replace(problem=problem)


def _row(solve: Solve, name: str, tolerance: float, true: Gradient) -> Row:
    solver = REVERSIBLE if undoes_steps(name) else METHOD
    gradient = named_gradient(name, tolerance)
    refuse_slow(solve, gradient)
    passed = differentiate(solve, named_solver(solver, tolerance), gradient)
    return {
        "gradient": name,
        "solver": solver,
        "tolerance": tolerance,
        **Gradient.from_pass(passed).against(true),
        "nfe_forward": passed.stats.nfe,
        "nfe_backward": passed.backward.nfe,
        "nvjp_backward": passed.backward.nvjp,
    }


def _stepping_row(solve: Solve, steps: int, true: Gradient) -> Row:
    ts = solve.problem.ts
    solver = stepping_solver(STEPPING, abs(float(ts[-1] - ts[0])) / steps)
    passed = differentiate(solve, solver, Direct())
    return {
        "gradient": "direct",
        "solver": STEPPING,
        "steps": steps,
        **Gradient.from_pass(passed).against(true),
        "nfe_forward": passed.stats.nfe,
    }
