"""Irregularly observed spirals: latent ODE and baselines (section 5, figures 8 to 10, table 2).

Models are trained on n noisy points of each window of 100. The score is the prediction of the 100
points after it. The loss of a trajectory is -sum_i log N(x_i; mean_i, noise_sd^2) over its observed
points, averaged over posterior samples, plus the divergence of the posterior from the prior. The
baselines have no posterior and predict each point from those before it.

A latent ODE may end in an optimum in which one direction of rotation is fitted inside the window
only. Annealing avoids this: the noise in the loss falls from NOISE_START noise_sd to noise_sd, so
that the whole curve is learned before its details.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, NamedTuple, Unpack

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from node_repro.data.generated import seeded_generator
from node_repro.data.sharding import Noise
from node_repro.data.spirals import WINDOW, SpiralData, SpiralSplit
from node_repro.models import ExportsWeights, LatentSeriesModel, SeriesModel
from node_repro.models.gaussian import normal_log_density
from node_repro.tasks import Loss, Picture, SplitTask, TaskSettings
from node_repro.tasks.arrays import to_numpy
from node_repro.tasks.explore import latent_picture
from node_repro.tasks.likelihood import (
    kl_weight,
    log_mean_exp,
    take_roots,
    variational_loss,
)
from node_repro.tasks.linear_probe import (
    discriminant_direction,
    probe_accuracy,
    with_products,
)

SHOWN = 8  # test trajectories in figure 8
STEPS = 7  # values of a latent dimension in figure 9, and of each axis of the latent plane
DIRECTIONS = {-1: "clockwise", 1: "counterclockwise"}
NOISE_START = 5.0  # noise at the start of its annealing, in units of noise_sd


class SpiralBatch(NamedTuple):
    """Spirals, the noise of their posterior samples, and the weight of the KL term and the standard
    deviation of the observations in the loss.
    """

    split: SpiralSplit
    noise: Noise
    weight: float
    noise_sd: float


class SpiralPrediction(SplitTask[SeriesModel, SpiralBatch, SpiralSplit]):
    """Prediction of spirals beyond the window in which they are observed.

    Args:
        data: The spirals.
        noise_sd: Standard deviation of the observations in the likelihood.
        kl_warmup: Iterations over which the weight of the KL term is annealed from 0 to 1.
        noise_annealing: Iterations over which the standard deviation in the loss falls
            geometrically from five times noise_sd to noise_sd; 0 for noise_sd from the start.
        settings: Settings of the run.
    """

    loss_metric = "loss_nats"
    selection_metric = "loss_nats"

    def __init__(
        self,
        *,
        data: SpiralData,
        noise_sd: Annotated[float, Gt(0)],
        kl_warmup: Annotated[int, Ge(0)],
        noise_annealing: Annotated[int, Ge(0)],
        **settings: Unpack[TaskSettings],
    ) -> None:
        super().__init__(data, **settings)
        self.noise_sd, self.kl_warmup = noise_sd, kl_warmup
        self.noise_annealing = noise_annealing

    @property
    def sizes(self) -> Mapping[str, int]:
        return {"features": 2}

    def training_batch(self, step: int) -> SpiralBatch:
        noise = Noise(seeded_generator(self.seed, "posterior", step))
        noise_sd = self.noise_sd * annealed_factor(step, self.noise_annealing)
        weight = kl_weight(step, self.kl_warmup)
        return SpiralBatch(self.training_examples(step), noise, weight, noise_sd)

    def evaluation_batches(self, split: str) -> Iterator[SpiralBatch]:
        for i, part in enumerate(self.evaluation_examples(split)):
            yield SpiralBatch(part, Noise(seeded_generator("evaluation", i)), 1.0, self.noise_sd)

    def loss(self, model: SeriesModel, batch: SpiralBatch) -> Loss:
        predicted = model(batch.split.observed, batch.noise)
        nll = -self._log_likelihood(batch, predicted.means).mean(0)
        return variational_loss(nll, predicted.kl, batch.weight)

    def scores(self, model: SeriesModel, batch: SpiralBatch) -> Mapping[str, Tensor]:
        """Scores of each trajectory; squares are means over its points and both coordinates.

        log_likelihood_nats is the log density of all noisy points after the window together, under
        the mixture of the posterior samples, divided by the number of points.
        """
        clean, noisy = batch.split.clean, batch.split.noisy
        predicted = model(batch.split.observed, batch.noise)
        x = self._predict(model, batch.split, batch.noise)
        mean, ahead = x.mean(0), slice(WINDOW, None)
        log_p = normal_log_density(noisy[:, ahead], x[:, :, ahead], self.noise_sd).sum((2, 3))
        return {
            "loss_nats": predicted.kl - self._log_likelihood(batch, predicted.means).mean(0),
            "kl_nats": predicted.kl,
            "log_likelihood_nats": log_mean_exp(log_p) / WINDOW,
            "mse_noisy": _mean_square(mean[:, ahead] - noisy[:, ahead]),
            "mse_clean": _mean_square(mean[:, ahead] - clean[:, ahead]),
            "mse_sample": _mean_square(x[0, :, ahead] - noisy[:, ahead]),
            "mse_window": _mean_square(mean[:, :WINDOW] - clean[:, :WINDOW]),
        }

    def finalize_scores(self, means: Mapping[str, float]) -> Mapping[str, float]:
        return take_roots(means)

    def diagnostics(self, model: SeriesModel) -> Mapping[str, object]:
        """Errors ahead by direction, and of trivial predictors; and how well a linear probe of the
        posterior mean of z(t0) predicts a spiral's direction.

        rmse_noisy_clockwise and rmse_noisy_counterclockwise are rmse_noisy of the test spirals of
        one direction; without one there is none. rmse_noisy_median is the median over trajectories
        of their RMSE. rmse_noisy_of_mean and rmse_noisy_of_last are the RMSE ahead of the mean of
        all observed training points and of the last observed value of each trajectory.

        One probe reads the coordinates of z, another one these and their products.

        Rotated by a half turn, a spiral keeps its direction while z(t0) changes sign. If starts lie
        all around the centre, the coordinates alone therefore predict the direction by chance only.
        If the two directions rotate in two different planes, products tell them apart.
        """
        test = self.splits["test"]
        ahead, seen = test.noisy[:, WINDOW:], test.observed.x
        trivial = {
            "rmse_noisy_of_mean": self.train.observed.x.mean((0, 1)).expand_as(ahead),
            "rmse_noisy_of_last": seen[:, -1:].expand_as(ahead),
        }
        errors = {key: float((x - ahead).square().mean().sqrt()) for key, x in trivial.items()}
        errors |= self._errors_by_direction(model)
        if not isinstance(model, LatentSeriesModel):
            return errors
        z0, z0_test = (model.posterior(x.observed).mean for x in (self.train, test))

        def accuracy(features: Callable[[Tensor], Tensor]) -> float:
            return probe_accuracy(
                features(z0), self.train.direction, features(z0_test), test.direction
            )

        return {
            **errors,
            "direction_probe_accuracy": accuracy(lambda z: z),
            "direction_probe_accuracy_with_products": accuracy(with_products),
            "observation_sd": self.noise_sd,
        }

    def _errors_by_direction(self, model: SeriesModel) -> dict[str, float]:
        """RMSE ahead against noisy points, of each direction and as a median over trajectories."""
        squares, directions = [], []
        for batch in self.evaluation_batches("test"):
            x = self._predict(model, batch.split, batch.noise).mean(0)
            squares.append(_mean_square((x - batch.split.noisy)[:, WINDOW:]))
            directions.append(batch.split.direction)
        mse, direction = torch.cat(squares), torch.cat(directions)
        errors = {"rmse_noisy_median": float(mse.sqrt().median())}
        for sign, name in DIRECTIONS.items():
            if (direction == sign).any():
                errors[f"rmse_noisy_{name}"] = float(mse[direction == sign].mean().sqrt())
        return errors

    def pictures(self, model: SeriesModel, *, final: bool) -> Iterator[Picture]:
        from node_repro.figures import npz, spirals

        examples = self.first_test_examples(SHOWN)
        x = self._predict(model, examples, Noise(seeded_generator("pictures")))
        if not isinstance(model, LatentSeriesModel):
            x = _without_start(x, examples.observed.at)
        arrays = {
            "seen": to_numpy(examples.observed.x),
            "clean": to_numpy(examples.clean),
            "predicted": to_numpy(x.mean(0)),
            "sample": to_numpy(x[0]),
        }
        yield Picture("figure8_predictions.png", spirals.predictions(**arrays))
        if not final:
            return
        yield Picture("figure8_predictions.npz", npz(**arrays))
        if isinstance(model, LatentSeriesModel):
            yield from self._latent_pictures(model, self.splits["test"])
            if isinstance(model, ExportsWeights):
                test = self.splits["test"]
                yield latent_picture(model, model.posterior(test.observed), test)

    def _latent_pictures(self, model: LatentSeriesModel, test: SpiralSplit) -> Iterator[Picture]:
        from node_repro.figures import latent_space

        ts = test.observed.grid
        z0 = model.posterior(test.observed).mean
        directions = to_numpy(test.direction)
        paths = latent_space.latent_paths(to_numpy(model.path(z0, ts)), directions)
        yield Picture("figure8c_latent.png", paths)
        steps = torch.linspace(-2, 2, STEPS).to(z0)
        x = model.decode(model.path(_moved(z0, test.direction, steps), ts))
        names = ["discriminant", *(f"dimension {i + 1}" for i in range(z0.shape[1]))]
        varied = latent_space.moved(to_numpy(x), to_numpy(steps), names)
        yield Picture("figure9_one_dimension.png", varied)
        axes = torch.linalg.svd(z0 - z0.mean(0), full_matrices=False).Vh[:2]
        spread = ((z0 - z0.mean(0)) @ axes.T).std(0)
        a, b = torch.meshgrid(steps, steps, indexing="ij")
        plane = z0.mean(0) + torch.stack((a, b), -1) * spread @ axes
        x = model.decode(model.path(plane, ts))
        coordinates = ((z0 - z0.mean(0)) @ axes.T) / spread
        arrays = (x, steps, coordinates, test.direction)
        yield Picture("latent_exploration.png", latent_space.latent_plane(*map(to_numpy, arrays)))

    def _log_likelihood(self, batch: SpiralBatch, means: Tensor) -> Tensor:
        """log p of the observed points of each trajectory, (S, B)."""
        observed = batch.split.observed
        log_p = normal_log_density(observed.x, means, batch.noise_sd)
        return (log_p * observed.seen).sum((2, 3))

    @staticmethod
    def _predict(model: SeriesModel, split: SpiralSplit, noise: Noise) -> Tensor:
        """Every point of the window and after it, (S, B, 2 WINDOW, 2)."""
        places = torch.arange(2 * WINDOW, device=split.clean.device)
        return model.predict(split.observed, places.expand(len(split.clean), -1), noise)


def annealed_factor(step: int, iterations: int) -> float:
    """The noise in the loss over that of the data: NOISE_START at step 0, 1 from `iterations` on,
    geometric in between.
    """
    return NOISE_START ** max(0.0, 1 - step / iterations) if iterations else 1.0


def _moved(z0: Tensor, direction: Tensor, steps: Tensor) -> Tensor:
    """States (S, 1 + L, L) moved by steps (S,), in standard deviations of z0 (B, L).

    The first ones lie on the line through the mean of z0 along which the direction of rotation is
    discriminated best. In the others one dimension of the first counter-clockwise spiral, if there
    is any, is varied.
    """
    axis = discriminant_direction(z0, direction)
    line = z0.mean(0) + steps[:, None, None] * ((z0 - z0.mean(0)) @ axis).std() * axis
    start = z0[direction.argmax()]
    single = start + steps[:, None, None] * torch.diag(z0.std(0))
    return torch.cat((line, single), dim=1)


def _without_start(x: Tensor, at: Tensor) -> Tensor:
    """Predictions x (S, B, T, 2), NaN before the second observation of each series.

    A model that predicts each point from those before it knows nothing there. `at` (B, n) are the
    grid indices of the observations.
    """
    second = at[:, :2].amax(1)
    known = torch.arange(x.shape[2], device=x.device) >= second[:, None]
    return x.masked_fill(~known[:, :, None], math.nan)


def _mean_square(error: Tensor) -> Tensor:
    """The mean square of each trajectory, (B,)."""
    return error.square().mean((1, 2))
