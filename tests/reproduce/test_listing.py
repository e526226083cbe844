"""`node-run list`: states from files, measured costs over estimated ones, no torch, at once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from node_repro.config.choices import Choices, conf_folder
from node_repro.reproduce.cost import probe_seconds
from node_repro.reproduce.listing import format_list, state
from node_repro.reproduce.request import read_request
from node_repro.reproduce.stored import StoredRuns, has_digits
from node_repro.runs.duration import format_duration
from node_repro.runs.lock import Lock

CHOICES = Choices([conf_folder()])
NAME = "fig5_moons_nf"
MODEL = {"step": 1, "test": {}}
RESULT = {
    "profile": "quick",
    "seed": 0,
    "data": "two_moons",
    "device": "cpu",
    "iterations": 1,
    "parameters": 1,
    "test_count": 1,
    "training": {"seconds": 30.0},
    "last": MODEL,
    "selected": MODEL,
}


def run(
    outputs: Path, seed: int, *, folder: str = f"{NAME}/quick-two_moons-0", **files: object
) -> Path:
    path = outputs / folder / f"seed{seed}"
    path.mkdir(parents=True)
    (path / "config.yaml").touch()
    for name, content in files.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    return path


def word(outputs: Path, seed: int, name: str = NAME, *words: str) -> str:
    stored = StoredRuns(*read_request([f"outputs={outputs}", *words], {}))
    return state(stored.best(name, seed))


def listed(outputs: Path, *words: str) -> str:
    return format_list(*read_request([f"outputs={outputs}", *words], {}))


def test_a_state_is_read_off_the_files(tmp_path: Path) -> None:
    run(tmp_path, 1, result=RESULT, status={"state": "COMPLETED"})
    running = run(tmp_path, 2, status={"state": "RUNNING"})
    run(tmp_path, 3, status={"state": "RUNNING"})
    run(tmp_path, 4, status={"state": "FAILED"})
    run(tmp_path, 5, status={"state": "INTERRUPTED"})
    lock, _ = Lock.take(running / "lock")
    words = [word(tmp_path, seed) for seed in range(6)]
    lock.release()
    assert words == ["missing", "done", "running", "interrupted", "failed", "interrupted"]


def test_a_finished_run_counts_beside_an_interrupted_one(tmp_path: Path) -> None:
    run(tmp_path, 0, result=RESULT)
    run(tmp_path, 0, folder=f"{NAME}/quick-two_moons-1", status={"state": "FAILED"})
    assert word(tmp_path, 0) == "done"


def test_a_run_of_a_former_name_is_the_experiments(tmp_path: Path) -> None:
    run(tmp_path, 0, folder="seed2_rings/quick-labelled_circles-0", result=RESULT)
    assert word(tmp_path, 0, "toys_rings") == "done"


def test_runs_on_embedded_digits_are_not_those_on_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = tmp_path / "digits"
    digits.mkdir()
    (digits / "train-images-idx3-ubyte.gz").touch()
    monkeypatch.setenv("NODE_REPRO_DATA", str(tmp_path / "nowhere"))
    embedded = RESULT | {"data": "mnist-embedded"}
    run(tmp_path, 0, folder="table1_mlp/quick-mnist-embedded-0", result=embedded)
    assert word(tmp_path, 0, "table1_mlp") == "done"
    assert word(tmp_path, 0, "table1_mlp", f"data.root={digits}") == "missing"


def test_the_list_has_every_experiment_and_measured_costs(tmp_path: Path) -> None:
    before = listed(tmp_path, "seed=0,1")
    run(tmp_path, 1, result=RESULT | {"training": {"seconds": 7230.0}})
    after = listed(tmp_path, "seed=0,1")
    names = CHOICES.names("experiment")
    assert all(f"\n{name} " in f"\n{after}" for name in names)
    (line,) = [line for line in after.splitlines() if line.startswith(f"{NAME} ")]
    assert " 2.0 h  1 of 2 done " in line
    assert f" 0 of {2 * len(names)} runs done" in before
    assert f" 1 of {2 * len(names)} runs done" in after


def test_a_result_without_its_seconds_has_an_estimated_cost(tmp_path: Path) -> None:
    run(tmp_path, 0, result=RESULT | {"training": {}})
    (line,) = [one for one in listed(tmp_path).splitlines() if one.startswith(f"{NAME} ")]
    assert "~" in line and " done " in line


def test_a_users_experiment_is_listed(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\n# My data.\ndefaults:\n  - override /task: irregular\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    (line,) = [
        one
        for one in listed(tmp_path, "--config-dir", str(tmp_path)).splitlines()
        if one.startswith("mine ")
    ]
    assert " ?  missing " in line and line.endswith("My data.")


def test_columns_are_aligned_and_plurals_right_for_a_single_experiment(tmp_path: Path) -> None:
    lines = listed(tmp_path, "experiment=toys_rings").splitlines()
    heads = [line for line in lines if line.endswith("purpose")]
    (probe,) = [line for line in lines if line.startswith("sensitivity_cost ")]
    assert len({head.index("state") for head in heads} | {probe.index("no run listed")}) == 1
    (summary,) = [line for line in lines if line.startswith("profile=")]
    assert "0 of 1 run done (1 experiment, 1 seed);" in summary


def test_the_list_imports_neither_torch_nor_hydra(tmp_path: Path) -> None:
    code = (
        "import sys; from node_repro.cli import main; main();"
        "print('imported:', sorted({'torch', 'numpy', 'hydra', 'matplotlib'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, "list", f"outputs={tmp_path}"]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert "imported: []" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_digits_are_found_where_the_data_look_for_them(tmp_path: Path) -> None:
    nowhere = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert not has_digits([], nowhere)
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte.gz").touch()
    assert has_digits([f"data.root={tmp_path}"], nowhere)
    assert has_digits([], nowhere | {"NODE_REPRO_DATA": str(tmp_path)})
    assert has_digits([f"data.root='{tmp_path}'"], nowhere)
    assert not has_digits([f"data.root={tmp_path}", "data.source=embedded"], nowhere)


def test_a_probe_of_a_smoke_run_costs_a_start() -> None:
    small, usual = (probe_seconds("memory", smallest=smallest) for smallest in (True, False))
    assert small and usual and small < usual
    assert probe_seconds("new", smallest=True) == small
    assert probe_seconds("new", smallest=False) is None


@pytest.mark.parametrize(
    ("seconds", "words"), [(3.4, "3 s"), (89, "89 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_durations_have_two_digits(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words
