"""Cost of an iteration: evaluations of f and steps, as counted by the solvers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from node_repro.ode.block import SolvesODE
from node_repro.ode.solution import Stats
from node_repro.runs.metrics import get_metric


def reduce_over_processes(name: str, values: Sequence[float]) -> float:
    """Combine the values of the processes that share a batch by the metric's `reduction`."""
    reduction = get_metric(name).reduction
    if reduction == "mean":
        return sum(values) / len(values)
    return max(values) if reduction == "max" else min(values)


def solver_cost(model: nn.Module) -> dict[str, float]:
    """Cost of the last solves of all modules that solve an ODE; empty without such modules.

    Returns:
        Metric -> value: evaluations of f and steps as sums, step sizes as minimum, mean and
        maximum, the error of the reconstructed state as maximum.
    """
    solves = _solves(model)
    if not solves:
        return {}
    sizes = step_sizes(model)
    backward = [stats.backward or Stats() for stats in solves]
    errors = [s.reconstruction for s in backward if s.reconstruction is not None]
    return {
        "nfe_forward": sum(stats.nfe for stats in solves),
        "nfe_backward": sum(stats.nfe for stats in backward),
        "nvjp_backward": sum(stats.nvjp for stats in backward),
        "accepted": sum(stats.accepted for stats in solves),
        "rejected": sum(stats.rejected for stats in solves),
        "accepted_backward": sum(stats.accepted for stats in backward),
        "rejected_backward": sum(stats.rejected for stats in backward),
        "h_min": min(stats.h_min for stats in solves),
        "h_max": max(stats.h_max for stats in solves),
        **({"h_mean": sum(sizes) / len(sizes)} if sizes else {}),
        **({"reconstruction_error": max(errors)} if errors else {}),
    }


def step_sizes(model: nn.Module) -> list[float]:
    """The accepted steps |h| of the last forward solves."""
    return [h for stats in _solves(model) for h in stats.sizes]


def _solves(model: nn.Module) -> list[Stats]:
    return [module.stats for module in model.modules() if isinstance(module, SolvesODE)]


@dataclass
class Means:
    """Running means of named numbers, in plain containers that a checkpoint can hold."""

    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, values: Mapping[str, float]) -> None:
        """Add one value of each name."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """Return the means and reset them."""
        means = {name: total / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        return means
