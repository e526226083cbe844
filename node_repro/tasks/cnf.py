"""Maximum likelihood on points of the plane (section 4.2 of the paper, figure 5).

loss = -E[log q(x)] with x from the data; its floor is the data's entropy. The score is the
divergence KL(p | q) = E[log p(x) - log q(x)], taken point by point, which has a far smaller
standard error than the difference of the two means.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from node_repro.data.density import Density
from node_repro.data.seeds import generator
from node_repro.tasks import Loss, Picture
from node_repro.tasks.flow import GRID, Flow, Square, as_flow, density_on, mass_on

COUNTS = {"validation": 2_000, "test": 10_000}
FRACTIONS = (0.05, 0.2, 0.4, 0.6, 0.8, 1.0)  # of the time: the columns of figure 5
FRAMES = 20  # of the animation; the columns are among them
DRAWN_POINTS = 2_000


class Batch(NamedTuple):
    """x: (B, 2). log_density: (B,), the true log p(x); None in training."""

    x: Tensor
    log_density: Tensor | None


class CNF:
    """data: the law that points are drawn from, new ones in every iteration."""

    loss_metric = "nll_nats"
    selected_by = "nll_nats"
    iterations_per_epoch = None

    def __init__(
        self,
        *,
        data: Density,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.data, self.seed = data, seed
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.like = torch.zeros((), device=device, dtype=dtype)
        points = data.law.sample(DRAWN_POINTS, generator(0))
        self.side = 1.4 * float(points.abs().max())
        self.drawn_points = points

    @property
    def sizes(self) -> Mapping[str, int]:
        return {}

    def training_batches(self, epoch: int, start: int) -> Iterator[Batch]:
        index = start
        while True:
            x = self.data.law.sample(self.batch_size, generator(self.seed, index))
            yield Batch(x.to(self.like), None)
            index += 1

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        return Loss(-as_flow(model).log_density(batch.x).mean(), {})

    def evaluation_batches(self, split: str) -> Iterator[Batch]:
        x = self.data.law.sample(COUNTS[split], generator(len(split)))  # the same for every seed
        for part in x.split(self.eval_batch_size):
            yield Batch(part.to(self.like), self.data.law.log_density(part))

    def scores(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        assert batch.log_density is not None
        nll = -as_flow(model).log_density(batch.x).double().cpu()
        return {"nll_nats": nll, "kl_nats": batch.log_density + nll}

    def concluded(self, means: Mapping[str, float]) -> Mapping[str, float]:
        return means

    def findings(self, model: nn.Module) -> Mapping[str, object]:
        nats, error = self.data.entropy
        mass = mass_on(as_flow(model), max(2 * self.side, 6.0), self.like)
        return {"entropy_nats": nats, "entropy_error": error, "mass": mass}

    def pictures(self, model: nn.Module, *, final: bool) -> Iterator[Picture]:
        from node_repro.figures import npz
        from node_repro.figures.flows import animation, densities, panels

        flow, square = as_flow(model), Square(self.side, GRID)
        target = self.data.law.log_density(square.points(torch.zeros((), dtype=torch.float64)))
        target = target.exp().view(GRID, GRID).numpy()
        last = density_on(flow, square, self.like)
        shown = {"Target": target, "Model": last.numpy()}
        yield Picture("density.png", densities(shown, self.side))
        if not final:
            return
        moments = [(k + 1) / FRAMES for k in range(FRAMES)]
        before = [density_on(flow, square, self.like, at) for at in moments[:-1]]
        density = torch.stack([*before, last]).numpy()
        z = torch.randn(DRAWN_POINTS, 2, generator=generator(1), dtype=torch.float64).to(self.like)
        samples = flow.path(z, moments).double().cpu().numpy()
        columns = [moments.index(fraction) for fraction in FRACTIONS]
        arrays = {
            "target": target,
            "points": self.drawn_points.numpy(),
            "density": density[columns],
            "samples": samples[columns],
            "fractions": FRACTIONS,
            "side": self.side,
        } | self._velocities(flow)
        yield Picture("panels.png", panels(**arrays))
        yield Picture("panels.npz", npz(**arrays))
        yield Picture("animation.gif", animation(density, samples, moments, self.side))

    def _velocities(self, flow: Flow) -> dict:
        """Of a flow that has them: (T, m, 2) at FRACTIONS of the time, on a coarse grid (m, 2)."""
        velocity = getattr(flow, "velocity", None)
        if velocity is None:
            return {}
        coarse = Square(self.side, 16).points(self.like)
        field = torch.stack([velocity(coarse, fraction) for fraction in FRACTIONS])
        return {"velocity": field.double().cpu().numpy(), "places": coarse.double().cpu().numpy()}
