"""Regression, classification and the line: losses, scores, diagnostics, figure 1, whole runs."""

import io
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from node_repro.config.choices import Choices, conf_folder
from node_repro.data.labelled_points import MOONS, LabelledCurves
from node_repro.data.line import Line
from node_repro.data.noisy_function import PLATEAUS, WAVE, NoisyFunction
from node_repro.figures import depth, png
from node_repro.models import Deep, LineModel
from node_repro.models import Path as DepthPath
from node_repro.tasks.classification import Classification
from node_repro.tasks.line import LineFit
from node_repro.tasks.regression import Regression
from tests.test_run import go

CHOICES = Choices([conf_folder()])
EXPERIMENTS = [name for name in CHOICES.names("experiment") if name.startswith(("fig1_", "toys_"))]
COMMON: dict[str, Any] = {
    "batch_size": 8,
    "eval_batch_size": 64,
    "seed": 0,
    "device": torch.device("cpu"),
    "dtype": torch.float64,
}


class Known(Deep):
    """A map by two layers whose every state is known: z(1) = z(0) + shift, z(2) = z(1) + shift."""

    def __init__(self, shift: float, decoder: nn.Module | None = None) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(shift, dtype=torch.float64))
        self.decoder = decoder or nn.Identity()

    @property
    def span(self) -> tuple[float, float]:
        return 0.0, 2.0

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.path(x).z[-1])

    def rate(self, t: float, z: Tensor) -> Tensor:
        return self.shift.expand_as(z)

    def path(self, x: Tensor) -> DepthPath:
        steps = torch.arange(3, dtype=torch.float64)
        return DepthPath(steps, x + self.shift * steps[:, None, None])

    def evaluation_points(self, x: Tensor) -> DepthPath:
        ts, z = self.path(x)
        return DepthPath(ts[:-1], z[:-1, 0])


