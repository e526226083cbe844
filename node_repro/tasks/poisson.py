"""Events of an inhomogeneous Poisson process (section 5, figure 7), with or without marks.

log p(t_1 ... t_n) = sum_i log lambda(t_i) - int lambda dt, and with marks plus log N(mark; mean,
mark_sd^2) of each event. The loss of a sequence is its negative log-likelihood, averaged over
posterior samples, plus the divergence of the posterior from the prior. Test scores are compared
with the true rate and with the best constant one.

Without the Poisson term only the marks count, as if the times of the events said nothing: then the
model takes the times as given, and the scores are those of the marks.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Unpack

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from node_repro.data.generated import seeded_generator
from node_repro.data.poisson_events import EventData, EventSplit
from node_repro.data.series import Series, shrink_grid
from node_repro.data.sharding import Noise
from node_repro.models import EventModel, EventPrediction
from node_repro.models.gaussian import normal_log_density
from node_repro.tasks import Loss, Picture, SplitTask, TaskSettings
from node_repro.tasks.arrays import to_numpy
from node_repro.tasks.likelihood import (
    PosteriorBatch,
    kl_weight,
    log_mean_exp,
    take_roots,
    variational_loss,
)

SHOWN = 4  # test sequences in the picture
POINTS = 401  # times at which rates are compared

EventBatch = PosteriorBatch[EventSplit]


class Poisson(SplitTask[EventModel, EventBatch, EventSplit]):
    """Learns the rate of events, and their marks.

    Args:
        data: The sequences of events.
        mark_sd: Standard deviation of the marks in the likelihood.
        poisson_term: Whether the likelihood contains the times of the events, besides the marks.
        kl_warmup: Iterations over which the weight of the KL term is annealed from 0 to 1.
        settings: Settings of the run.
    """

    loss_metric = "loss_nats"
    selection_metric = "loss_nats"
    metrics: ClassVar[Mapping[str, str]] = {"rmse_marks": "RMSE of the marks"}

    def __init__(
        self,
        *,
        data: EventData,
        mark_sd: Annotated[float, Gt(0)],
        poisson_term: bool,
        kl_warmup: Annotated[int, Ge(0)],
        **settings: Unpack[TaskSettings],
    ) -> None:
        super().__init__(data, **settings)
        self.data, self.mark_sd, self.kl_warmup = data, mark_sd, kl_warmup
        self.poisson_term = poisson_term
        events = self.train.events
        self.constant = float(events.count.sum()) / (len(events.count) * data.end)

    @property
    def sizes(self) -> Mapping[str, int]:
        return {"features": self.train.events.x.shape[2]}

    def training_batch(self, step: int) -> EventBatch:
        noise = Noise(seeded_generator(self.seed, "posterior", step))
        split = _shrink(self.training_examples(step))
        return EventBatch(split, noise, kl_weight(step, self.kl_warmup))

    def evaluation_batches(self, split: str) -> Iterator[EventBatch]:
        for i, part in enumerate(self.evaluation_examples(split)):
            yield EventBatch(_shrink(part), Noise(seeded_generator("evaluation", i)), 1.0)

    def loss(self, model: EventModel, batch: EventBatch) -> Loss:
        events, marks, predicted = self._log_likelihood(model, batch)
        log_p = events + marks if self.poisson_term else marks
        return variational_loss(-log_p.mean(0), predicted.kl, batch.weight)

    def scores(self, model: EventModel, batch: EventBatch) -> Mapping[str, Tensor]:
        """Scores of each sequence, in nats per sequence.

        log_likelihood_nats is the importance-weighted bound log mean_s p(x | z_s) p(z_s) /
        q(z_s | x), which is below the true value on average. mse_marks is the mean square error of
        the mean mark over the whole time, per coordinate, against the noiseless one; a point that
        does not move scores 0.5 at least. The scores of the rate are in `_rate_scores`.
        """
        events, marks, predicted = self._log_likelihood(model, batch)
        log_p = events + marks if self.poisson_term else marks
        scores = {
            "loss_nats": predicted.kl - log_p.mean(0),
            "kl_nats": predicted.kl,
            "log_likelihood_nats": log_mean_exp(log_p + predicted.log_weight),
        }
        ts = torch.linspace(0, self.data.end, POINTS, dtype=torch.float64)
        if self.data.marked:
            learned = model.marks(batch.split.events, ts, batch.noise).mean(0)
            true = self.data.mark(ts.to(learned), batch.split.phase[:, None])
            scores["mse_marks"] = (learned - true).square().mean((1, 2))
        if self.poisson_term:
            scores |= self._rate_scores(model, batch, ts, events, predicted)
        return scores

    def _rate_scores(
        self,
        model: EventModel,
        batch: EventBatch,
        ts: Tensor,
        events: Tensor,
        predicted: EventPrediction,
    ) -> dict[str, Tensor]:
        """Scores of the rate of each sequence, and log-likelihoods under other rates.

        log_likelihood_events_nats is the bound for the events without their marks. integral_error
        is |int lambda_hat - int lambda| / int lambda, and rate_error is
        int |lambda_hat - lambda| dt / int lambda, with lambda_hat the mean over posterior samples.
        """
        split, data = batch.split, self.data
        rate = model.intensity(split.events, ts, batch.noise).mean(0)
        true = data.rate.at(ts.to(rate), split.phase[:, None])
        total = data.rate.integral(torch.tensor(data.end).to(rate), split.phase)
        return {
            "log_likelihood_events_nats": log_mean_exp(events + predicted.log_weight),
            "log_likelihood_true_nats": self._log_likelihood_true(split),
            "log_likelihood_constant_nats": self._log_likelihood_constant(split),
            "log_likelihood_events_true_nats": self._log_likelihood_true(split, marks=False),
            "log_likelihood_events_constant_nats": self._log_likelihood_constant(
                split, marks=False
            ),
            "integral_error": (predicted.integral.mean(0) / total - 1).abs(),
            "rate_error": torch.trapezoid((rate - true).abs(), ts.to(rate), dim=1) / total,
        }

    def finalize_scores(self, means: Mapping[str, float]) -> Mapping[str, float]:
        return take_roots(means)

    def diagnostics(self, model: EventModel) -> Mapping[str, object]:
        """The integral of the rate over all test sequences together, and the true one; nothing
        without the Poisson term, which alone trains the rate.
        """
        if not self.poisson_term:
            return {}
        expected = true = 0.0
        for batch in self.evaluation_batches("test"):
            _, _, predicted = self._log_likelihood(model, batch)
            expected += float(predicted.integral.mean(0).sum())
            end = torch.tensor(self.data.end).to(batch.split.phase)
            true += float(self.data.rate.integral(end, batch.split.phase).sum())
        return {
            "integral_ratio": expected / true,
            "constant_rate": self.constant,
            "observed_events": int(self.splits["test"].events.count.sum()),
            "expected_events": expected,
            "true_expected_events": true,
        }

    def pictures(self, model: EventModel, *, final: bool) -> Iterator[Picture]:
        if not self.poisson_term:
            return
        from node_repro.figures import events, npz

        examples = self.first_test_examples(SHOWN)
        ts = torch.linspace(0, self.data.end, POINTS, dtype=torch.float64)
        rates = model.intensity(examples.events, ts, Noise(seeded_generator("pictures")))
        t, phase = ts.to(examples.phase), examples.phase[:, None]
        times = examples.events.grid[examples.events.at.cpu()]
        arrays = {
            "ts": ts.numpy(),
            "rates": to_numpy(rates),
            "true": to_numpy(self.data.rate.at(t, phase)),
            "times": times.numpy(),
            "count": to_numpy(examples.events.count),
        }
        if self.data.marked:
            own = _shrink(examples).events
            learned = model(own, Noise(seeded_generator("pictures"))).means.mean(0)
            arrays["marks"] = to_numpy(own.x)
            arrays["marks_learned"] = to_numpy(learned)
            arrays["marks_true"] = to_numpy(self.data.mark(t, phase))
        yield Picture("figure7_intensity.png", events.intensity(**arrays))
        if final:
            yield Picture("figure7_intensity.npz", npz(**arrays))

    def _log_likelihood(
        self, model: EventModel, batch: EventBatch
    ) -> tuple[Tensor, Tensor, EventPrediction]:
        """log p of the events and of their marks given z, of each sample and sequence (S, B), and
        the model's predictions.
        """
        events = batch.split.events
        predicted: EventPrediction = model(events, batch.noise)
        log_p = (predicted.log_rate * _is_event(events)).sum(2) - predicted.integral
        marks = normal_log_density(events.x, predicted.means, self.mark_sd) * events.seen
        return log_p, marks.sum((2, 3)), predicted

    def _log_likelihood_true(self, split: EventSplit, *, marks: bool = True) -> Tensor:
        """log p (B,) under the true rate and, with marks, the true law of the marks."""
        rate, events, phase = self.data.rate, split.events, split.phase[:, None]
        t = events.grid.to(phase)[events.at]
        log_rate = (rate.at(t, phase).log() * _is_event(events)).sum(1)
        end = torch.tensor(self.data.end).to(phase)
        log_p = log_rate - rate.integral(end, split.phase)
        if not (marks and self.data.marked):
            return log_p
        law = normal_log_density(events.x, self.data.mark(t, phase), self.data.mark_sd)
        return log_p + (law * events.seen).sum((1, 2))

    def _log_likelihood_constant(self, split: EventSplit, *, marks: bool = True) -> Tensor:
        """log p (B,) under the constant rate of the training events and, with marks, one normal of
        the marks.
        """
        events, train = split.events, self.train.events
        log_p = events.count.to(split.phase) * math.log(self.constant)
        log_p = log_p - self.constant * self.data.end
        if not (marks and self.data.marked):
            return log_p
        known = train.x[train.seen.any(2)]
        mean, sd = known.mean(0), known.std(0, correction=0)
        scaled = (events.x - mean) / sd
        log_density = normal_log_density(scaled, torch.zeros_like(scaled), 1.0) - sd.log()
        return log_p + (log_density * events.seen).sum((1, 2))


def _is_event(events: Series) -> Tensor:
    """False (B, n) in the padding behind the last event."""
    return torch.arange(events.at.shape[1], device=events.at.device) < events.count[:, None]


def _shrink(split: EventSplit) -> EventSplit:
    """The sequences on the grid of their own events, 0 and the end."""
    events = split.events
    return split._replace(events=shrink_grid(events, (0, len(events.grid) - 1)))
