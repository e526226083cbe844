"""`node-run list`: states from files, measured costs over estimated ones, no torch, at once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from node_repro.config.choices import Choices, conf_folder
from node_repro.reproduce.asked import asked
from node_repro.reproduce.cost import probe_seconds
from node_repro.reproduce.experiments import Experiments
from node_repro.reproduce.listing import listing
from node_repro.reproduce.states import has_digits, state
from node_repro.reproduce.words import duration
from node_repro.runs.lock import Owner

CHOICES = Choices([conf_folder()])
NAME = "fig5_moons_nf"


def run(outputs: Path, seed: int, *, folder: str = "quick-two_moons-0", **files: object) -> Path:
    path = outputs / NAME / folder / f"seed{seed}"
    path.mkdir(parents=True)
    for name, content in files.items():
        (path / name.replace("_json", ".json")).write_text(json.dumps(content))
    return path


def word(outputs: Path, seed: int, name: str = NAME) -> str:
    ask = asked([f"outputs={outputs}"], CHOICES)
    return state(ask, Experiments(CHOICES, "quick").read(name), seed, embedded=False).word


def test_a_state_is_read_off_the_files(tmp_path: Path) -> None:
    alive = Owner.current()
    run(
        tmp_path, 1, result_json={"training": {"seconds": 30.0}}, status_json={"state": "COMPLETED"}
    )
    run(tmp_path, 2, status_json={"state": "RUNNING"}, lock=alive._asdict())
    run(tmp_path, 3, status_json={"state": "RUNNING"}, lock=alive._replace(pid=2**30)._asdict())
    run(tmp_path, 4, status_json={"state": "RUNNING"})
    run(tmp_path, 5, status_json={"state": "FAILED"})
    run(tmp_path, 6, status_json={"state": "INTERRUPTED"})
    words = [word(tmp_path, seed) for seed in range(7)]
    assert words == [
        "missing",
        "done",
        "running",
        "interrupted",
        "interrupted",
        "failed",
        "interrupted",
    ]


@pytest.mark.parametrize("content", [{"training": None}, {"training": {"seconds": "1"}}, {}])
def test_a_result_without_its_seconds_has_no_cost(content: dict, tmp_path: Path) -> None:
    run(tmp_path, 0, result_json=content)
    text = listing(asked([f"outputs={tmp_path}", f"experiment={NAME}"], CHOICES), CHOICES)
    assert f"\n{NAME} " in text and " done " in text


def test_a_finished_run_counts_beside_an_interrupted_one(tmp_path: Path) -> None:
    run(tmp_path, 0, result_json={"training": {}})
    run(tmp_path, 0, folder="quick-two_moons-1", status_json={"state": "FAILED"})
    assert word(tmp_path, 0) == "done"


def test_runs_on_embedded_digits_are_not_those_on_all(tmp_path: Path) -> None:
    path = tmp_path / "table1_mlp" / "quick-mnist-embedded-0" / "seed0"
    path.mkdir(parents=True)
    (path / "result.json").write_text('{"training": {}}')
    assert word(tmp_path, 0, "table1_mlp") == "missing"
    path.parent.rename(path.parent.with_name("quick-mnist-0"))
    assert word(tmp_path, 0, "table1_mlp") == "done"


def test_the_list_has_every_experiment_and_measured_costs(tmp_path: Path) -> None:
    before = listing(asked([f"outputs={tmp_path}", "seed=0,1"], CHOICES), CHOICES)
    run(tmp_path, 1, result_json={"training": {"seconds": 7230.0}})
    after = listing(asked([f"outputs={tmp_path}", "seed=0,1"], CHOICES), CHOICES)
    for name in CHOICES.names("experiment"):
        assert f"\n{name} " in after
    (line,) = [line for line in after.splitlines() if line.startswith(f"{NAME} ")]
    assert " 2.0 h  1 of 2 done " in line
    assert f" 0 of {2 * len(CHOICES.names('experiment'))} runs done" in before
    assert f" 1 of {2 * len(CHOICES.names('experiment'))} runs done" in after


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
    assert probe_seconds("memory", smallest=True) < probe_seconds("memory", smallest=False)
    assert probe_seconds("new", smallest=True) == probe_seconds("memory", smallest=True)


@pytest.mark.parametrize(
    ("seconds", "words"), [(3.4, "3 s"), (89, "89 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_durations_have_two_digits(seconds: float, words: str) -> None:
    assert duration(seconds) == words
