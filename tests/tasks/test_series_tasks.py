"""The tasks on time series: likelihoods by hand, scores, splits, seeds, pictures."""

import io
import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from node_repro.data.cubic_spiral import CubicSpiral, field
from node_repro.data.examples import select_examples
from node_repro.data.generated import shuffled_indices
from node_repro.data.poisson_events import EventData, PoissonEvents
from node_repro.data.series import Series
from node_repro.data.series_csv import IrregularData, SeriesCSV
from node_repro.data.sharding import Noise
from node_repro.data.spirals import WINDOW, SpiralData, Spirals, paper_like
from node_repro.models import (
    EventModel,
    EventPrediction,
    SeriesModel,
    SeriesPrediction,
    TrajectoryModel,
)
from node_repro.models.gaussian import normal_log_density
from node_repro.tasks.field_fit import FieldFit
from node_repro.tasks.irregular import Irregular
from node_repro.tasks.latent_ode import SpiralBatch, SpiralPrediction
from node_repro.tasks.likelihood import kl_weight, log_mean_exp, take_roots
from node_repro.tasks.linear_probe import (
    discriminant_direction,
    probe_accuracy,
    with_products,
)
from node_repro.tasks.poisson import Poisson

CPU: Any = {
    "batch_size": 7,
    "eval_batch_size": 4,
    "seed": 0,
    "device": torch.device("cpu"),
    "dtype": torch.float64,
}


@pytest.fixture(scope="module")
def spirals() -> SpiralData:
    return Spirals(shape=paper_like, trajectories=50, observed=30, noise_sd=0.1, seed=0).load()


@pytest.fixture(scope="module", params=[False, True], ids=["events", "marked"])
def events(request: pytest.FixtureRequest) -> EventData:
    return PoissonEvents(
        sequences=40,
        low=0.5,
        high=4.0,
        period=5.0,
        end=10.0,
        phases="random",
        marks=request.param,
        mark_sd=0.1,
        seed=0,
    ).load()


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> IrregularData:
    path = tmp_path_factory.mktemp("ward") / "ward.csv"
    rows = [
        f"s{i},{j + 0.1 * i},{c},{(i + j) ** 2 if c == 'a' else 100 * math.sin(i + j)}"
        for i in range(20)
        for j in range(6)
        for c in ("a", "b")
        if c == "a" or (i + j) % 3
    ]
    path.write_text("id,time,channel,value\n" + "\n".join(rows))
    return SeriesCSV(path=str(path), hide="between", part=0.3, seed=0).load()


class Oracle(SeriesModel):
    """Says the truth, plus an error, for each of three samples: e, -e and 0."""

    def __init__(self, clean: Tensor, error: float) -> None:
        super().__init__()
        self.clean = clean
        self.errors = torch.tensor([error, -error, 0.0]).double()[:, None, None, None]

    def predict(self, series: Series, places: Tensor, noise: Noise) -> Tensor:
        index = places[..., None].expand(-1, -1, 2)
        return self.clean.gather(1, index) + self.errors

    def forward(self, series: Series, noise: Noise) -> SeriesPrediction:
        return SeriesPrediction(
            self.predict(series, series.at, noise), torch.full((len(series.at),), 2.0)
        )


def means(parts: list[Mapping[str, Tensor]]) -> dict[str, float]:
    return {k: float(torch.cat([part[k] for part in parts]).mean()) for k in parts[0]}


def scored(task: SpiralPrediction, split: str, error: float) -> dict[str, float]:
    parts = []
    for batch in task.evaluation_batches(split):
        model = Oracle(batch.split.clean, error)
        parts.append(task.scores(model, batch))
    return dict(task.finalize_scores(means(parts)))


def prediction(data: SpiralData, **changes: Any) -> SpiralPrediction:
    options: dict[str, Any] = {"noise_sd": 0.1, "kl_warmup": 0, "noise_annealing": 0}
    options |= CPU | changes
    return SpiralPrediction(data=data, **options)


def test_one_normal_is_torchs_and_several_are_a_mixture() -> None:
    x, mean = torch.randn(2, 5, generator=torch.Generator().manual_seed(0)).double()
    expected = torch.distributions.Normal(mean, 0.3).log_prob(x)
    torch.testing.assert_close(normal_log_density(x, mean, 0.3), expected)
    values = torch.tensor([[-1000.0], [-1001.0]]).double()
    assert float(log_mean_exp(values)) == pytest.approx(-1000 + math.log((1 + math.exp(-1)) / 2))


