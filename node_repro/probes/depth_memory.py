"""Memory of residual and of reversible blocks as functions of their number (Gomez et al. 2017).

Blocks of the run's width with random weights map a random batch of states, as those between stem
and head, since bytes do not depend on values. They are those of tensors saved for the backward
pass, as in the probe `memory`. Reversible blocks recompute their states in the backward pass; the
rounding error of that is measured as the relative distance of their gradient from that of autograd
through the same blocks.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from node_repro.models.revnet import ReversibleBlocks, RevNet
from node_repro.models.stem import ResidualBlock
from node_repro.probes import Count, Counts, Measurement, NotApplicable, Row, TrainedRun
from node_repro.probes.solve import median_seconds
from node_repro.runs.meters import SavedBytes

SIDE = 7  # of the states behind the residual stem


@dataclass(frozen=True)
class DepthMemory:
    """Bytes and seconds of a gradient through consecutive blocks.

    Args:
        blocks: Numbers of blocks.
        batch: Examples of the batch.
        repeats: Number of gradients over which the median time is taken.
    """

    blocks: Counts
    batch: Count
    repeats: Count

    def measure(self, run: TrainedRun) -> Measurement:
        if not isinstance(run.model(), RevNet):
            raise NotApplicable("a reversible residual network (experiment=table1_revnet)")
        channels = run.config.model.options["channels"]
        assert isinstance(channels, int)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.config.seed)
            state = torch.randn(self.batch, channels, SIDE, SIDE).to(run.device, run.dtype)
            rows = [
                {"kind": kind, "blocks": count, **self._costs(network, state)}
                for count in self.blocks
                for kind, network in _networks(channels, count, state).items()
            ]
        for row in rows:
            run.print_progress(
                f"{row['blocks']} {row['kind']} blocks: {row['held_bytes'] / 2**20:.2f} MiB held"
            )
        facts = {"examples": self.batch, "channels": channels, "state_bytes": state.nbytes}
        return Measurement(facts, rows)

    def _costs(self, network: nn.Module, state: Tensor) -> Row:
        parameters = tuple(network.parameters())
        meter = SavedBytes(exclude=parameters)
        with meter:
            x = state.clone().requires_grad_()
            y = network(x)
            held = meter.held_bytes
            found = torch.autograd.grad(y.square().sum(), (x, *parameters))

        def gradient() -> None:
            torch.autograd.grad(network(x).square().sum(), (x, *parameters))

        return {
            "held_bytes": held,
            "peak_bytes": meter.peak_bytes,
            "seconds": median_seconds(gradient, state.device, self.repeats),
            "gradient_error": _distance_from_autograd(network, x, found),
        }


def _networks(channels: int, count: int, like: Tensor) -> Mapping[str, nn.Module]:
    kinds = {
        "residual": nn.Sequential(*(ResidualBlock(channels) for _ in range(count))),
        "reversible": ReversibleBlocks(channels, count),
    }
    return {kind: network.to(like) for kind, network in kinds.items()}


def _distance_from_autograd(
    network: nn.Module, x: Tensor, found: tuple[Tensor, ...]
) -> float | None:
    """Relative distance of reversible blocks' gradient from that of autograd; else None."""
    if not isinstance(network, ReversibleBlocks):
        return None
    y = x
    for block in network.blocks:
        y = block(y)
    plain = torch.autograd.grad(y.square().sum(), (x, *network.parameters()))
    ours, theirs = (torch.cat([g.reshape(-1).double() for g in gs]) for gs in (found, plain))
    return float((ours - theirs).norm() / theirs.norm())
