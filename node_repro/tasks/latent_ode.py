"""Spirals, irregularly observed: the latent ODE and its rivals (section 5, figures 8-10, table 2).

Training sees n noisy points of each window of 100. The score is the prediction of the 100 points
that follow. Loss of a trajectory: -sum_i log N(x_i; mean_i, noise_sd^2) over its seen points, the
mean of the posterior's samples, plus the posterior's divergence from its prior. A rival has no
posterior, and predicts each point from those before it.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from node_repro.data.order import drawn
from node_repro.data.series import Series, generator
from node_repro.data.spirals import WINDOW, SpiralData, SpiralSplit
from node_repro.tasks import Loss, Picture
from node_repro.tasks.likelihood import annealed, log_mean, log_normal, rooted
from node_repro.tasks.probe import probe_accuracy, with_products

SHOWN = 8  # test trajectories in a picture of reconstructions
STEPS = 7  # values of a latent dimension in figure 9, and of each axis of the latent plane


class SpiralBatch(NamedTuple):
    """random: for the noise of this batch. weight: of the divergence in the loss."""

    split: SpiralSplit
    random: torch.Generator
    weight: float


@runtime_checkable
class Generative(Protocol):
    """A model with a latent state that can be set: z(t0) -> z(t) -> x(t)."""

    def posterior(self, series: Series) -> Any: ...  # noqa: ANN401

    def path(self, z0: Tensor, ts: Tensor) -> Tensor: ...

    def decode(self, z: Tensor) -> Tensor: ...


class SpiralPrediction:
    """noise_sd: of the observations in the likelihood. kl_warmup: steps over which the divergence
    comes to count.
    """

    loss_metric = "loss_nats"
    selected_by = "loss_nats"
    iterations_per_epoch = None

    def __init__(
        self,
        *,
        data: SpiralData,
        noise_sd: float,
        kl_warmup: int,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.train = data.train.to(device, dtype)
        self.splits = {
            "validation": data.validation.to(device, dtype),
            "test": data.test.to(device, dtype),
        }
        self.noise_sd, self.kl_warmup = noise_sd, kl_warmup
        self.batch_size, self.eval_batch_size, self.seed = batch_size, eval_batch_size, seed

    @property
    def sizes(self) -> Mapping[str, int]:
        return {"features": 2}

    def training_batches(self, epoch: int, start: int) -> Iterator[SpiralBatch]:
        step = start
        while True:
            chosen = drawn(len(self.train.direction), self.batch_size, self.seed, step)
            random = generator(self.seed, "posterior", step)
            split = self.train.of(chosen.to(self.train.direction.device))
            yield SpiralBatch(split, random, annealed(step, self.kl_warmup))
            step += 1

    def evaluation_batches(self, split: str) -> Iterator[SpiralBatch]:
        whole = self.splits[split]
        places = torch.arange(len(whole.direction), device=whole.direction.device)
        for i, part in enumerate(places.split(self.eval_batch_size)):
            yield SpiralBatch(whole.of(part), generator("evaluation", i), 1.0)

    def loss(self, model: nn.Module, batch: SpiralBatch) -> Loss:
        predicted = model(batch.split.observed, batch.random)
        nll, kl = -self._seen(batch, predicted.means).mean(0), predicted.kl
        metrics = {"nll_nats": nll.mean(), "kl_nats": kl.mean()}
        return Loss((nll + batch.weight * kl).mean(), {k: v.detach() for k, v in metrics.items()})

    def scores(self, model: nn.Module, batch: SpiralBatch) -> Mapping[str, Tensor]:
        """Of each trajectory; squares are means over its points and both coordinates.

        log_likelihood_nats: log of the mean over S posterior samples of the density of all future
        noisy points together, divided by their number: nats a point.
        """
        clean, noisy = batch.split.clean, batch.split.noisy
        predicted = model(batch.split.observed, batch.random)
        x = self._predict(model, batch.split, batch.random)
        mean, ahead = x.mean(0), slice(WINDOW, None)
        density = log_normal(noisy[:, ahead], x[:, :, ahead], self.noise_sd).sum((2, 3))
        return {
            "loss_nats": predicted.kl - self._seen(batch, predicted.means).mean(0),
            "kl_nats": predicted.kl,
            "log_likelihood_nats": log_mean(density) / WINDOW,
            "mse_noisy": _square(mean[:, ahead] - noisy[:, ahead]),
            "mse_clean": _square(mean[:, ahead] - clean[:, ahead]),
            "mse_sample": _square(x[0, :, ahead] - noisy[:, ahead]),
            "mse_window": _square(mean[:, :WINDOW] - clean[:, :WINDOW]),
        }

    def concluded(self, means: Mapping[str, float]) -> Mapping[str, float]:
        return rooted(means)

    def findings(self, model: nn.Module) -> Mapping[str, object]:
        """How well a plane tells the direction of a spiral from the posterior's mean of z(t0): from
        its coordinates, and from these and their products.

        Where starts lie all around the centre, nothing but chance makes the first possible: turned
        half around, a spiral keeps its direction, and a plane through the centre its change of
        sign. Two planes of rotation, one a direction, are told apart by squares.
        """
        if not isinstance(model, Generative):
            return {}
        test = self.splits["test"]
        z0, z0_test = (model.posterior(x.observed).mean for x in (self.train, test))

        def accuracy(features: Callable[[Tensor], Tensor]) -> float:
            known, asked = features(z0), features(z0_test)
            return probe_accuracy(known, self.train.direction, asked, test.direction)

        return {
            "direction_probe_accuracy": accuracy(lambda z: z),
            "direction_probe_accuracy_with_products": accuracy(with_products),
            "observation_sd": self.noise_sd,
        }

    def pictures(self, model: nn.Module, *, final: bool) -> Iterator[Picture]:
        from node_repro.figures import npz, spirals

        test = self.splits["test"]
        few = test.of(torch.arange(min(SHOWN, len(test.direction)), device=test.clean.device))
        x = self._predict(model, few, generator("pictures"))
        arrays = {
            "seen": _numpy(few.observed.x),
            "clean": _numpy(few.clean),
            "predicted": _numpy(x.mean(0)),
            "sample": _numpy(x[0]),
        }
        yield Picture("figure8_predictions.png", spirals.predictions(**arrays))
        if not final:
            return
        yield Picture("figure8_predictions.npz", npz(**arrays))
        if isinstance(model, Generative):
            yield from self._latent_pictures(model, test)

    def _latent_pictures(self, model: Generative, test: SpiralSplit) -> Iterator[Picture]:
        from node_repro.figures import spirals

        ts = test.observed.grid
        z0 = model.posterior(test.observed).mean
        directions = _numpy(test.direction)
        yield Picture(
            "figure8c_latent.png", spirals.latent_paths(_numpy(model.path(z0, ts)), directions)
        )
        sd = z0.std(0)
        start = z0[test.direction.argmax()]  # the first that turns counter-clockwise, if any does
        steps = torch.linspace(-2, 2, STEPS).to(z0)
        moved = start + steps[:, None, None] * torch.diag(sd)  # (STEPS, L, L): step, dimension
        x = model.decode(model.path(moved, ts))
        drawn_x = spirals.moved_dimension(_numpy(x), _numpy(steps))
        yield Picture("figure9_one_dimension.png", drawn_x)
        axes = torch.linalg.svd(z0 - z0.mean(0), full_matrices=False).Vh[:2]
        spread = ((z0 - z0.mean(0)) @ axes.T).std(0)
        a, b = torch.meshgrid(steps, steps, indexing="ij")
        plane = z0.mean(0) + torch.stack((a, b), -1) * spread @ axes
        x = model.decode(model.path(plane, ts))
        coordinates = ((z0 - z0.mean(0)) @ axes.T) / spread
        yield Picture(
            "latent_exploration.png",
            spirals.latent_plane(_numpy(x), _numpy(steps), _numpy(coordinates), directions),
        )

    def _seen(self, batch: SpiralBatch, means: Tensor) -> Tensor:
        """log p of what was seen of each trajectory, (S, B)."""
        seen = batch.split.observed
        return (log_normal(seen.x, means, self.noise_sd) * seen.seen).sum((2, 3))

    @staticmethod
    def _predict(model: nn.Module, split: SpiralSplit, random: torch.Generator) -> Tensor:
        """Every point of the window and of its future, (S, B, 2 WINDOW, 2)."""
        places = torch.arange(2 * WINDOW, device=split.clean.device)
        return model.predict(split.observed, places.expand(len(split.clean), -1), random)  # pyright: ignore


def _square(error: Tensor) -> Tensor:
    """The mean square of each trajectory, (B,)."""
    return error.square().mean((1, 2))


def _numpy(x: Tensor) -> np.ndarray:
    return x.detach().cpu().numpy()
