"""Density matching (section 4.1 of the paper, figure 4).

The loss E[log q(x) + U(x)], with x sampled from the flow, is KL(q | p) - log Z, bounded from below
by -log Z.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, NamedTuple, Unpack

import torch
from annotated_types import Ge
from torch import Tensor

from node_repro.data.energies import Energy
from node_repro.data.generated import seeded_generator
from node_repro.data.sharding import Noise
from node_repro.models import Flow
from node_repro.tasks import Loss, Picture, Task, TaskSettings
from node_repro.tasks.density_grid import GRID, Square, density_on

COUNTS = {"validation": 2_000, "test": 10_000}
SIDE = 4.0


class Batch(NamedTuple):
    """Points z (B, 2) of the base; `height` is a factor of the energy."""

    z: Tensor
    height: float
    noise: Noise | None = None


class DensityMatch(Task[Flow, Batch]):
    """Minimises the divergence of a flow from an unnormalised density exp(-U).

    Args:
        data: The energy U.
        annealing: Iterations over which the energy grows from 0.01 U to U (Rezende and Mohamed
            2015). None uses U from the start.
        settings: Settings of the run.
    """

    loss_metric = "loss_nats"
    selection_metric = "loss_nats"

    def __init__(
        self,
        *,
        data: Energy,
        annealing: Annotated[int, Ge(1)] | None,
        **settings: Unpack[TaskSettings],
    ) -> None:
        super().__init__(**settings)
        self.energy, self.annealing = data, annealing

    def training_batch(self, step: int) -> Batch:
        height = min(1.0, 0.01 + step / self.annealing) if self.annealing else 1.0
        return Batch(self._normal(self.batch_size, self.seed, step), height, Noise())

    def loss(self, model: Flow, batch: Batch) -> Loss:
        sample = model.sample(batch.z, noise=batch.noise)
        return Loss((sample.log_density + batch.height * self.energy(sample.x)).mean(), {})

    def evaluation_batches(self, split: str) -> Iterator[Batch]:
        z = self._normal(COUNTS[split], len(split))  # the same for every seed
        return (Batch(part, 1.0) for part in z.split(self.eval_batch_size))

    def scores(self, model: Flow, batch: Batch) -> Mapping[str, Tensor]:
        sample = model.sample(batch.z)
        loss = sample.log_density + self.energy(sample.x)
        outside = sample.x.abs().amax(dim=1) > (self.energy.box or SIDE)
        return {"loss_nats": loss, "kl_nats": loss.double() + self.energy.log_z, "outside": outside}

    def diagnostics(self, model: Flow) -> Mapping[str, object]:
        return {"floor_nats": -self.energy.log_z}

    def pictures(self, model: Flow, *, final: bool) -> Iterator[Picture]:
        from node_repro.figures import npz
        from node_repro.figures.flows import densities

        square = Square(SIDE, GRID)
        like = torch.zeros((), device=self.device, dtype=self.dtype)
        target = (-self.energy(square.points(torch.zeros((), dtype=torch.float64)))).exp()
        target = target.view(GRID, GRID) / torch.tensor(self.energy.log_z).exp()
        learned = density_on(model, square, like)
        arrays = {"Target": target.numpy(), "Model": learned.numpy()}
        yield Picture("density.png", densities(arrays, SIDE))
        if final:
            yield Picture("density.npz", npz(**arrays))

    def _normal(self, count: int, *key: int) -> Tensor:
        generator = seeded_generator(*key, bits=64)
        z = torch.randn(count, 2, generator=generator, dtype=torch.float64)
        return z.to(device=self.device, dtype=self.dtype)
