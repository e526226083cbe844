"""Comparison of solvers on one learned field, from Euler's method to adaptive steps.

A residual network is Euler's method with one step per layer. The field learned by an ODE network is
solved in this way, by Euler's method with smaller steps, by methods of higher order, and with error
control. The probe draws where each method evaluates the field, and its error as a function of the
number of evaluations. Computations are in float64, so that errors are those of the methods.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from node_repro.ode.solver import Solver
from node_repro.probes import (
    Count,
    Counts,
    Measurement,
    NotApplicable,
    Positive,
    Tolerances,
    TrainedRun,
)
from node_repro.probes.solve import Distance, Solve, forward, in_float64, record_test_solves, rms
from node_repro.training.build import named_solver, stepping_solver

STEPPING = ("euler", "midpoint", "rk4")
ADAPTIVE = "dopri5"
REFERENCE = "dopri8"
DRAWN_TOLERANCE = 1e-3
FINE = 5  # steps per layer of the finer Euler solve in the picture
CURVE = 101  # output times of solves drawn as curves
ROUNDING = 1e-11  # errors below it are those of rounding and of the reference


class Drawn(NamedTuple):
    """One solver in the picture.

    Attributes:
        title: Title of the panel.
        ts: Times (T,).
        z: States (T, B).
        evaluated_t: Times (B, n) at which the field was evaluated for each of B initial states
            solved separately, padded with NaN.
        evaluated_z: States (B, n) at these times.
    """

    title: str
    ts: np.ndarray
    z: np.ndarray
    evaluated_t: np.ndarray
    evaluated_z: np.ndarray


@dataclass(frozen=True)
class Solvers:
    """Errors and evaluations of f of several methods on one field.

    Args:
        steps: Numbers of constant steps over the whole depth.
        tolerances: rtol = atol of the adaptive method.
        batch: Number of test inputs whose errors are averaged.
        drawn: Number of test inputs in the picture.
        reference: Tolerance of the reference solve.
    """

    steps: Counts
    tolerances: Tolerances
    batch: Count
    drawn: Count
    reference: Positive

    def measure(self, run: TrainedRun) -> Measurement:
        from node_repro.figures import npz, solvers

        solve = in_float64(record_test_solves(run, self.batch, 1)[0])
        if solve.problem.y0.shape[1:] != (1,):
            raise NotApplicable("a state of one number (experiment=fig1_odenet)")
        exact = forward(solve, named_solver(REFERENCE, self.reference))
        rows = [
            _row(solve, exact.ys[-1], name, stepping_solver(name, _depth(solve) / n), steps=int(n))
            for name in STEPPING
            for n in self.steps
        ] + [
            _row(solve, exact.ys[-1], ADAPTIVE, named_solver(ADAPTIVE, tol), tolerance=tol)
            for tol in self.tolerances
        ]
        for row in rows:
            run.print_progress(
                f"{row['solver']} {row['steps'] or row['tolerance']:g}: NFE {row['nfe']}, error "
                f"{row['error_rms']:.1e}"
            )
        panels = self._draw(solve)
        facts = {
            "reference": f"{REFERENCE} at {self.reference:g} in float64",
            "reference_nfe": exact.stats.nfe,
            "examples": len(solve.problem.y0),
            "depth": _depth(solve),
            "state_rms": rms(exact.ys[-1]),
            "observed_order": {name: _order(rows, name) for name in STEPPING},
        }
        arrays = {f"{k}_{name}": v for k, p in enumerate(panels) for name, v in p._asdict().items()}
        files = {
            "solvers_paths.png": solvers.paths([panel._asdict() for panel in panels]),
            "solvers_error.png": solvers.errors(rows),
            "solvers_paths.npz": npz(**arrays),
        }
        return Measurement(facts, rows, files)

    def _draw(self, solve: Solve) -> list[Drawn]:
        """Solve from the same initial states with each solver; the first one is the reference.

        The initial states are spaced evenly in the order of the test inputs.
        """
        starts = solve.problem.y0.sort(dim=0).values
        chosen = torch.linspace(0, len(starts) - 1, self.drawn).round().long()
        few = solve._replace(problem=solve.problem._replace(y0=starts[chosen]))
        layers = round(_depth(solve))
        ways = [("reference", named_solver(REFERENCE, self.reference), None)]
        ways += [
            ("Euler, step 1: a ResNet", stepping_solver("euler", 1.0), layers),
            (f"Euler, step 1/{FINE}", stepping_solver("euler", 1 / FINE), FINE * layers),
            ("midpoint, step 1", stepping_solver("midpoint", 1.0), layers),
            ("RK4, step 1", stepping_solver("rk4", 1.0), layers),
            (f"dopri5, {DRAWN_TOLERANCE:g}", named_solver(ADAPTIVE, DRAWN_TOLERANCE), None),
        ]
        return [_way(few, title, solver, steps) for title, solver, steps in ways]


def _depth(solve: Solve) -> float:
    return abs(float(solve.problem.ts[-1] - solve.problem.ts[0]))


def _row(
    solve: Solve,
    exact: Tensor,
    name: str,
    solver: Solver,
    *,
    steps: int | None = None,
    tolerance: float | None = None,
) -> dict:
    ys, stats = forward(solve, solver)
    error = Distance.between(ys[-1], exact)
    return {
        "solver": name,
        "steps": steps,
        "tolerance": tolerance,
        "nfe": stats.nfe,
        "accepted": stats.accepted,
        "rejected": stats.rejected,
        **{f"error_{key}": value for key, value in error._asdict().items()},
    }


def _order(rows: Sequence[dict], name: str) -> float:
    """Observed order: slope of log error over log step of the two finest steps above rounding."""
    usable = [row for row in rows if row["solver"] == name and row["error_rms"] > ROUNDING]
    if len(usable) < 2:
        return math.nan
    coarse, fine = sorted(usable, key=lambda row: row["steps"])[-2:]
    return math.log(coarse["error_rms"] / fine["error_rms"]) / math.log(
        fine["steps"] / coarse["steps"]
    )


def _way(solve: Solve, title: str, solver: Solver, steps: int | None) -> Drawn:
    """Solve for the picture; output after each of `steps` equal steps (None: on a fine grid)."""
    problem = solve.problem
    t0, t1 = problem.ts[0], problem.ts[-1]
    ts = torch.linspace(float(t0), float(t1), CURVE if steps is None else steps + 1).double()
    states, places = [], []
    for start in problem.y0.split(1):
        seen: list[tuple[Tensor, Tensor]] = []

        def recorded(t: Tensor, z: Tensor, seen: list = seen) -> Tensor:
            seen.append((t.reshape(1), z[:, 0]))
            return problem.f(t, z)

        single = problem._replace(f=recorded, y0=start, ts=ts, parameters=(), explicit=False)
        states.append(forward(solve._replace(problem=single), solver).ys[:, :, 0])
        places.append(tuple(torch.cat(part) for part in zip(*seen, strict=True)))
    at, z = (_padded([place[i] for place in places]) for i in range(2))
    return Drawn(title, ts.numpy(), torch.cat(states, dim=1).cpu().numpy(), at, z)


def _padded(rows: list[Tensor]) -> np.ndarray:
    """Stack vectors of different lengths as rows, padded with NaN."""
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=math.nan)
    return padded.detach().cpu().numpy()
