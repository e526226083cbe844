"""One run in TensorBoard, whatever happens to the process."""

import shutil
import warnings
from pathlib import Path

import pytest

with warnings.catch_warnings():  # tensorboard's own reader, not part of the program
    warnings.simplefilter("ignore")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData  # pyright: ignore

from node_repro.record import OutputError
from node_repro.record.dashboard import Dashboard


def read(path: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(path))
    accumulator.Reload()
    return accumulator


def values(path: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(path).Scalars(tag)]


def test_scalars_are_grouped_by_split(tmp_path: Path) -> None:
    dashboard = Dashboard(tmp_path / "tensorboard")
    dashboard.scalars("train", 1, {"error": 0.5, "nfe_forward": 26})
    dashboard.scalars("train", 2, {"error": 0.25})
    dashboard.scalars("test", 2, {"error": 0.75})
    assert values(dashboard.path, "train/error") == [(1, 0.5), (2, 0.25)]  # before it is closed
    dashboard.close()
    dashboard.close()
    assert sorted(read(dashboard.path).Tags()["scalars"]) == [
        "test/error",
        "train/error",
        "train/nfe_forward",
    ]


def test_resume_hides_what_is_done_again(tmp_path: Path) -> None:
    first = Dashboard(tmp_path)
    for step in (1, 2, 3, 4):
        first.scalars("train", step, {"error": 0.5})
    first.close()
    second = Dashboard(tmp_path, purge_step=3)
    second.scalars("train", 3, {"error": 0.25})
    second.close()
    assert values(tmp_path, "train/error") == [(1, 0.5), (2, 0.5), (3, 0.25)]


def test_hyper_parameters_are_in_the_same_run(tmp_path: Path) -> None:
    dashboard = Dashboard(tmp_path)
    dashboard.scalars("train", 7, {"error": 0.5})
    dashboard.hparams(
        {"rtol": 1e-3, "solver": {"method": "dopri5", "first": None}, "list": [1, 2]},
        {"test/error": 0.25, "test/loss_nats": float("nan")},
    )
    dashboard.close()
    assert all(entry.is_file() for entry in tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == 1
    assert values(tmp_path, "test/error") == [(7, 0.25)]
    contents = read(tmp_path).summary_metadata["_hparams_/session_start_info"].plugin_data.content
    started = HParamsPluginData.FromString(contents).session_start_info.hparams
    assert started["rtol"].number_value == 1e-3
    assert started["solver.method"].string_value == "dopri5"
    assert started["list"].string_value == "[1, 2]"


def test_undeclared_metrics_are_refused(tmp_path: Path) -> None:
    dashboard = Dashboard(tmp_path)
    with pytest.raises(ValueError, match="'eror' is not a declared metric"):
        dashboard.scalars("train", 1, {"eror": 0.5})
    with pytest.raises(ValueError, match="'eror' is not a declared metric"):
        dashboard.hparams({}, {"test/eror": 0.5})
    dashboard.close()


def test_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Cannot write"):
        Dashboard(tmp_path / "file")
    with pytest.raises(OutputError, match="does not exist"):
        Dashboard(tmp_path / "missing" / "tensorboard")


def test_directory_deleted_while_running_is_one_sentence(tmp_path: Path) -> None:
    dashboard = Dashboard(tmp_path / "tensorboard")
    shutil.rmtree(dashboard.path)
    with pytest.raises(OutputError, match="was deleted, moved or replaced"):
        dashboard.scalars("train", 1, {"error": 0.5})
    dashboard.close()
    assert not dashboard.path.exists()
