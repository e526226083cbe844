"""One run in TensorBoard, whatever happens to the process; read back by tensorboard's own code."""

import io
import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

with warnings.catch_warnings():  # tensorboard's own reader, not part of the program
    warnings.simplefilter("ignore")
    from PIL import Image
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.custom_scalar.layout_pb2 import Layout  # pyright: ignore
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData  # pyright: ignore
    from tensorboard.util import tensor_util

from node_repro.runs import OutputError
from node_repro.runs.tensorboard import CATEGORIES, TensorBoard, code, table


def read(path: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(path))
    accumulator.Reload()
    return accumulator


def values(path: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(path).Scalars(tag)]


def charts(path: Path) -> dict[str, list[str]]:
    """The titles of the charts by category, of the last layout."""
    content = read(path).Tensors("custom_scalars__config__")[-1].tensor_proto.string_val[0]
    layout = Layout.FromString(content)
    return {
        category.title: [chart.title for chart in category.chart] for category in layout.category
    }


def hparams(path: Path, tag: str) -> HParamsPluginData:
    return HParamsPluginData.FromString(read(path).summary_metadata[tag].plugin_data.content)


def test_scalars_are_grouped_by_split_solver_and_cost(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    board.scalars("train", 1, {"error": 0.5, "nfe_forward": 26, "saved_bytes": 7})
    board.scalars("train", 2, {"error": 0.25})
    board.scalars("test/last", 2, {"error": 0.75})
    assert values(tmp_path, "train/error") == [(1, 0.5), (2, 0.25)]  # before it is closed
    board.close()
    board.close()
    assert sorted(read(tmp_path).Tags()["scalars"]) == [
        "cost/train/saved_bytes",
        "solver/train/nfe_forward",
        "test/last/error",
        "train/error",
    ]


def test_every_curve_says_what_it_is_and_in_which_unit(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    board.scalars("train", 1, {"error": 0.5, "h_max": 0.5})
    board.close()
    said = read(tmp_path).summary_metadata
    assert said["train/error"].summary_description.startswith("error: ")
    assert said["solver/train/h_max"].summary_description.endswith("; unit: time")


def test_a_chart_appears_with_its_first_scalar(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    board.scalars("train", 1, {"loss_nats": 0.5, "learning_rate": 0.1, "step_seconds": 1.0})
    assert charts(tmp_path) == {
        "Learning": ["loss (nats)", "learning rate"],
        "Solver": [],
        "Cost": ["seconds of a training iteration"],
    }
    board.scalars("train", 2, {"nfe_backward": 7})
    assert charts(tmp_path)["Solver"] == ["NFE of a training iteration"]
    board.scalars("train", 2, {"h_min": 0.1, "h_mean": 0.2, "h_max": 0.3})
    assert charts(tmp_path)["Solver"][1:] == ["step size h: mean, min, max"]
    board.close()
    assert list(charts(tmp_path)) == list(CATEGORIES.values())


def test_resume_hides_what_is_done_again_and_keeps_the_charts(tmp_path: Path) -> None:
    first = TensorBoard(tmp_path)
    for step in (1, 2, 3, 4):
        first.scalars("train", step, {"error": 0.5})
    first.scalars("validation", 2, {"kl_nats": 1.0})
    first.close()
    line = {"step": 2, "split": "train", "seconds": 1.0, "error": 0.5}
    second = TensorBoard(tmp_path, 3, [line, {"split": "validation", "kl_nats": 1.0}])
    second.scalars("train", 3, {"error": 0.25, "learning_rate": 0.1})
    second.close()
    assert values(tmp_path, "train/error") == [(1, 0.5), (2, 0.5), (3, 0.25)]
    wanted = ["error (fraction)", "KL (nats)", "learning rate"]
    assert sorted(charts(tmp_path)["Learning"]) == sorted(wanted)


def test_hyper_parameters_are_a_row_of_the_same_run(tmp_path: Path) -> None:
    keys = {"rtol": float, "solver.method": str, "first": float, "seed": int, "other": bool}
    for start, value in ((None, 1e-3), (5, 1e-4)):  # as a run that is interrupted and goes on
        board = TensorBoard(tmp_path, start)
        row = {"rtol": value, "solver.method": "dopri5", "first": None, "other": True}
        board.start_session(start or 0, row, keys)
        board.close()
    assert "_hparams_/session_end_info" not in read(tmp_path).summary_metadata
    board = TensorBoard(tmp_path, 8)
    board.end_session()
    board.close()
    assert all(entry.is_file() for entry in tmp_path.iterdir())
    started = hparams(tmp_path, "_hparams_/session_start_info").session_start_info.hparams
    assert started["rtol"].number_value == 1e-3 and started["other"].bool_value is True
    assert started["solver.method"].string_value == "dopri5"
    assert "first" not in started
    experiment = hparams(tmp_path, "_hparams_/experiment").experiment
    assert [info.name for info in experiment.hparam_infos] == list(keys)
    tags = [info.name.tag for info in experiment.metric_infos]
    assert len(tags) == len(set(tags))
    assert tags[0] == "test/selected/error" and "solver/epoch/nfe_forward" in tags[:5]
    assert tags.count("test/last/error") == 1
    assert hparams(tmp_path, "_hparams_/session_end_info").session_end_info.end_time_secs > 0


@pytest.mark.parametrize(
    ("numbers", "buckets", "low", "high"),
    [
        ([0.1, 0.1, 0.4, float("inf")], 30, 0.1, 0.4),
        ([0.1, 0.1 + 1e-16, 0.1], 30, 0.1, 0.1),
        ([0.0, 0.0, 0.0], 30, 0.0, 0.0),
    ],
)
def test_a_distribution_counts_every_finite_number_in_its_place(
    tmp_path: Path, numbers: list[float], buckets: int, low: float, high: float
) -> None:
    board = TensorBoard(tmp_path)
    board.histogram("solver/h", 3, numbers, "steps")
    board.histogram("solver/none", 3, [float("nan")], "nothing")
    board.close()
    assert read(tmp_path).Tags()["tensors"] == ["solver/h"]
    (event,) = read(tmp_path).Tensors("solver/h")
    left, right, counts = tensor_util.make_ndarray(event.tensor_proto).T
    assert event.step == 3 and len(counts) == buckets
    assert counts.sum() == 3
    assert left[0] == pytest.approx(low) and right[-1] == pytest.approx(high)
    assert (left <= right).all() and np.array_equal(left[1:], right[:-1])


@pytest.mark.parametrize("kind", ["png", "gif"])
def test_a_picture_keeps_its_bytes_and_its_size(tmp_path: Path, kind: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (300, 20)).save(file, kind)
    board = TensorBoard(tmp_path)
    board.image("pictures/one", 5, file.getvalue())
    board.close()
    (image,) = read(tmp_path).Images("pictures/one")
    assert (image.step, image.width, image.height) == (5, 300, 20)
    assert image.encoded_image_string == file.getvalue()


def test_a_text_is_markdown(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    board.text("run/configuration", 0, table({"a": {"_b": 1 / 3, "c": "x|y"}, "d": None}))
    board.close()
    (event,) = read(tmp_path).Tensors("run/configuration")
    assert event.tensor_proto.string_val[0].decode().splitlines() == [
        "| key | value |",
        "|---|---|",
        "| `a._b` | 0.333333 |",
        "| `a.c` | x\\|y |",
        "| `d` |  |",
    ]
    assert code("one\ntwo") == "    one\n    two"


def test_undeclared_metrics_are_refused(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    with pytest.raises(ValueError, match="'eror' is not a declared metric"):
        board.scalars("train", 1, {"eror": 0.5})
    board.close()


def test_directory_that_cannot_be_written_to_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Cannot write"):
        TensorBoard(tmp_path / "file")
    with pytest.raises(OutputError, match="does not exist"):
        TensorBoard(tmp_path / "missing")
    assert os.listdir(tmp_path) == ["file"]


def test_directory_deleted_while_running_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    board = TensorBoard(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(OutputError, match="was deleted, moved or replaced"):
        board.scalars("train", 1, {"error": 0.5})
    board.close()
    assert not (tmp_path / "run").exists()
