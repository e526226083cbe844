"""Memory and time of each gradient method as functions of the number of steps (table 1).

The solve is that of the run, on one training batch, by dopri5 with constant steps (for the
reversible method, by its coupled form). Bytes are those of tensors saved for the backward pass,
counting every storage once and excluding parameters, so they are the same on every machine: the
bytes held at the end of the forward pass, and the maximum until the end of the backward pass. On
CUDA, the increase of the peak of allocated memory is measured too.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from node_repro.ode.gradients import GradientMethod
from node_repro.ode.solution import SolverError
from node_repro.ode.solver import Solver
from node_repro.probes import Count, Counts, Measurement, Row, TrainedRun
from node_repro.probes.solve import Solve, differentiate, median, record_solve, refuse_slow
from node_repro.runs.meters import SavedBytes, peak_memory_bytes, reset_peak_memory
from node_repro.training.build import gradient_names, named_gradient, stepping_solver, undoes_steps

METHOD, REVERSIBLE = "dopri5", "reversible_dopri5"
GROWING = ("held_bytes", "peak_bytes", "cuda_peak_bytes", "forward_seconds", "backward_seconds")


@dataclass(frozen=True)
class Memory:
    """Bytes and seconds of each gradient method.

    Args:
        steps: Numbers of constant steps of a solve.
        batch: Examples in the training batch.
        repeats: Number of gradients over which the median time is taken.
    """

    steps: Counts
    batch: Count
    repeats: Count

    def measure(self, run: TrainedRun) -> Measurement:
        solve = record_solve(run.model(), run.task, run.training_batch(self.batch))
        ts = solve.problem.ts
        span = abs(float(ts[-1] - ts[0]))
        rows: list[Row] = []
        left_out: dict[str, str] = {}
        for name in gradient_names():
            gradient = named_gradient(name, None)
            method = REVERSIBLE if undoes_steps(name) else METHOD
            for steps in self.steps:
                solver = stepping_solver(method, span / steps)
                try:
                    refuse_slow(solve, gradient)
                    costs = self._costs(solve, solver, gradient)
                except SolverError as error:
                    left_out[name] = str(error)
                    run.print_progress(f"{name} is left out: {error}")
                    break
                rows.append({"gradient": name, "solver": method, "steps": steps, **costs})
            if name not in left_out:
                run.print_progress(_format(name, rows))
        facts = {
            "examples": self.batch,
            "state_size": solve.problem.y0.numel(),
            "state_bytes": solve.problem.y0.nbytes,
            "parameters": sum(p.numel() for p in solve.parameters),
            "outputs": len(ts) - 1,
            "left_out": left_out,
            "growth_a_step": _growth(rows),
        }
        return Measurement(facts, rows)

    def _costs(self, solve: Solve, solver: Solver, gradient: GradientMethod) -> Row:
        device = solve.problem.y0.device
        meter = SavedBytes(exclude=solve.parameters)
        with meter:
            y0 = solve.problem.y0.clone().requires_grad_()
            solution = gradient.solve(solve.problem._replace(y0=y0), solver)
            held = meter.held_bytes
            torch.autograd.grad(
                solution.ys, (y0, *solve.parameters), solve.cotangent, allow_unused=True
            )
        del solution
        reset_peak_memory(device)
        before = peak_memory_bytes(device)
        passes = [differentiate(solve, solver, gradient)]
        after = peak_memory_bytes(device)
        passes += [differentiate(solve, solver, gradient) for _ in range(self.repeats)]
        stats, backward = passes[0].stats, passes[0].backward
        return {
            "held_bytes": held,
            "peak_bytes": meter.peak_bytes,
            "cuda_peak_bytes": None if before is None or after is None else after - before,
            "nfe_forward": stats.nfe,
            "nfe_backward": backward.nfe,
            "nvjp_backward": backward.nvjp,
            "forward_seconds": median([each.forward_seconds for each in passes[1:]]),
            "backward_seconds": median([each.backward_seconds for each in passes[1:]]),
        }


def _growth(rows: list[Row]) -> dict[str, Mapping[str, float]]:
    """Gradient method -> increase per step, as the slope of a least-squares line."""
    growth = {}
    for name in dict.fromkeys(str(row["gradient"]) for row in rows):
        selected = [row for row in rows if row["gradient"] == name]
        if len(selected) > 1:
            steps = np.array([row["steps"] for row in selected], dtype=float)
            growth[name] = {
                key: float(np.polyfit(steps, [float(row[key]) for row in selected], 1)[0])
                for key in GROWING
                if selected[0][key] is not None
            }
    return growth


def _format(name: str, rows: list[Row]) -> str:
    selected = [row for row in rows if row["gradient"] == name]
    cells = (f"{row['steps']}: {float(row['held_bytes']) / 2**20:.2f}" for row in selected)
    return f"{name}: MiB held by steps, {', '.join(cells)}"
