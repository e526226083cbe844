"""Runs read from their directories, whatever state these are in."""

import json
from pathlib import Path

import numpy as np
import pytest
from test_result import RESULT

from node_repro.runs.run_directory import RunDirectory
from node_repro.runs.stored_run import StoredRun, find_runs

FOLDER = "demo/quick-mnist-embedded-0000aaaa/seed3"


def opened(outputs: Path, folder: str = FOLDER) -> RunDirectory:
    return RunDirectory.open(outputs / folder, {"seed": 3}, "0000aaaa", ["node-run"])


def test_a_finished_run_tells_everything_about_itself(tmp_path: Path) -> None:
    with opened(tmp_path) as directory:
        directory.log("train", 1, error=0.5)
        directory.picture("a.png", b"")
        directory.finish(RESULT)
    (directory.path / "probes").mkdir()
    (directory.path / "probes" / "good.json").write_text('{"facts": {}, "rows": [{"x": "nan"}]}')
    (directory.path / "probes" / "bad.json").write_text("{}")
    np.savez(directory.path / "pictures" / "a.npz", x=np.ones(2))
    (run,) = find_runs(tmp_path)
    assert (run.experiment, run.profile, run.seed, run.signature) == (
        *("demo", "quick", 3, "0000aaaa"),
    )
    assert (run.state, run.result, run.data) == ("COMPLETED", RESULT, "mnist-embedded")
    assert run.since and run.config == {"seed": 3} and len(run.metrics) == 1
    assert run.environment["python"] and run.torch and run.commit
    assert list(run.probes) == ["good"]
    assert run.file("pictures/a.png") and run.file("pictures/b.png") is None
    assert (run.arrays("pictures/a.npz") or {})["x"].sum() == 2
    assert run.arrays("status.json") is None


def test_the_state_is_that_of_the_process_and_of_the_files(tmp_path: Path) -> None:
    with opened(tmp_path) as directory:
        assert StoredRun(directory.path).state == "RUNNING"
    assert StoredRun(directory.path).state == "INTERRUPTED"  # it said nothing at its end
    with pytest.raises(ZeroDivisionError), opened(tmp_path):
        raise ZeroDivisionError
    assert StoredRun(directory.path).state == "FAILED"
    (directory.path / "result.json").write_text("{")
    damaged = StoredRun(directory.path)
    assert (damaged.state, damaged.result, damaged.data) == ("DAMAGED", None, "mnist-embedded")
    for name in ("status.json", "environment.json", "config.yaml", "metrics.jsonl"):
        (directory.path / name).write_bytes(b"\xff\n\xff\n")
    damaged = StoredRun(directory.path)
    assert (damaged.since, damaged.config, damaged.metrics, damaged.probes) == ("", {}, (), {})


def test_runs_are_found_by_experiment_profile_and_seed(tmp_path: Path) -> None:
    names = ("a/quick-u1-0/seed0", "a/quick-u1-0/seed1", "a/paper-u1-0/seed0", "b/quick-u1-0/seed0")
    for name in (*names, "named/seed0"):
        opened(tmp_path, name).close()
    (tmp_path / "a" / "quick-u1-0" / "seedling").mkdir()
    (tmp_path / "a" / "quick-u1-0" / "seed7").mkdir()

    def found(experiment: str = "*", profile: str = "*", seed: int | None = None) -> list[str]:
        runs = find_runs(tmp_path, experiment=experiment, profile=profile, seed=seed)
        return [str(run.path.relative_to(tmp_path)) for run in runs]

    assert found() == sorted(names)
    assert found(experiment="a") == sorted(names[:3])
    assert found(profile="quick", seed=0) == [names[0], names[3]]


def test_a_status_that_cannot_be_read_is_an_interruption(tmp_path: Path) -> None:
    opened(tmp_path).close()
    (tmp_path / FOLDER / "status.json").write_text(json.dumps([1]))
    assert find_runs(tmp_path)[0].state == "INTERRUPTED"
