"""Maximum likelihood on points of the plane (section 4.2 of the paper, figure 5).

The loss -E[log q(x)], with x from the data, is bounded from below by the data's entropy. The score
is the divergence KL(p | q) = E[log p(x) - log q(x)], evaluated point by point, which has a far
smaller standard error than the difference of the two means.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Unpack

import numpy as np
import torch
from torch import Tensor

from node_repro.data.density import Density
from node_repro.data.generated import seeded_generator
from node_repro.data.sharding import Noise
from node_repro.models import ExportsWeights, Flow
from node_repro.models.gaussian import standard_normal_log_density
from node_repro.tasks import Loss, Picture, Task, TaskSettings
from node_repro.tasks.density_grid import GRID, Square, density_on, mass_on
from node_repro.tasks.explore import flow_picture

COUNTS = {"validation": 2_000, "test": 10_000}
FRACTIONS = (0.05, 0.2, 0.4, 0.6, 0.8, 1.0)  # of the flow's time: the columns of figure 5
FIELD_GRID = 24  # velocities per side of figure 5
FRAMES = 20  # of the animation; they include the columns
PICTURE_POINTS = 2_000


class Batch(NamedTuple):
    """Points x (B, 2) and, in an evaluation, their true log density (B,)."""

    x: Tensor
    log_density: Tensor | None
    noise: Noise | None = None


class CNF(Task[Flow, Batch]):
    """Trains a flow by maximum likelihood on new points in every iteration.

    Args:
        data: The density that points are drawn from.
        settings: Settings of the run.
    """

    loss_metric = "nll_nats"
    selection_metric = "nll_nats"

    def __init__(self, *, data: Density, **settings: Unpack[TaskSettings]) -> None:
        super().__init__(**settings)
        self.data = data
        self.like = torch.zeros((), device=self.device, dtype=self.dtype)
        self.picture_points = data.law.sample(PICTURE_POINTS, seeded_generator(0, bits=64))
        self.side = 1.4 * float(self.picture_points.abs().max())

    def training_batch(self, step: int) -> Batch:
        x = self.data.law.sample(self.batch_size, seeded_generator(self.seed, step, bits=64))
        return Batch(x.to(self.like), None, Noise())

    def loss(self, model: Flow, batch: Batch) -> Loss:
        return Loss(-model.log_density(batch.x, noise=batch.noise).mean(), {})

    def evaluation_batches(self, split: str) -> Iterator[Batch]:
        generator = seeded_generator(len(split), bits=64)  # the same for every seed
        for part in self.data.law.sample(COUNTS[split], generator).split(self.eval_batch_size):
            yield Batch(part.to(self.like), self.data.law.log_density(part))

    def scores(self, model: Flow, batch: Batch) -> Mapping[str, Tensor]:
        assert batch.log_density is not None
        nll = -model.log_density(batch.x).double().cpu()
        return {"nll_nats": nll, "kl_nats": batch.log_density + nll}

    def diagnostics(self, model: Flow) -> Mapping[str, object]:
        nats, error = self.data.entropy
        mass = mass_on(model, max(2 * self.side, 6.0), self.like)
        return {"entropy_nats": nats, "entropy_error": error, "mass": mass}

    def pictures(self, model: Flow, *, final: bool) -> Iterator[Picture]:
        from node_repro.figures import npz
        from node_repro.figures.flows import animation, densities, panels

        square = Square(self.side, GRID)
        target = self.data.law.log_density(square.points(torch.zeros((), dtype=torch.float64)))
        target = target.exp().view(GRID, GRID).numpy()
        last = density_on(model, square, self.like)
        yield Picture(
            "density.png", densities({"Target": target, "Model": last.numpy()}, self.side)
        )
        if not final:
            return
        moments = [(k + 1) / FRAMES for k in range(FRAMES)]
        before = [density_on(model, square, self.like, fraction) for fraction in moments[:-1]]
        density = torch.stack([*before, last]).numpy()
        generator = seeded_generator(1, bits=64)
        z = torch.randn(PICTURE_POINTS, 2, generator=generator, dtype=torch.float64)
        samples = model.path(z.to(self.like), moments).double().cpu().numpy()
        columns = [moments.index(fraction) for fraction in FRACTIONS]
        arrays = {
            "target": target,
            "points": self.picture_points.numpy(),
            "density": density[columns],
            "samples": samples[columns],
            "fractions": FRACTIONS,
            "side": self.side,
        } | self._velocities(model)
        yield Picture("panels.png", panels(**arrays))
        yield Picture("panels.npz", npz(**arrays))
        top = float(target.max())
        yield Picture("animation.gif", animation(density, samples, moments, self.side, top))
        if isinstance(model, ExportsWeights):
            base = standard_normal_log_density(square.points(z)).exp().view(1, GRID, GRID)
            frames = np.concatenate((base.numpy(), density))
            yield flow_picture(model, frames, z, self.picture_points, self.side)

    def _velocities(self, model: Flow) -> dict[str, Any]:
        """Velocities (T, m, 2) at FRACTIONS on a coarse grid (m, 2), if the flow has them."""
        velocity = getattr(model, "velocity", None)
        if velocity is None:
            return {}
        grid = Square(self.side, FIELD_GRID).points(self.like)
        field = torch.stack([velocity(grid, fraction) for fraction in FRACTIONS])
        return {"velocity": field.double().cpu().numpy(), "places": grid.double().cpu().numpy()}