def test_the_divergence_comes_to_count_linearly() -> None:
    assert [kl_weight(step, 4) for step in (0, 1, 4, 9)] == [0.0, 0.25, 1.0, 1.0]
    assert kl_weight(0, 0) == 1.0


def test_mean_squares_become_their_roots() -> None:
    assert take_roots({"mse_x": 4.0, "kl_nats": 9.0}) == {"rmse_x": 2.0, "kl_nats": 9.0}


def test_every_example_is_drawn_equally_often_whatever_the_step_begun_at() -> None:
    passes = [shuffled_indices(20, 5, 0, step) for step in range(8)]
    for turn in (passes[:4], passes[4:]):
        assert sorted(torch.cat(turn).tolist()) == list(range(20))
    assert not torch.equal(torch.cat(passes[:4]), torch.cat(passes[4:]))
    assert torch.equal(shuffled_indices(20, 5, 0, 6), passes[6])
    assert not torch.equal(shuffled_indices(20, 5, 1, 6), passes[6])
    assert len(shuffled_indices(3, 5, 0, 0)) == 3


def test_truth_scores_nothing_clean_and_the_noise_noisy(spirals: SpiralData) -> None:
    task = prediction(spirals)
    scores = scored(task, "test", 0.0)
    assert max(scores["rmse_clean"], scores["rmse_window"]) < 1e-15
    noise = spirals.test.noisy[:, WINDOW:] - spirals.test.clean[:, WINDOW:]
    assert scores["rmse_noisy"] == pytest.approx(float(noise.square().mean().sqrt()))
    # nats a point, two coordinates
    expected = float(torch.distributions.Normal(0.0, 0.1).log_prob(noise).sum(2).mean())
    assert scores["log_likelihood_nats"] == pytest.approx(expected)


def test_the_mean_of_samples_and_a_sample_are_scored_apart(spirals: SpiralData) -> None:
    scores = scored(prediction(spirals), "test", 0.5)
    assert scores["rmse_clean"] == pytest.approx(0, abs=1e-12)
    assert scores["rmse_sample"] == pytest.approx(math.sqrt(0.25 + 0.01), rel=0.02)


def test_the_loss_is_the_negative_likelihood_of_what_was_seen_plus_the_divergence(
    spirals: SpiralData,
) -> None:
    task = prediction(spirals, kl_warmup=10)
    for step, weight in ((0, 0.0), (5, 0.5), (12, 1.0)):
        batch = next(task.training_batches(0, step))
        model, seen = Oracle(batch.split.clean, 0.2), batch.split.observed
        loss, metrics = task.loss(model, batch)
        likelihoods = [
            torch.distributions.Normal(mean, 0.1).log_prob(seen.x).sum() / len(seen.x)
            for mean in model(seen, batch.noise).means
        ]
        nll = -torch.stack(likelihoods).mean()
        torch.testing.assert_close(metrics["nll_nats"], nll)
        torch.testing.assert_close(loss, nll + weight * 2.0)


def test_the_noise_in_the_loss_is_annealed_and_that_of_the_scores_is_not(
    spirals: SpiralData,
) -> None:
    task = prediction(spirals, noise_annealing=10)
    for step, sd in ((0, 0.5), (5, 0.1 * math.sqrt(5)), (10, 0.1), (12, 0.1)):
        batch = task.training_batch(step)
        seen = batch.split.observed
        model = Oracle(batch.split.clean, 0.0)
        law = torch.distributions.Normal(model(seen, batch.noise).means, sd).log_prob(seen.x)
        expected = 2.0 - law.sum((2, 3)).mean()  # the Oracle's divergence is 2 nats
        torch.testing.assert_close(task.loss(model, batch).loss, expected)
    assert scored(task, "test", 0.0) == scored(prediction(spirals), "test", 0.0)


