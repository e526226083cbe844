"""Density matching (section 4.1 of the paper, figure 4): the flow's points, the target's energy.

loss = E[log q(x) + U(x)] with x from the flow = KL(q | p) - log Z, so its floor is -log Z.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from node_repro.data.energies import Energy
from node_repro.data.seeds import generator
from node_repro.tasks import Loss, Picture
from node_repro.tasks.flow import GRID, Square, as_flow, density_on

COUNTS = {"validation": 2_000, "test": 10_000}
SIDE = 4.0


class Batch(NamedTuple):
    """z: (B, 2) of the base. height: what the energy is multiplied with."""

    z: Tensor
    height: float


class DensityMatch:
    """data: the target. annealing: over how many iterations the energy grows from 0.01 U to U
    (Rezende and Mohamed 2015); None for U from the start.
    """

    loss_metric = "loss_nats"
    selected_by = "loss_nats"
    iterations_per_epoch = None

    def __init__(
        self,
        *,
        data: Energy,
        annealing: int | None,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.energy, self.annealing = data, annealing
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.seed, self.device, self.dtype = seed, device, dtype

    @property
    def sizes(self) -> Mapping[str, int]:
        return {}

    def training_batches(self, epoch: int, start: int) -> Iterator[Batch]:
        index = start
        while True:
            height = min(1.0, 0.01 + index / self.annealing) if self.annealing else 1.0
            yield Batch(self._normal(self.batch_size, self.seed, index), height)
            index += 1

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        drawn = as_flow(model).sample(batch.z)
        return Loss((drawn.log_density + batch.height * self.energy(drawn.x)).mean(), {})

    def evaluation_batches(self, split: str) -> Iterator[Batch]:
        z = self._normal(COUNTS[split], len(split))  # the same for every seed
        return (Batch(part, 1.0) for part in z.split(self.eval_batch_size))

    def scores(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        drawn = as_flow(model).sample(batch.z)
        loss = drawn.log_density + self.energy(drawn.x)
        outside = drawn.x.abs().amax(dim=1) > (self.energy.box or SIDE)
        return {"loss_nats": loss, "kl_nats": loss.double() + self.energy.log_z, "outside": outside}

    def concluded(self, means: Mapping[str, float]) -> Mapping[str, float]:
        return means

    def findings(self, model: nn.Module) -> Mapping[str, object]:
        return {"floor_nats": -self.energy.log_z}

    def pictures(self, model: nn.Module, *, final: bool) -> Iterator[Picture]:
        from node_repro.figures import npz
        from node_repro.figures.flows import densities

        square = Square(SIDE, GRID)
        like = torch.zeros((), device=self.device, dtype=self.dtype)
        target = (-self.energy(square.points(torch.zeros((), dtype=torch.float64)))).exp()
        target = target.view(GRID, GRID) / torch.tensor(self.energy.log_z).exp()
        model_density = density_on(as_flow(model), square, like)
        drawn = {"Target": target.numpy(), "Model": model_density.numpy()}
        yield Picture("density.png", densities(drawn, SIDE))
        if final:
            yield Picture("density.npz", npz(**drawn))

    def _normal(self, count: int, *key: int) -> Tensor:
        z = torch.randn(count, 2, generator=generator(*key), dtype=torch.float64)
        return z.to(device=self.device, dtype=self.dtype)
