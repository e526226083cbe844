"""Cost of forward sensitivities (D^2 + K D numbers) and of the adjoint method (2 D + K + 1).

Both differentiate the same solve, by dopri5 with a fixed number of steps: that of small networks
with one hidden layer, f(y) = W2 tanh(W1 y), for several sizes D of the state and K of the
parameters; and the run's own solve of one training example, if it is small enough. `numbers` is the
size of the integrated state in the larger solve of the method. Forward sensitivities include y; the
adjoint method evaluates the gradient with respect to time at the ends instead of integrating it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from node_repro.ode.engines import DEFAULT_OPTIONS, SolveOptions, Trajectory
from node_repro.ode.gradients import Problem
from node_repro.ode.methods import Field, State
from node_repro.ode.solution import SolverError
from node_repro.ode.solver import Solver
from node_repro.probes import Count, Counts, Measurement, Row, TrainedRun
from node_repro.probes.solve import Solve, differentiate, median, record_solve, refuse_slow
from node_repro.runs.meters import SavedBytes, peak_memory_bytes, reset_peak_memory
from node_repro.training.build import named_gradient, stepping_solver

METHOD, STEPS = "dopri5", 10
GRADIENTS = ("forward", "adjoint")


class Small(nn.Module):
    """f(y) = W2 tanh(W1 y + b1) + b2, K = hidden (2 D + 1) + D parameters. y: (D,)."""

    def __init__(self, states: int, hidden: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(states, hidden), nn.Linear(hidden, states)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.outer(torch.tanh(self.inner(y)))


@dataclass
class Counting:
    """A solver that records the size of the largest state it solves, including integrals."""

    inner: Solver
    numbers: int = 0

    @property
    def differentiable(self) -> bool:
        return self.inner.differentiable

    @property
    def controls_error(self) -> bool:
        return self.inner.controls_error

    def with_tolerance(self, rtol: float | Tensor | None, atol: float | Tensor | None) -> Solver:
        return self

    def solve(
        self, f: Field, state: State, ts: Tensor, options: SolveOptions = DEFAULT_OPTIONS
    ) -> Trajectory:
        size = state.y.numel() + sum(q.numel() for q in state.integrals)
        self.numbers = max(self.numbers, size)
        return self.inner.solve(f, state, ts, options)


@dataclass(frozen=True)
class SensitivityCost:
    """Numbers integrated, seconds and bytes of two gradient methods.

    Args:
        states: Sizes D of the state of the small networks.
        hidden: Hidden units of the small networks.
        repeats: Number of gradients over which the median time is taken.
    """

    states: Counts
    hidden: Counts
    repeats: Count

    def measure(self, run: TrainedRun) -> Measurement:
        own = _without_inner_outputs(record_solve(run.model(), run.task, run.training_batch(1)))
        rows: list[Row] = []
        left_out: dict[str, str] = {}
        for field, solve in (("run", own), *self._small(run)):
            for gradient in GRADIENTS:
                try:
                    row = {"field": field, **self._costs(solve, gradient)}
                except SolverError as error:
                    left_out[f"{field} {gradient}"] = str(error)
                    continue
                rows.append(row)
                run.print_progress(
                    f"{field}: D {row['states']}, K {row['parameters']}, {gradient}: "
                    f"{row['numbers']} numbers, {row['seconds']:.4f} s"
                )
        facts = {"method": METHOD, "steps": STEPS, "left_out": left_out}
        return Measurement(facts, rows)

    def _small(self, run: TrainedRun) -> Iterator[tuple[str, Solve]]:
        for states in self.states:
            for hidden in self.hidden:
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(run.config.seed)
                    f = Small(states, hidden).to(run.device, run.dtype)
                    y0 = torch.randn(states).to(run.device, run.dtype)
                ts = torch.tensor([0.0, 1.0], dtype=torch.float64)
                cotangent = torch.zeros(2, states).to(y0)
                cotangent[-1] = 1
                yield "small", Solve(Problem(f, y0, ts, tuple(f.parameters())), cotangent)

    def _costs(self, solve: Solve, gradient_name: str) -> Row:
        ts, device = solve.problem.ts, solve.problem.y0.device
        solver = Counting(stepping_solver(METHOD, abs(float(ts[-1] - ts[0])) / STEPS))
        gradient = named_gradient(gradient_name, None)
        refuse_slow(solve, gradient)
        meter = SavedBytes(exclude=solve.parameters)
        with meter:
            differentiate(solve, solver, gradient)
        reset_peak_memory(device)
        before = peak_memory_bytes(device)
        passes = [differentiate(solve, solver, gradient)]
        after = peak_memory_bytes(device)
        passes += [differentiate(solve, solver, gradient) for _ in range(self.repeats)]
        d, k = solve.problem.y0.numel(), sum(p.numel() for p in solve.parameters)
        return {
            "gradient": gradient_name,
            "states": d,
            "parameters": k,
            "numbers": solver.numbers,
            "numbers_paper": d * d + k * d if gradient_name == "forward" else 2 * d + k + 1,
            "seconds": median([p.forward_seconds + p.backward_seconds for p in passes[1:]]),
            "peak_bytes": meter.peak_bytes,
            "cuda_peak_bytes": None if before is None or after is None else after - before,
            "nfe_forward": passes[0].stats.nfe,
            "nfe_backward": passes[0].backward.nfe,
            "nvjp": passes[0].stats.nvjp + passes[0].backward.nvjp,
        }


def _without_inner_outputs(solve: Solve) -> Solve:
    """The solve with only its first and last outputs."""
    ends = [0, -1]
    return Solve(
        solve.problem._replace(ts=solve.problem.ts[ends]), solve.cotangent[ends].contiguous()
    )