def test_errors_ahead_are_told_by_direction_and_as_a_median(spirals: SpiralData) -> None:
    class Lopsided(Oracle):
        """Is off by 0.3 for clockwise spirals, and right for others."""

        def predict(self, series: Series, places: Tensor, noise: Noise) -> Tensor:
            r = self.clean
            turn = r[:, 0, 0] * r[:, 1, 1] - r[:, 0, 1] * r[:, 1, 0]
            wrong = torch.where(turn < 0, 0.3, 0.0)
            return super().predict(series, places, noise) + wrong[None, :, None, None]

    task = prediction(spirals, eval_batch_size=100)
    test = task.splits["test"]
    found = task.diagnostics(Lopsided(test.clean, 0.0))
    noise = (test.noisy - test.clean)[:, WINDOW:]
    wrong = test.direction == -1
    for key, error in (
        ("clockwise", (noise[wrong] - 0.3)),
        ("counterclockwise", noise[~wrong]),
    ):
        assert found[f"rmse_noisy_{key}"] == pytest.approx(float(error.square().mean().sqrt()))
    errors = (noise - 0.3 * wrong[:, None, None]).square().mean((1, 2)).sqrt()
    assert found["rmse_noisy_median"] == pytest.approx(float(errors.median()))


def test_batches_and_their_noise_are_a_function_of_seed_and_step(spirals: SpiralData) -> None:
    def seed(batch: SpiralBatch) -> int:
        assert batch.noise.generator is not None
        return batch.noise.generator.initial_seed()

    task = prediction(spirals)
    batches = task.training_batches(0, 0)
    first, second = next(batches), next(batches)
    again = next(prediction(spirals).training_batches(0, 1))
    assert torch.equal(second.split.noisy, again.split.noisy)
    assert seed(second) == seed(again)
    assert seed(first) != seed(second)
    other = next(prediction(spirals, seed=1).training_batches(0, 1))
    assert seed(other) != seed(second)


@pytest.mark.parametrize("size", [1, 4, 1_000])
def test_evaluation_does_not_depend_on_the_batches_of_an_oracle(
    spirals: SpiralData, size: int
) -> None:
    whole = scored(prediction(spirals), "validation", 0.3)
    assert scored(prediction(spirals, eval_batch_size=size), "validation", 0.3) == pytest.approx(
        whole, rel=1e-6
    )


def test_a_probe_reads_a_plane_and_nothing_off_noise() -> None:
    random = torch.Generator().manual_seed(0)
    z, test = (torch.randn(400, 4, generator=random).double() for _ in range(2))
    normal = torch.tensor([1.0, -2.0, 0.5, 0.0]).double()

    def label(x: Tensor) -> Tensor:
        return (x @ normal + 0.3).sign()

    assert probe_accuracy(z, label(z), test, label(test)) > 0.95
    chance = torch.randn(400, generator=random).double().sign()
    assert 0.4 < probe_accuracy(z, chance, test, chance.flip(0)) < 0.6  # 4 standard errors: 0.1


def test_two_planes_of_rotation_are_told_apart_by_products_alone() -> None:
    """One pair of coordinates is large for one label, the other pair for the other."""
    random = torch.Generator().manual_seed(0)

    def sample(count: int) -> tuple[Tensor, Tensor]:
        angle = 2 * math.pi * torch.rand(count, generator=random).double()
        circle = torch.stack((angle.cos(), angle.sin()), dim=1)
        nothing = torch.zeros_like(circle)
        label = torch.ones(count).double()
        label[::2] = -1
        first = torch.cat((circle, nothing), dim=1)
        other = torch.cat((nothing, circle), dim=1)
        return torch.where(label[:, None] > 0, first, other), label

    (z, label), (test, label_test) = sample(400), sample(400)
    assert probe_accuracy(z, label, test, label_test) < 0.6  # 4 standard errors: 0.1
    assert probe_accuracy(with_products(z), label, with_products(test), label_test) == 1.0
    assert with_products(z).shape == (400, 4 + 10)


class TrueRate(EventModel):
    """Knows the rate that drew the events, as three equal samples, and says circles of marks."""

    def __init__(self, data: EventData, phase: Tensor, factor: float = 1.0) -> None:
        super().__init__()
        self.data, self.phase, self.factor = data, phase, factor

    def forward(self, events: Series, noise: Noise) -> EventPrediction:
        phase = self.phase[:, None]
        t = events.grid[events.at]
        log_rate = (self.factor * self.data.rate.at(t, phase)).log().expand(3, -1, -1)
        end = torch.tensor(self.data.end).double()
        integral = self.factor * self.data.rate.integral(end, self.phase).expand(3, -1)
        means = self.data.mark(t, phase)[..., : events.x.shape[2]].expand(3, -1, -1, -1)
        zero = torch.zeros(3, len(phase)).double()
        return EventPrediction(log_rate, integral, means, zero[0], zero)

    def intensity(self, events: Series, ts: Tensor, noise: Noise) -> Tensor:
        return self.factor * self.data.rate.at(ts, self.phase[:, None]).expand(3, -1, -1)

    def marks(self, events: Series, ts: Tensor, noise: Noise) -> Tensor:
        true = self.data.mark(ts, self.phase[:, None])[..., : events.x.shape[2]]
        return self.factor * true.expand(3, -1, -1, -1)


