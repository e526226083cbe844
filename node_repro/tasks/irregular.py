"""Irregular series from a file: fill the gaps in between, or say what comes after (section 5).

The model sees the shown observations and is trained on them as in `latent_ode`; it is scored on the
hidden ones. All values are standardised by channel; `findings` gives errors in the file's units.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from node_repro.data.order import drawn
from node_repro.data.series import Series, generator, tightened
from node_repro.data.series_csv import SPAN, IrregularData, SeriesSplit
from node_repro.tasks import Loss, Picture
from node_repro.tasks.likelihood import annealed, log_mean, log_normal, rooted

SHOWN = 4  # test series in the picture
POINTS = 200  # times of a drawn prediction


class IrregularBatch(NamedTuple):
    """random: for the noise of this batch. weight: of the divergence in the loss."""

    split: SeriesSplit
    random: torch.Generator
    weight: float


class Irregular:
    """noise_sd: of standardised observations in the likelihood. kl_warmup: steps over which the
    divergence comes to count.
    """

    loss_metric = "loss_nats"
    selected_by = "rmse_hidden"
    iterations_per_epoch = None

    def __init__(
        self,
        *,
        data: IrregularData,
        noise_sd: float,
        kl_warmup: int,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.data, self.noise_sd, self.kl_warmup = data, noise_sd, kl_warmup
        self.train = data.train.to(device, dtype)
        self.splits = {
            name: _asked(part.to(device, dtype))
            for name, part in (("validation", data.validation), ("test", data.test))
        }
        self.batch_size, self.eval_batch_size, self.seed = batch_size, eval_batch_size, seed

    @property
    def sizes(self) -> Mapping[str, int]:
        return {"features": len(self.data.channels)}

    def training_batches(self, epoch: int, start: int) -> Iterator[IrregularBatch]:
        step = start
        while True:
            chosen = drawn(len(self.train.shown.count), self.batch_size, self.seed, step)
            split = self.train.of(chosen.to(self.train.shown.at.device))
            split = split._replace(shown=tightened(split.shown, (0,)))
            random = generator(self.seed, "posterior", step)
            yield IrregularBatch(split, random, annealed(step, self.kl_warmup))
            step += 1

    def evaluation_batches(self, split: str) -> Iterator[IrregularBatch]:
        whole = self.splits[split]
        places = torch.arange(len(whole.shown.count), device=whole.shown.at.device)
        for i, part in enumerate(places.split(self.eval_batch_size)):
            yield IrregularBatch(_tight(whole.of(part)), generator("evaluation", i), 1.0)

    def loss(self, model: nn.Module, batch: IrregularBatch) -> Loss:
        shown = batch.split.shown
        predicted = model(shown, batch.random)
        nll = -(log_normal(shown.x, predicted.means, self.noise_sd) * shown.seen).sum((2, 3))
        nll, kl = nll.mean(0), predicted.kl
        metrics = {"nll_nats": nll.mean(), "kl_nats": kl.mean()}
        return Loss((nll + batch.weight * kl).mean(), {k: v.detach() for k, v in metrics.items()})

    def scores(self, model: nn.Module, batch: IrregularBatch) -> Mapping[str, Tensor]:
        """Of each series, means over its hidden values. mse_carried: of saying the last value
        shown before, for comparison. log_likelihood_nats: as in `latent_ode`, nats a value.
        """
        shown, hidden = batch.split
        x = model.predict(shown, hidden.at, batch.random)  # pyright: ignore[reportCallIssue]
        count = hidden.seen.sum((1, 2))
        density = (log_normal(hidden.x, x, self.noise_sd) * hidden.seen).sum((2, 3))

        def mean(squares: Tensor) -> Tensor:
            return (squares * hidden.seen).sum((1, 2)) / count

        return {
            "mse_hidden": mean((x.mean(0) - hidden.x).square()),
            "mse_carried": mean((_last_before(shown, hidden.at) - hidden.x).square()),
            "log_likelihood_nats": log_mean(density) / count,
        }

    def concluded(self, means: Mapping[str, float]) -> Mapping[str, float]:
        return rooted(means)

    def findings(self, model: nn.Module) -> Mapping[str, object]:
        """The root mean square error of every channel in the file's units, over all hidden values
        of the test series.
        """
        squares = torch.zeros(len(self.data.channels), dtype=torch.float64)
        count = torch.zeros_like(squares)
        for batch in self.evaluation_batches("test"):
            shown, hidden = batch.split
            x = model.predict(shown, hidden.at, batch.random).mean(0)  # pyright: ignore
            error = ((x - hidden.x).square() * hidden.seen).sum((0, 1))
            squares += error.double().cpu()
            count += hidden.seen.sum((0, 1)).cpu()
        rmse = (squares / count.clamp(min=1)).sqrt() * self.data.sd
        named = zip(self.data.channels, rmse.tolist(), count.tolist(), strict=True)
        return {"rmse_by_channel": {name: value for name, value, n in named if n}}

    def pictures(self, model: nn.Module, *, final: bool) -> Iterator[Picture]:
        from node_repro.figures import irregular

        test, data = self.splits["test"], self.data
        few = test.of(torch.arange(min(SHOWN, len(test.shown.count)), device=test.shown.at.device))
        grid = few.shown.grid
        places = torch.linspace(0, len(grid) - 1, min(POINTS, len(grid))).long()
        asked = places.to(few.shown.at.device).expand(len(few.shown.count), -1)
        x = model.predict(few.shown, asked, generator("pictures")).double().cpu()  # pyright: ignore

        def original(values: Tensor) -> np.ndarray:
            return (values.double().cpu() * data.sd + data.mean).numpy()

        times = (grid * (data.span / SPAN) + data.start).numpy()
        shown, hidden = (
            (times[part.at.cpu()], original(part.x), part.seen.cpu().numpy()) for part in few
        )
        content = irregular.predictions(times[places], original(x), shown, hidden, data.channels)
        yield Picture("predictions.png", content)


def _asked(split: SeriesSplit) -> SeriesSplit:
    """The series that something is hidden of."""
    return split.of(torch.nonzero(split.hidden.seen.any(2).any(1))[:, 0])


def _tight(split: SeriesSplit) -> SeriesSplit:
    """On the grid of its own times and the start: no state is kept for other batches' times."""
    places = torch.cat((split.shown.at.flatten(), split.hidden.at.flatten())).unique().tolist()
    return SeriesSplit(*(tightened(part, (0, *places)) for part in split))


def _last_before(shown: Series, places: Tensor) -> Tensor:
    """The values shown last before the places (B, m): (B, m, D); 0, the mean, before the first."""
    known = torch.searchsorted(shown.at.contiguous(), places.contiguous())
    known = torch.minimum(known, shown.count[:, None])
    last = (known - 1).clamp(min=0)[..., None].expand(-1, -1, shown.x.shape[2])
    return torch.where((known > 0)[..., None], shown.x.gather(1, last), 0.0)