class Through(LineModel):
    """The line of a slope."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.known = slope

    @property
    def slope(self) -> float:
        return self.known

    def forward(self, y0: Tensor, xs: Tensor) -> Tensor:
        return y0 + self.slope * xs[:, None]


def regression(**changes: Any) -> Regression:
    data = NoisyFunction(shape=PLATEAUS, points=20, noise_sd=0.1, seed=0).load()
    return Regression(data=data, **(COMMON | changes))


def classification(**changes: Any) -> Classification:
    data = LabelledCurves(shape=MOONS, points=20, noise=0.1, seed=0).load()
    return Classification(data=data, **(COMMON | changes))


def line(noise_sd: float = 0.3, **changes: Any) -> LineFit:
    data = Line(slope=0.7, start=1.0, points=20, noise_sd=noise_sd, seed=0).load()
    return LineFit(data=data, **(COMMON | changes))


@pytest.mark.parametrize("build", [regression, classification, line])
def test_batches_are_a_function_of_seed_and_index_alone(build: Callable[..., Any]) -> None:
    def first(batches: Iterator[Any]) -> Tensor:
        return next(batches)[1]

    batches = build().training_batches(0, 0)
    third = [first(batches) for _ in range(3)][2]
    torch.manual_seed(9)
    assert torch.equal(first(build().training_batches(0, 2)), third) and len(third) == 8
    assert not torch.equal(first(build(seed=1).training_batches(0, 2)), third)


def test_regression_is_scored_against_noisy_values_and_against_the_function() -> None:
    task = regression()
    with torch.no_grad():
        scores = [task.scores(Known(0.0), b) for b in task.evaluation_batches("test")]
    means = {k: float(torch.cat([s[k] for s in scores]).mean()) for k in scores[0]}
    found = task.finalize_scores(means)
    x, y, clean = task.splits["test"]
    assert len(x) == 1_000
    assert found["rmse_values"] == pytest.approx(float((x - y).square().mean()) ** 0.5)
    assert found["rmse_function"] == pytest.approx(float((x - clean).square().mean()) ** 0.5)
    assert found["squared_error"] == pytest.approx(found["rmse_values"] ** 2)
    assert task.diagnostics(Known(0.0)) == {"floor_rmse": 0.1, "t0": 0.0, "t1": 2.0}


def test_figure_1_has_the_steps_of_the_layers_and_where_they_were_evaluated() -> None:
    with torch.no_grad():
        pictures = dict(regression().pictures(Known(0.5), final=True))
    assert set(pictures) == {"fit.png", "figure1.png", "figure1.npz"}
    arrays = np.load(io.BytesIO(pictures["figure1.npz"]))
    assert bool(arrays["discrete"]) and arrays["ts"].tolist() == [0, 1, 2]
    np.testing.assert_allclose(arrays["z"][:, 0], [-5, -4.5, -4])
    np.testing.assert_allclose(arrays["evaluated_z"], arrays["z"][:2].T)
    assert arrays["arrow_t"].tolist() == [0, 1] and (arrays["arrow_rate"] == 0.5).all()
    pair = Image.open(io.BytesIO(png(depth.figure1([arrays, arrays]))))
    assert pair.width == 2 * Image.open(io.BytesIO(pictures["figure1.png"])).width


@pytest.mark.parametrize("dimensions", [2, 3])
def test_pictures_of_more_dimensions_are_files_that_others_can_read(dimensions: int) -> None:
    class Wide(Known):
        def path(self, x: Tensor) -> DepthPath:
            ts, z = super().path(x)
            return DepthPath(ts, z.repeat(1, 1, 4)[:, :, :dimensions])

    tasks = (
        (regression(), Wide(0.1, nn.Linear(dimensions, 1).double())),
        (classification(), Wide(0.1, nn.Linear(dimensions, 2).double())),
    )
    for task, model in tasks:
        state = torch.get_rng_state()
        with torch.no_grad():
            pictures = dict(task.pictures(model, final=True))
        assert torch.equal(torch.get_rng_state(), state)
        assert len(pictures) == 2 and "latent.png" in pictures
        assert all(min(Image.open(io.BytesIO(c)).size) > 100 for c in pictures.values())


def test_classes_are_scored_and_a_line_through_the_inputs_is_no_better_than_it_can_be() -> None:
    task = classification()
    scorer = Known(0.0, nn.Linear(2, 2).double())
    batch = next(iter(task.evaluation_batches("test")))
    scores = task.scores(scorer, batch)
    wrong = scorer(batch.x).argmax(1) != batch.label
    assert torch.equal(scores["error"], wrong)
    torch.testing.assert_close(task.loss(scorer, batch).loss, scores["loss_nats"].mean())
    accuracy = task.diagnostics(scorer)["linear_accuracy"]
    assert isinstance(accuracy, float) and 0.8 < accuracy < 0.95  # two moons: known to be near 0.87


def test_line_without_noise_is_found_by_both_least_squares() -> None:
    found: Any = line(noise_sd=0.0).diagnostics(Through(0.7))
    for name in ("ode", "least_squares_through_start", "least_squares"):
        assert found[name]["slope"] == pytest.approx(0.7)
    assert found["least_squares"]["intercept"] == pytest.approx(1.0)
    assert found["ode"]["parameters"] == 1 and found["least_squares"]["parameters"] == 2
    assert found["ode"]["rmse_function"] == pytest.approx(0, abs=1e-12)


def test_standard_errors_are_the_spread_of_slopes_over_many_noises() -> None:
    def diagnostics(seed: int) -> Mapping[str, Any]:
        data = Line(slope=0.7, start=1.0, points=20, noise_sd=0.3, seed=seed).load()
        return LineFit(data=data, **COMMON).diagnostics(Through(0.7))

    many = [diagnostics(seed) for seed in range(300)]
    for name, told in (("least_squares_through_start", "ode"), ("least_squares", "least_squares")):
        errors = [(f[name]["slope"] - 0.7) / f[told]["slope_standard_error"] for f in many]
        # the root mean square of 300 standard normal numbers is 1 within 0.04; four of these
        assert math.sqrt(np.mean(np.square(errors))) == pytest.approx(1, abs=0.16)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_short_run_of_every_experiment_leaves_scores_findings_and_pictures(
    tmp_path: Path,
    name: str,
) -> None:
    words = [f"experiment={name}", "profile=smoke", "trainer.iterations=2", "threads=1"]
    done = go(tmp_path, *words, "trainer.log_every=1", "progress=off")
    assert done.code == 0
    result = json.loads((done.folder / "result.json").read_text())
    assert result["findings"] and result["last"]["step"] == 2
    assert all(math.isfinite(value) for value in result["selected"]["test"].values())
    pictures = {path.name for path in (done.folder / "pictures").iterdir()}
    assert ("figure1.npz" in pictures) is name.startswith("fig1_") and len(pictures) >= 1


def test_a_residual_chain_fits_every_task_of_its_kind(tmp_path: Path) -> None:
    for task in ("regression", "classification"):
        words = [f"task={task}", "model=residual_chain", "profile=smoke", "trainer.iterations=1"]
        assert go(tmp_path / task, *words, "threads=1", "progress=off").code == 0


def test_the_wave_falls_somewhere_so_that_it_needs_an_encoder() -> None:
    x = torch.linspace(WAVE.low, WAVE.high, 101, dtype=torch.float64)
    assert bool((WAVE.value(x).diff() < 0).any())