def poisson(data: EventData, **changes: Any) -> Poisson:
    options: dict[str, Any] = {"mark_sd": 0.1, "poisson_term": True, "kl_warmup": 0} | CPU | changes
    return Poisson(data=data, **options)


def test_the_true_rate_scores_what_the_true_rate_scores(events: EventData) -> None:
    task = poisson(events)
    for batch in task.evaluation_batches("test"):
        scores = task.scores(TrueRate(events, batch.split.phase), batch)
        for name in ("log_likelihood_true_nats", "log_likelihood_nats"):
            torch.testing.assert_close(scores[name], -scores["loss_nats"])
        assert float(scores["integral_error"].max()) < 1e-12
        assert float(scores["rate_error"].max()) < 1e-12


def test_a_rate_too_high_costs_what_the_formula_says(events: EventData) -> None:
    task = poisson(events)
    batch = next(task.evaluation_batches("test"))
    right, high = (
        task.scores(TrueRate(events, batch.split.phase, factor), batch) for factor in (1.0, 1.5)
    )
    whole = events.rate.integral(torch.tensor(events.end).double(), batch.split.phase)
    gain = batch.split.events.count.double() * math.log(1.5) - 0.5 * whole
    torch.testing.assert_close(high["log_likelihood_nats"] - right["log_likelihood_nats"], gain)
    torch.testing.assert_close(high["integral_error"], torch.full_like(whole, 0.5))
    alone = right["log_likelihood_events_true_nats"]
    torch.testing.assert_close(right["log_likelihood_events_nats"], alone)
    if not events.marked:
        torch.testing.assert_close(right["log_likelihood_true_nats"], alone)
    # the trapezium's error on 401 points is what differs between the two
    torch.testing.assert_close(high["rate_error"], torch.full_like(whole, 0.5), rtol=1e-4, atol=0)


def test_the_marks_of_the_whole_time_are_scored_against_the_circle(events: EventData) -> None:
    task = poisson(events)
    batch = next(task.evaluation_batches("test"))
    scores = task.scores(TrueRate(events, batch.split.phase, 1.5), batch)
    assert ("mse_marks" in scores) == events.marked
    if events.marked:  # half a radius off, so that the squares of both coordinates add up to 1/4
        torch.testing.assert_close(scores["mse_marks"], torch.full_like(scores["kl_nats"], 0.125))


def test_without_the_poisson_term_the_times_of_the_events_do_not_count() -> None:
    data = PoissonEvents(
        sequences=20,
        low=0.5,
        high=4.0,
        period=5.0,
        end=10.0,
        phases="random",
        marks=True,
        mark_sd=2.0,
        seed=0,
    ).load()
    task = poisson(data, poisson_term=False, mark_sd=2.0)
    batch = next(task.evaluation_batches("test"))
    events, phase = batch.split.events, batch.split.phase
    model, wrong_rate = TrueRate(data, phase), TrueRate(data, phase, 1.5)
    wrong_rate.data = replace(data, rate=replace(data.rate, high=9.0))
    scores = task.scores(model, batch)
    mean = data.mark(events.grid[events.at], phase[:, None])
    law = torch.distributions.Normal(mean, 2.0).log_prob(events.x) * events.seen
    torch.testing.assert_close(scores["log_likelihood_nats"], law.sum((1, 2)))
    torch.testing.assert_close(scores["loss_nats"], -law.sum((1, 2)))
    torch.testing.assert_close(task.loss(wrong_rate, batch).loss, -law.sum((1, 2)).mean())
    assert scores.keys() == {"loss_nats", "kl_nats", "log_likelihood_nats", "mse_marks"}
    assert task.diagnostics(model) == {} and not list(task.pictures(model, final=True))


