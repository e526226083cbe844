"""Whole runs of the tasks on time series: results, pictures, every gradient method, resuming."""

import contextlib
import io
import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from node_repro.config.choices import Choices, conf_folder
from node_repro.config.compose import compose
from node_repro.data import DataError
from node_repro.runs.metrics_file import read_metrics
from node_repro.training.run import run

CHOICES = Choices([conf_folder()])
SHORT = ["profile=smoke", "threads=1", "progress=off", "trainer.log_every=1"]
PICTURES = {
    "latent_ode": {
        "figure8_predictions.png",
        "figure8_predictions.npz",
        "figure8c_latent.png",
        "figure9_one_dimension.png",
        "latent_exploration.png",
        "explore.npz",
    },
    "poisson": {"figure7_intensity.png", "figure7_intensity.npz"},
    "field_fit": {"field.png"},
    "irregular": {"predictions.png"},
    "hmc": {"samples.png", "energy.png"},
}
SMALL = ["task=latent_ode", "data.trajectories=20", "data.observed=10", "model.predicted=2"]


def go(outputs: Path, *words: str) -> Path:
    given = [*SHORT, *words]
    with contextlib.redirect_stdout(io.StringIO()):
        code = run(compose([*given, f"outputs={outputs}", "name=it"]), given, ["node-run", *given])
    assert code == 0
    return outputs / "it" / "seed0"


def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = [f"s{i},{j + 0.1 * i},x,{math.sin(i + j)}" for i in range(10) for j in range(8)]
    path = tmp_path / "waves.csv"
    path.write_text("id,time,channel,value\n" + "\n".join(rows))
    return path


@pytest.mark.parametrize("task", PICTURES)
def test_a_short_run_of_every_task_leaves_scores_findings_and_pictures(
    tmp_path: Path, file: Path, task: str
) -> None:
    more = [f"data.path={file}"] if task == "irregular" else []
    folder = go(tmp_path, f"task={task}", "trainer.iterations=2", *more)
    assert {path.name for path in (folder / "pictures").iterdir()} == PICTURES[task]
    found = result(folder)
    assert found["last"]["step"] == 2 and found["findings"] is not None
    assert all(math.isfinite(value) for value in found["selected"]["test"].values())
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 4


@pytest.mark.parametrize("model", ["rnn", "rnn_dt", "latent_ode"])
@pytest.mark.parametrize("cell", ["tanh", "gru"])
def test_every_model_of_series_trains_on_spirals_and_on_a_file(
    tmp_path: Path, file: Path, model: str, cell: str
) -> None:
    chosen = [f"model={model}", f"model.cell={cell}", "trainer.iterations=1"]
    extra = ["model.predicted=2"] if model == "latent_ode" else []
    go(tmp_path / "spirals", "task=latent_ode", "data.trajectories=20", *chosen, *extra)
    words = ["task=irregular", f"data.path={file}", "data.hide=after"]
    assert result(go(tmp_path / "file", *words, *chosen, *extra))["selected_by"] == "rmse_hidden"


@pytest.mark.parametrize("gradient", ["direct", "adjoint"])
def test_an_ode_rnn_trains_on_spirals_and_on_a_file(
    tmp_path: Path, file: Path, gradient: str
) -> None:
    chosen = ["model=ode_rnn", "model.rollout=0.5", "trainer.iterations=1", f"gradient={gradient}"]
    spirals = ["task=latent_ode", "data.trajectories=20", "data.observed=5", "solver=rk4"]
    folder = go(tmp_path / "spirals", *spirals, "controller.step_size=1", *chosen)
    assert result(folder)["selected"]["test"]["nfe_forward"] == 4 * (5 + 200)
    words = ["task=irregular", f"data.path={file}", "data.hide=after"]
    assert result(go(tmp_path / "file", *words, *chosen))["selected_by"] == "rmse_hidden"


def losses(folder: Path, solver: str, gradient: str) -> list[float]:
    words = [*SMALL, f"solver={solver}", "rtol=1e-8", "atol=1e-8", "precision=float64"]
    words += ["trainer.iterations=2", "trainer.batch_size=4", f"gradient={gradient}"]
    return [line["loss_nats"] for line in read_metrics(go(folder, *words) / "metrics.jsonl")]


@pytest.fixture(scope="module")
def direct_losses(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[float]]:
    """The losses by direct gradients, trained once for each solver."""
    return cache(lambda solver: losses(tmp_path_factory.mktemp("direct"), solver, "direct"))


@pytest.mark.parametrize("gradient", CHOICES.names("gradient"))
def test_every_gradient_method_trains_a_latent_ode_alike(
    tmp_path: Path, gradient: str, direct_losses: Callable[[str], list[float]]
) -> None:
    solver = "reversible_dopri5" if gradient == "reversible" else "dopri5"
    # gradients agree to about 1e-6 relative, which Adam's first steps enlarge
    ours = losses(tmp_path, solver, gradient)
    assert ours == pytest.approx(direct_losses(solver), rel=1e-5)


def test_a_repeated_run_is_the_same_bit_for_bit_pictures_included(tmp_path: Path) -> None:
    words = [*SMALL, "trainer.iterations=4", "trainer.evaluate_every=2"]
    whole, again = go(tmp_path / "a", *words), go(tmp_path / "b", *words)

    def untimed(folder: Path) -> list[dict]:
        lines = read_metrics(folder / "metrics.jsonl")
        return [{k: v for k, v in line.items() if "seconds" not in k} for line in lines]

    assert untimed(whole) == untimed(again)
    picture = Path("pictures") / "figure8_predictions.png"
    assert (whole / picture).read_bytes() == (again / picture).read_bytes()


def test_the_marked_events_make_a_joint_model(tmp_path: Path) -> None:
    folder = go(tmp_path, "task=poisson", "data=poisson_marked", "trainer.iterations=1")
    plain = go(tmp_path / "b", "task=poisson", "trainer.iterations=1")
    assert result(folder)["parameters"] > result(plain)["parameters"]


def test_without_the_poisson_term_a_run_reports_the_error_of_the_marks_alone(
    tmp_path: Path,
) -> None:
    words = ["task=poisson", "data=poisson_noisy_marks", "trainer.iterations=1"]
    found = result(go(tmp_path, *words, "task.poisson_term=false"))["selected"]["test"]
    assert 0 < found["rmse_marks"] < 2 and "rate_error" not in found


def test_a_missing_file_is_an_error_of_the_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Cannot read data\.path="):
        go(tmp_path, "task=irregular", f"data.path={tmp_path / 'none.csv'}")


def test_the_latent_pictures_need_no_counter_clockwise_spiral(tmp_path: Path) -> None:
    """Of 10 trajectories 2 test, and with this seed both turn clockwise."""
    words = ["task=latent_ode", "data.trajectories=10", "data.seed=8", "model.predicted=2"]
    folder = go(tmp_path, *words, "trainer.iterations=1")
    assert {path.name for path in (folder / "pictures").iterdir()} == PICTURES["latent_ode"]
