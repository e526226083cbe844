"""Whole runs of the tasks whose data have no end: pictures, findings, and going on after a stop."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from node_repro.config import ConfigError
from node_repro.runs.metrics import METRICS
from node_repro.tasks.density_match import Batch, DensityMatch
from tests.test_run import Done, equal, go, untimed

TINY = [
    "task=density_match",
    "rtol=1e-2",
    "model.width=3",
    "model.hyper_hidden=4",
    "trainer.batch_size=16",
    "trainer.iterations=4",
    "trainer.evaluate_every=3",
    "trainer.log_every=1",
    "trainer.eval_batch_size=5000",
    "threads=1",
    "progress=off",
]
CNF = [*TINY, "task=cnf", "data=eight_gaussians"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Done:
    return go(tmp_path_factory.mktemp("matched"), *TINY)


def test_pictures_are_in_the_directory_and_in_the_dashboard(finished: Done) -> None:
    assert finished.code == 0
    pictures = sorted(path.name for path in (finished.folder / "pictures").iterdir())
    assert pictures == ["density.npz", "density.png"]
    accumulator = EventAccumulator(str(finished.folder))
    accumulator.Reload()
    images = accumulator.Images("pictures/density")
    assert [image.step for image in images] == [3, 4]
    assert (
        images[-1].encoded_image_string
        == (finished.folder / "pictures" / "density.png").read_bytes()
    )
    assert images[-1].width > 100 and images[-1].height > 100


def test_result_has_no_epochs_but_the_findings_and_the_loss_of_the_task(finished: Done) -> None:
    result = finished.json("result.json")
    assert result["epochs"] is None and result["iterations"] == 4
    assert result["selected_by"] == "loss_nats" and result["test_count"] == 10_000
    assert result["findings"]["floor_nats"] == pytest.approx(-1.8775, abs=1e-4)
    assert result["data_floor_nats"] == result["findings"]["floor_nats"]
    for name in ("last", "selected"):
        test, error = result[name]["test"], result[name]["test_standard_error"]
        assert test["kl_nats"] == pytest.approx(test["loss_nats"] + 1.8775, abs=1e-3)
        assert 0 < error < 1
    splits = [(line["split"], line["step"]) for line in finished.metrics()]
    assert [step for split, step in splits if split == "validation"] == [3, 4]
    for line in finished.metrics():
        assert set(line) - {"step", "split", "seconds"} <= METRICS.keys()


def test_lines_speak_of_iterations_and_of_the_tasks_metrics(finished: Done) -> None:
    lines = finished.out.splitlines()
    assert "data       u1, the density exp(-U) on the plane; -log Z = -1.8775 nats" in lines
    assert "profile    quick: 4 iterations of 16" in lines
    told = [line for line in lines if line.startswith("iteration 3/4  train loss ")]
    assert len(told) == 1 and " KL " in told[0] and " NFE " in told[0]
    assert " ± " in lines[-1] and "10,000 examples of u1" in lines[-1]


def test_stopped_run_over_endless_data_ends_as_if_it_was_not(
    finished: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = DensityMatch.training_batches

    def terminated(self: DensityMatch, epoch: int, start: int) -> Iterator[Batch]:
        for index, batch in enumerate(batches(self, epoch, start), start=start):
            if index == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    with monkeypatch.context() as patched:
        patched.setattr(DensityMatch, "training_batches", terminated)
        assert go(tmp_path, *TINY).code == 143
    again = go(tmp_path, *TINY)
    assert again.code == 0 and "resume     after iteration 3 of 4" in again.out
    assert equal(again.weights(), finished.weights())
    assert untimed(again.json("result.json")) == untimed(finished.json("result.json"))


def test_run_on_points_draws_the_panels_of_figure_5_at_its_end(tmp_path: Path) -> None:
    done = go(tmp_path, *CNF, "trainer.iterations=2")
    pictures = {path.name for path in (done.folder / "pictures").iterdir()}
    assert pictures == {
        "density.png",
        "panels.png",
        "panels.npz",
        "animation.gif",
        "explore.npz",
    }
    result = done.json("result.json")
    assert result["findings"]["mass"] == pytest.approx(1, abs=0.05)  # rtol is 1e-2 here
    assert result["findings"]["entropy_nats"] == result["data_entropy_nats"]


def test_endless_data_have_no_epochs_to_count(tmp_path: Path) -> None:
    words = [*TINY, "trainer.iterations=null", "trainer.epochs=2"]
    with pytest.raises(ConfigError, match=r"has infinite data.*trainer.iterations"):
        go(tmp_path, *words)