def test_the_constant_rate_is_the_best_constant_on_the_training_events() -> None:
    data = PoissonEvents(
        sequences=40,
        low=0.5,
        high=4.0,
        period=5.0,
        end=10.0,
        phases="shared",
        marks=False,
        mark_sd=0.1,
        seed=0,
    ).load()
    task = poisson(data)

    def total(rate: float) -> float:
        count = task.train.events.count
        return float((count * math.log(rate) - rate * data.end).sum())

    assert total(task.constant) > max(total(0.99 * task.constant), total(1.01 * task.constant))
    for batch in task.evaluation_batches("test"):
        scores = task.scores(TrueRate(data, batch.split.phase), batch)
        count = batch.split.events.count
        expected = count.double() * math.log(task.constant) - 10 * task.constant
        torch.testing.assert_close(scores["log_likelihood_constant_nats"], expected)


def test_batches_of_events_lie_on_grids_of_their_own(events: EventData) -> None:
    task = poisson(events)
    batch = next(task.training_batches(0, 3))
    seen = batch.split.events
    assert seen.grid[0] == 0 and seen.grid[-1] == events.end
    assert len(seen.grid) == 2 + int(seen.count.sum()) < len(events.train.events.grid)


def test_findings_compare_expected_with_true_and_observed_counts(events: EventData) -> None:
    task = poisson(events, eval_batch_size=100)
    phase = task.splits["test"].phase
    found = task.diagnostics(TrueRate(events, phase, 1.1))
    assert found["integral_ratio"] == pytest.approx(1.1)
    assert found["observed_events"] == int(events.test.events.count.sum())


class Carried(SeriesModel):
    """Says the last value shown before each place."""

    def forward(self, series: Series, noise: Noise) -> SeriesPrediction:
        raise NotImplementedError

    def predict(self, series: Series, places: Tensor, noise: Noise) -> Tensor:
        shown = series
        said = torch.zeros(len(places), places.shape[1], shown.x.shape[2]).double()
        for b in range(len(places)):
            for j in range(places.shape[1]):
                before = [i for i in range(int(shown.count[b])) if shown.at[b, i] < places[b, j]]
                if before:
                    said[b, j] = shown.x[b, before[-1]]
        return said[None]


def irregular(data: IrregularData, **changes: Any) -> Irregular:
    options: dict[str, Any] = {"noise_sd": 0.1, "kl_warmup": 0} | CPU | changes
    return Irregular(data=data, **options)


def test_hidden_values_alone_are_scored_beside_the_last_one_shown(ward: IrregularData) -> None:
    task = irregular(ward)
    batches = list(task.evaluation_batches("test"))
    assert sum(len(batch.split.hidden.count) for batch in batches) == len(ward.test.hidden.count)
    for batch in batches:
        scores = task.scores(Carried(), batch)
        torch.testing.assert_close(scores["mse_hidden"], scores["mse_carried"])
        hidden = batch.split.hidden
        said = Carried().predict(batch.split.shown, hidden.at, batch.noise)[0]
        for b in range(len(hidden.count)):
            error = (said[b] - hidden.x[b])[hidden.seen[b]]
            assert float(scores["mse_hidden"][b]) == pytest.approx(float(error.square().mean()))


def test_series_are_evaluated_on_grids_of_their_own_times(ward: IrregularData) -> None:
    task = irregular(ward, eval_batch_size=1)
    whole = task.splits["test"]
    for i, batch in enumerate(task.evaluation_batches("test")):
        assert len(batch.split.shown.grid) <= 7 < len(whole.shown.grid)  # 6 times and the start
        assert torch.equal(batch.split.shown.grid, batch.split.hidden.grid)
        for part, given in zip(batch.split, select_examples(whole, torch.tensor([i])), strict=True):
            k = int(part.count[0])
            assert torch.equal(part.grid[part.at[0, :k]], given.grid[given.at[0, :k]])
            assert torch.equal(part.x[0, :k], given.x[0, :k])


def test_errors_by_channel_are_in_the_units_of_the_file(ward: IrregularData) -> None:
    class Mean(Carried):
        def predict(self, series: Series, places: Tensor, noise: Noise) -> Tensor:
            return torch.zeros(1, len(places), places.shape[1], 2).double()

    found = irregular(ward).diagnostics(Mean())["rmse_by_channel"]
    assert isinstance(found, dict) and set(found) == {"a", "b"}
    for j, name in enumerate(ward.channels):
        hidden = ward.test.hidden
        values = hidden.x[..., j][hidden.seen[..., j]] * ward.sd[j]
        assert found[name] == pytest.approx(float(values.square().mean().sqrt()))


