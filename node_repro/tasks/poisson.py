"""Events of an inhomogeneous Poisson process (section 5, figure 7), alone or with marks.

log p(t_1 ... t_n) = sum_i log lambda(t_i) - int lambda dt; with marks, plus log N(mark; mean,
mark_sd^2) of each event. The loss of a sequence is minus that, the mean of the posterior's samples,
plus the posterior's divergence from its prior. What test sequences score is compared with the true
rate and with the best constant one.
"""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from node_repro.data.order import drawn
from node_repro.data.poisson_events import EventData, EventSplit
from node_repro.data.series import generator, tightened
from node_repro.tasks import Loss, Picture
from node_repro.tasks.likelihood import annealed, log_mean, log_normal

SHOWN = 4  # test sequences in the picture
POINTS = 401  # times at which rates are compared


class EventBatch(NamedTuple):
    """random: for the noise of this batch. weight: of the divergence in the loss."""

    split: EventSplit
    random: torch.Generator
    weight: float


class Poisson:
    """mark_sd: of the marks in the likelihood. kl_warmup: steps over which the divergence comes to
    count.
    """

    loss_metric = "loss_nats"
    selected_by = "loss_nats"
    iterations_per_epoch = None

    def __init__(
        self,
        *,
        data: EventData,
        mark_sd: float,
        kl_warmup: int,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.data, self.mark_sd, self.kl_warmup = data, mark_sd, kl_warmup
        self.train = data.train.to(device, dtype)
        self.splits = {
            "validation": data.validation.to(device, dtype),
            "test": data.test.to(device, dtype),
        }
        self.batch_size, self.eval_batch_size, self.seed = batch_size, eval_batch_size, seed
        events = self.train.events
        self.constant = float(events.count.sum()) / (len(events.count) * data.end)

    @property
    def sizes(self) -> Mapping[str, int]:
        return {"features": self.train.events.x.shape[2]}

    def training_batches(self, epoch: int, start: int) -> Iterator[EventBatch]:
        step = start
        while True:
            chosen = drawn(len(self.train.phase), self.batch_size, self.seed, step)
            split = self._tight(self.train.of(chosen.to(self.train.phase.device)))
            random = generator(self.seed, "posterior", step)
            yield EventBatch(split, random, annealed(step, self.kl_warmup))
            step += 1

    def evaluation_batches(self, split: str) -> Iterator[EventBatch]:
        whole = self.splits[split]
        places = torch.arange(len(whole.phase), device=whole.phase.device)
        for i, part in enumerate(places.split(self.eval_batch_size)):
            yield EventBatch(self._tight(whole.of(part)), generator("evaluation", i), 1.0)

    def loss(self, model: nn.Module, batch: EventBatch) -> Loss:
        log_p, predicted = self._log_likelihood(model, batch)
        nll, kl = -log_p.mean(0), predicted.kl
        metrics = {"nll_nats": nll.mean(), "kl_nats": kl.mean()}
        return Loss((nll + batch.weight * kl).mean(), {k: v.detach() for k, v in metrics.items()})

    def scores(self, model: nn.Module, batch: EventBatch) -> Mapping[str, Tensor]:
        """Of each sequence, in nats a sequence. log_likelihood_nats: the importance-weighted bound
        log mean_s p(x | z_s) p(z_s) / q(z_s | x), which lies below the true one on average.

        integral_error: |int lambda_hat - int lambda| / int lambda. rate_error: int |lambda_hat -
        lambda| dt / int lambda, lambda_hat the mean over posterior samples.
        """
        log_p, predicted = self._log_likelihood(model, batch)
        split, data = batch.split, self.data
        ts = torch.linspace(0, data.end, POINTS, dtype=torch.float64)
        rate = model.intensity(split.events, ts, batch.random).mean(0)  # pyright: ignore
        true = data.rate.at(ts.to(rate), split.phase[:, None])
        whole = data.rate.integral(torch.tensor(data.end).to(rate), split.phase)
        return {
            "loss_nats": predicted.kl - log_p.mean(0),
            "kl_nats": predicted.kl,
            "log_likelihood_nats": log_mean(log_p + predicted.log_weight),
            "log_likelihood_true_nats": self._true(split),
            "log_likelihood_constant_nats": self._constant(split),
            "integral_error": (predicted.integral.mean(0) / whole - 1).abs(),
            "rate_error": torch.trapezoid((rate - true).abs(), ts.to(rate), dim=1) / whole,
        }

    def concluded(self, means: Mapping[str, float]) -> Mapping[str, float]:
        return means

    def findings(self, model: nn.Module) -> Mapping[str, object]:
        """The rate's integral over all test sequences together, against the true one."""
        expected = true = 0.0
        for batch in self.evaluation_batches("test"):
            _, predicted = self._log_likelihood(model, batch)
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

    def pictures(self, model: nn.Module, *, final: bool) -> Iterator[Picture]:
        from node_repro.figures import events, npz

        test = self.splits["test"]
        few = test.of(torch.arange(min(SHOWN, len(test.phase)), device=test.phase.device))
        ts = torch.linspace(0, self.data.end, POINTS, dtype=torch.float64)
        rates = model.intensity(few.events, ts, generator("pictures"))  # pyright: ignore
        true = self.data.rate.at(ts.to(few.phase), few.phase[:, None])
        times = few.events.grid[few.events.at.cpu()]
        arrays = {
            "ts": ts.numpy(),
            "rates": _numpy(rates),
            "true": _numpy(true),
            "times": times.numpy(),
            "count": _numpy(few.events.count),
        }
        yield Picture("figure7_intensity.png", events.intensity(**arrays))
        if final:
            yield Picture("figure7_intensity.npz", npz(**arrays))

    def _log_likelihood(self, model: nn.Module, batch: EventBatch):  # noqa: ANN202
        """log p(events | z) of each sample and sequence, (S, B), and all that the model said."""
        events = batch.split.events
        predicted = model(events, batch.random)
        happened = torch.arange(events.at.shape[1], device=events.at.device) < events.count[:, None]
        log_p = (predicted.log_rate * happened).sum(2) - predicted.integral
        marks = log_normal(events.x, predicted.means, self.mark_sd) * events.seen
        return log_p + marks.sum((2, 3)), predicted

    def _true(self, split: EventSplit) -> Tensor:
        """Under the rate, and the marks' law, that drew the events, (B,)."""
        rate, events, phase = self.data.rate, split.events, split.phase[:, None]
        happened = torch.arange(events.at.shape[1], device=events.at.device) < events.count[:, None]
        t = events.grid.to(phase)[events.at]
        log_rate = (rate.at(t, phase).log() * happened).sum(1)
        end = torch.tensor(self.data.end).to(phase)
        log_p = log_rate - rate.integral(end, split.phase)
        if not self.data.marked:
            return log_p
        marks = log_normal(events.x, self.data.mark(t, phase), self.data.mark_noise)
        return log_p + (marks * events.seen).sum((1, 2))

    def _constant(self, split: EventSplit) -> Tensor:
        """Under the constant rate of the training events, and marks from one normal, (B,)."""
        events, train = split.events, self.train.events
        log_p = events.count.to(split.phase) * math.log(self.constant)
        log_p = log_p - self.constant * self.data.end
        if not self.data.marked:
            return log_p
        marks = train.x[train.seen.any(2)]
        mean, sd = marks.mean(0), marks.std(0, correction=0)
        scaled = (events.x - mean) / sd
        density = log_normal(scaled, torch.zeros_like(scaled), 1.0) - sd.log()
        return log_p + (density * events.seen).sum((1, 2))

    @staticmethod
    def _tight(split: EventSplit) -> EventSplit:
        """On the grid of its own events, 0 and the end."""
        events = split.events
        return split._replace(events=tightened(events, (0, len(events.grid) - 1)))


def _numpy(x: Tensor) -> np.ndarray:
    return x.detach().cpu().numpy()
