"""Irregular series from a file: predict hidden values in between, or those after (section 5).

The model receives the shown observations and is trained on them as in `latent_ode`; it is scored on
the hidden ones. All values are standardised by channel; `diagnostics` has errors in the file's
units.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Unpack

import numpy as np
import torch
from annotated_types import Ge, Gt
from torch import Tensor

from node_repro.data.examples import count_examples, select_examples
from node_repro.data.generated import seeded_generator
from node_repro.data.series import Series, shrink_grid
from node_repro.data.series_csv import SPAN, IrregularData, SeriesSplit
from node_repro.data.sharding import Noise
from node_repro.models import SeriesModel
from node_repro.models.gaussian import normal_log_density
from node_repro.tasks import Loss, Picture, SplitTask, TaskSettings
from node_repro.tasks.likelihood import (
    PosteriorBatch,
    kl_weight,
    log_mean_exp,
    take_roots,
    variational_loss,
)

SHOWN = 4  # test series in the picture
POINTS = 200  # times of a drawn prediction

IrregularBatch = PosteriorBatch[SeriesSplit]


class Irregular(SplitTask[SeriesModel, IrregularBatch, SeriesSplit]):
    """Prediction of hidden values of irregular series.

    Args:
        data: The series.
        noise_sd: Standard deviation of standardised observations in the likelihood.
        kl_warmup: Iterations over which the weight of the KL term is annealed from 0 to 1.
        settings: Settings of the run.
    """

    loss_metric = "loss_nats"
    selection_metric = "rmse_hidden"

    def __init__(
        self,
        *,
        data: IrregularData,
        noise_sd: Annotated[float, Gt(0)],
        kl_warmup: Annotated[int, Ge(0)],
        **settings: Unpack[TaskSettings],
    ) -> None:
        super().__init__(data, **settings)
        self.data, self.noise_sd, self.kl_warmup = data, noise_sd, kl_warmup
        self.splits = {name: _with_hidden_values(part) for name, part in self.splits.items()}

    @property
    def sizes(self) -> Mapping[str, int]:
        return {"features": len(self.data.channels)}

    def training_batch(self, step: int) -> IrregularBatch:
        split = self.training_examples(step)
        split = split._replace(shown=shrink_grid(split.shown, (0,)))
        noise = Noise(seeded_generator(self.seed, "posterior", step))
        return IrregularBatch(split, noise, kl_weight(step, self.kl_warmup))

    def evaluation_batches(self, split: str) -> Iterator[IrregularBatch]:
        for i, part in enumerate(self.evaluation_examples(split)):
            yield IrregularBatch(_shrink(part), Noise(seeded_generator("evaluation", i)), 1.0)

    def loss(self, model: SeriesModel, batch: IrregularBatch) -> Loss:
        shown = batch.split.shown
        predicted = model(shown, batch.noise)
        log_p = normal_log_density(shown.x, predicted.means, self.noise_sd)
        nll = -(log_p * shown.seen).sum((2, 3)).mean(0)
        return variational_loss(nll, predicted.kl, batch.weight)

    def scores(self, model: SeriesModel, batch: IrregularBatch) -> Mapping[str, Tensor]:
        """Means over the hidden values of each series.

        mse_carried is the error of carrying the last shown value forward, for comparison.
        log_likelihood_nats is as in `latent_ode`, per value.
        """
        shown, hidden = batch.split
        x = model.predict(shown, hidden.at, batch.noise)
        count = hidden.seen.sum((1, 2))
        log_p = (normal_log_density(hidden.x, x, self.noise_sd) * hidden.seen).sum((2, 3))

        def mean(squares: Tensor) -> Tensor:
            return (squares * hidden.seen).sum((1, 2)) / count

        return {
            "mse_hidden": mean((x.mean(0) - hidden.x).square()),
            "mse_carried": mean((_carried_forward(shown, hidden.at) - hidden.x).square()),
            "log_likelihood_nats": log_mean_exp(log_p) / count,
        }

    def finalize_scores(self, means: Mapping[str, float]) -> Mapping[str, float]:
        return take_roots(means)

    def diagnostics(self, model: SeriesModel) -> Mapping[str, object]:
        """The root mean square error of every channel in the file's units, over all hidden values
        of the test series.
        """
        squares = torch.zeros(len(self.data.channels), dtype=torch.float64)
        count = torch.zeros_like(squares)
        for batch in self.evaluation_batches("test"):
            shown, hidden = batch.split
            x = model.predict(shown, hidden.at, batch.noise).mean(0)
            error = ((x - hidden.x).square() * hidden.seen).sum((0, 1))
            squares += error.double().cpu()
            count += hidden.seen.sum((0, 1)).cpu()
        rmse = (squares / count.clamp(min=1)).sqrt() * self.data.sd
        channels = zip(self.data.channels, rmse.tolist(), count.tolist(), strict=True)
        return {"rmse_by_channel": {name: value for name, value, n in channels if n}}

    def pictures(self, model: SeriesModel, *, final: bool) -> Iterator[Picture]:
        from node_repro.figures import irregular

        data, examples = self.data, self.first_test_examples(SHOWN)
        grid = examples.shown.grid
        places = torch.linspace(0, len(grid) - 1, min(POINTS, len(grid))).long()
        at = places.to(examples.shown.at.device).expand(count_examples(examples), -1)
        x = model.predict(examples.shown, at, Noise(seeded_generator("pictures"))).double().cpu()

        def in_units(values: Tensor) -> np.ndarray:
            return (values.double().cpu() * data.sd + data.mean).numpy()

        times = (grid * (data.span / SPAN) + data.start).numpy()
        shown, hidden = (
            (times[part.at.cpu()], in_units(part.x), part.seen.cpu().numpy()) for part in examples
        )
        content = irregular.predictions(times[places], in_units(x), shown, hidden, data.channels)
        yield Picture("predictions.png", content)


def _with_hidden_values(split: SeriesSplit) -> SeriesSplit:
    """The series with at least one hidden value."""
    return select_examples(split, torch.nonzero(split.hidden.seen.any(2).any(1))[:, 0])


def _shrink(split: SeriesSplit) -> SeriesSplit:
    """The series on the grid of their own times and its start, without other batches' times."""
    places = torch.cat((split.shown.at.flatten(), split.hidden.at.flatten())).unique().tolist()
    return SeriesSplit(*(shrink_grid(part, (0, *places)) for part in split))


def _carried_forward(shown: Series, places: Tensor) -> Tensor:
    """The last shown values before the grid indices (B, m), as (B, m, D); before the first one 0,
    the mean.
    """
    known = torch.searchsorted(shown.at.contiguous(), places.contiguous())
    known = torch.minimum(known, shown.count[:, None])
    last = (known - 1).clamp(min=0)[..., None].expand(-1, -1, shown.x.shape[2])
    return torch.where((known > 0)[..., None], shown.x.gather(1, last), 0.0)