def field_fit(**changes: Any) -> FieldFit:
    data = CubicSpiral(points=200, noise_sd=0.0, seed=0).load()
    options: dict[str, Any] = {"window": 5} | CPU | changes
    return FieldFit(data=data, **options)


class TrueField(TrajectoryModel):
    """Euler's steps, many of them, along the true field; or along a multiple of it."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor

    def field(self, y: Tensor) -> Tensor:
        return self.factor * field(y)

    def forward(self, y0: Tensor, ts: Tensor) -> Tensor:
        rows = [y0]
        for t, t1 in pairwise(ts):
            y, h = rows[-1], (t1 - t) / 200
            for _ in range(200):
                y = y + h * self.field(y + h / 2 * self.field(y))
            rows.append(y)
        return torch.stack(rows)


def test_the_true_field_fits() -> None:
    task = field_fit()
    batch = next(task.training_batches(0, 0))
    assert batch.x.shape == (5, 7, 2) and torch.equal(batch.ts, task.ts[:5])
    assert float(task.loss(TrueField(), batch).loss) < 1e-4
    assert float(task.loss(TrueField(1.5), batch).loss) > 1e-2
    whole = next(task.evaluation_batches("test"))
    scores = task.scores(TrueField(1.5), whole)
    assert task.finalize_scores(means([scores]))["field_error"] == pytest.approx(0.5)


def test_windows_are_a_function_of_seed_and_step() -> None:
    first, again = (next(field_fit().training_batches(0, 4)) for _ in range(2))
    assert torch.equal(first.x, again.x)
    assert not torch.equal(first.x, next(field_fit().training_batches(0, 5)).x)
    assert not torch.equal(first.x, next(field_fit(seed=1).training_batches(0, 4)).x)


def test_pictures_are_png_files(spirals: SpiralData, events: EventData, tmp_path: Path) -> None:
    task = prediction(spirals)
    model = Oracle(task.splits["test"].clean[:8], 0.1)
    drawn_now = list(task.pictures(model, final=True))
    phase = events.test.phase[:4]
    drawn_now += list(poisson(events).pictures(TrueRate(events, phase), final=False))
    drawn_now += list(field_fit().pictures(TrueField(), final=True))
    files = {picture.file: picture.content for picture in drawn_now}
    assert set(files) == {
        "figure8_predictions.png",
        "figure8_predictions.npz",
        "figure7_intensity.png",
        "field.png",
    }
    for file, content in files.items():
        assert content.startswith(b"\x89PNG" if file.endswith("png") else b"PK")


def test_lines_of_models_without_a_latent_state_begin_at_the_second_observation(
    spirals: SpiralData,
) -> None:
    task = prediction(spirals)
    model = Oracle(task.splits["test"].clean[:8], 0.1)
    files = dict(task.pictures(model, final=True))
    with np.load(io.BytesIO(files["figure8_predictions.npz"])) as arrays:
        known = np.isfinite(arrays["predicted"]).all(2)
    second = task.splits["test"].observed.at[:8, 1].numpy()
    assert (known == (np.arange(2 * WINDOW) >= second[:, None])).all()


def test_pictures_of_marked_events_have_the_marks(events: EventData) -> None:
    model = TrueRate(events, events.test.phase[:4])
    files = dict(poisson(events).pictures(model, final=True))
    with np.load(io.BytesIO(files["figure7_intensity.npz"])) as arrays:
        marked = "marks" in arrays
        assert marked is events.marked
        if marked:
            first = int(arrays["count"][0])
            error = arrays["marks"] - arrays["marks_learned"]
            assert 0 < np.abs(error[0, :first]).max() < 0.5


def test_discriminant_direction_separates_clusters() -> None:
    random = torch.Generator().manual_seed(0)
    label = torch.tensor([1.0, -1.0]).double().repeat(50)
    z = torch.randn(100, 3, generator=random).double() * torch.tensor([5.0, 1.0, 1.0])
    z[:, 1] += 4 * label
    direction = discriminant_direction(z, label)
    assert float(direction.norm()) == pytest.approx(1)
    assert ((z @ direction - z.mean(0) @ direction).sign() == label).all()
    alike = discriminant_direction(z - z.mean(0), torch.ones(100))
    assert abs(float(alike[0])) > 0.9
