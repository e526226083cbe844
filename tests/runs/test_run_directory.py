"""The directory of a run: exclusive, resumable, and every failure one sentence."""

import errno
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from node_repro.runs import OutputError
from node_repro.runs.metrics_file import read_metrics
from node_repro.runs.result import ModelResult, RunResult
from node_repro.runs.run_directory import RunDirectory

CONFIG: dict[str, object] = {
    "rtol": 1e-3,
    "name": "a",
    "solver": {"method": "dopri5", "max_steps": 10},
}
COMMAND = ["node-run", "experiment=demo", "name=it's me"]


def opened(path: Path, config: dict[str, object] = CONFIG, signature: str = "s1") -> RunDirectory:
    return RunDirectory.open(path, config, signature, COMMAND, harmless=("name",))


def result(**test: float) -> RunResult:
    model = ModelResult(step=3, test=test)
    return RunResult(
        data="mnist",
        test_count=10,
        profile="quick",
        seed=0,
        device="cpu",
        parameters=7,
        iterations=3,
        training={"seconds": 1.5},
        last=model,
        selected=model,
    )


def snapshot(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_new_directory_holds_what_tells_the_run_apart(tmp_path: Path) -> None:
    with opened(tmp_path / "outputs" / "a") as run:
        assert not run.resumed and not run.complete and run.notes == []
        names = {entry.name for entry in run.path.iterdir()}
        assert names == {
            *("config.yaml", "overrides.txt", "command.txt", "environment.json"),
            *("metrics.jsonl", "status.json", "lock"),
        }
        text = (run.path / "config.yaml").read_text()
        assert text.startswith("# signature: s1\n") and yaml.safe_load(text) == CONFIG
        assert (run.path / "overrides.txt").read_text() == "experiment=demo\nname=it's me\n"
        assert (run.path / "command.txt").read_text().startswith("node-run experiment=demo 'name=")
        assert json.loads((run.path / "status.json").read_text())["state"] == "RUNNING"
        assert json.loads((run.path / "environment.json").read_text())["python"]
    assert not (tmp_path / "outputs" / "a" / "lock").exists()


def test_same_signature_resumes_and_keeps_what_is_there(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as run:
        run.log("train", 1, loss_nats=2.5)
    (tmp_path / "a" / ".status.json.999.tmp").touch()
    with opened(tmp_path / "a", CONFIG | {"name": "b"}) as run:
        assert run.resumed and not run.complete and run.notes == []
        run.log("train", 2, loss_nats=1.5)
    assert [line["loss_nats"] for line in read_metrics(tmp_path / "a" / "metrics.jsonl")] == [
        2.5,
        1.5,
    ]
    assert len((tmp_path / "a" / "command.txt").read_text().splitlines()) == 2
    assert not list((tmp_path / "a").glob(".*"))


def test_another_signature_is_refused_with_the_keys_that_differ(tmp_path: Path) -> None:
    opened(tmp_path / "a").close()
    before = snapshot(tmp_path / "a")
    other = {"rtol": 1e-5, "name": "b", "solver": {"method": "dopri5", "step": None}}
    with pytest.raises(OutputError) as refusal:
        opened(tmp_path / "a", other, "s2")
    for words in (
        "rtol: 0.001 -> 1e-05",
        "solver.max_steps: 10 -> (absent)",
        "solver.step: (absent) -> null",
        "choose another name=...",
    ):
        assert words in str(refusal.value)
    assert "name: " not in str(refusal.value) and "dopri5" not in str(refusal.value)
    assert snapshot(tmp_path / "a") == before


def test_another_signature_with_equal_keys_is_refused_too(tmp_path: Path) -> None:
    opened(tmp_path / "a").close()
    with pytest.raises(OutputError, match="equal keys"):
        opened(tmp_path / "a", CONFIG, "s2")


def test_finished_run_is_read_without_a_lock_or_a_change(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as run:
        run.finish(result(error=0.5, loss_nats=math.nan, kl_nats=math.inf))
        assert run.complete
    before = snapshot(tmp_path / "a")
    stamp = os.stat(tmp_path / "a").st_mtime_ns
    with opened(tmp_path / "a") as again:
        assert again.complete and not again.resumed
        assert again.result is not None
        test = dict(again.result.last.test)
        assert math.isnan(test.pop("loss_nats"))
        assert test == {"error": 0.5, "kl_nats": math.inf}
        for write in (
            lambda: again.log("train", 1, error=0.1),
            lambda: again.finish(result()),
            lambda: again.status("RUNNING"),
            lambda: again.cut(0),
        ):
            with pytest.raises(OutputError, match="already complete"):
                write()
    assert snapshot(tmp_path / "a") == before and os.stat(tmp_path / "a").st_mtime_ns == stamp
    assert json.loads(before["status.json"])["state"] == "COMPLETED"
    with pytest.raises(OutputError, match="another configuration"):
        opened(tmp_path / "a", CONFIG, "s2")


def test_exception_after_the_finish_leaves_the_run_completed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), opened(tmp_path / "a") as run:
        run.finish(result())
        raise RuntimeError("late")
    assert opened(tmp_path / "a").complete


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"error": 0.'])
def test_torn_result_does_not_count_as_complete(tmp_path: Path, content: str) -> None:
    opened(tmp_path / "a").close()
    (tmp_path / "a" / "result.json").write_text(content)
    with opened(tmp_path / "a") as run:
        assert run.resumed and not run.complete
        assert "result.json cannot be read" in run.notes[0]
        run.finish(result(error=0.25))
    assert opened(tmp_path / "a").result == result(error=0.25)


def test_lines_are_written_at_once_and_values_come_back_exactly(tmp_path: Path) -> None:
    values = {"loss_nats": 0.1 + 0.2, "error": math.nan, "h_max": math.inf, "nfe_forward": 26}
    with opened(tmp_path / "a") as run:
        run.log("train", 3, **values)
        (line,) = read_metrics(run.path / "metrics.jsonl")
        raw = (run.path / "metrics.jsonl").read_text()
    assert (line["step"], line["split"]) == (3, "train") and line["seconds"] >= 0
    assert math.isnan(line.pop("error")) and '"error": "nan"' in raw
    assert all(line[name] == values[name] for name in ("loss_nats", "h_max", "nfe_forward"))
    assert isinstance(line["nfe_forward"], int)


def test_undeclared_metrics_and_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as run:
        with pytest.raises(ValueError, match=r"'los_nats' is not a declared metric.*'loss_nats'"):
            run.log("train", 1, los_nats=1.0)
        for value in ("nan", None, [1.0]):
            with pytest.raises(TypeError, match="'loss_nats' must be a number"):
                run.log("train", 1, loss_nats=value)  # type: ignore[arg-type]
        assert read_metrics(run.path / "metrics.jsonl") == []


def test_cut_drops_the_lines_beyond_the_step_and_logging_goes_on(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as run:
        for step in (1, 2, 3, 4):
            run.log("train", step, error=0.5)
        run.log("test", 2, error=0.5)
        assert run.cut(2) == 2
        run.log("train", 3, error=0.25)
        lines = read_metrics(run.path / "metrics.jsonl")
        assert [(line["split"], line["step"]) for line in lines] == [
            ("train", 1),
            ("train", 2),
            ("test", 2),
            ("train", 3),
        ]
        assert run.cut(-1) == 4 and run.cut(-1) == 0


def test_unknown_state_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as run, pytest.raises(ValueError, match="'DONE' is not a state"):
        run.status("DONE")


def test_exception_is_recorded_with_one_line_and_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), opened(tmp_path / "a"):
        raise ZeroDivisionError("too\nmany")
    status = json.loads((tmp_path / "a" / "status.json").read_text())
    assert status["state"] == "FAILED" and status["error"] == "ZeroDivisionError: too many"
    assert "test_run_directory.py" in status["traceback"]
    assert not (tmp_path / "a" / "lock").exists()


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_interrupt_leaves_the_status_that_was_set(
    tmp_path: Path, interrupt: type[BaseException]
) -> None:
    with pytest.raises(interrupt), opened(tmp_path / "a") as run:
        run.status("INTERRUPTED", step=7)
        raise interrupt
    status = json.loads((tmp_path / "a" / "status.json").read_text())
    assert (status["state"], status["step"]) == ("INTERRUPTED", 7)
    assert not (tmp_path / "a" / "lock").exists()


def test_closed_run_refuses_to_be_written(tmp_path: Path) -> None:
    run = opened(tmp_path / "a")
    run.close()
    run.close()
    with pytest.raises(OutputError, match="is closed"):
        run.log("train", 1, error=0.5)


def test_directory_deleted_while_running_is_one_sentence_and_is_not_made_again(
    tmp_path: Path,
) -> None:
    with pytest.raises(OutputError, match="was deleted, moved or replaced"):
        with opened(tmp_path / "a") as run:
            shutil.rmtree(run.path)
            for write in (lambda: run.status("RUNNING"), lambda: run.finish(result())):
                with pytest.raises(OutputError, match="does not exist"):
                    write()
            run.log("train", 1, error=0.5)
    assert not (tmp_path / "a").exists()


def test_directory_moved_away_while_running_is_noticed(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as run:
        run.path.rename(tmp_path / "b")
        with pytest.raises(OutputError, match="was deleted, moved or replaced"):
            run.log("train", 1, error=0.5)
        with pytest.raises(OutputError, match="was deleted, moved or replaced"):
            run.cut(0)


def a_file(path: Path) -> Path:
    path.write_text("mine")
    return path


def below_a_file(path: Path) -> Path:
    return a_file(path) / "a"


def too_long(path: Path) -> Path:
    return path / ("x" * 300)


def much_too_long(path: Path) -> Path:
    return Path(path, *["y" * 200] * 30)


def someone_elses(path: Path) -> Path:
    path.mkdir()
    a_file(path / "thesis.tex")
    return path


def without_its_config(path: Path) -> Path:
    opened(path).close()
    (path / "config.yaml").unlink()
    return path


def with_a_damaged_config(path: Path) -> Path:
    opened(path).close()
    (path / "config.yaml").write_bytes(b"# signature: s1x\n\xff{")
    return path


def a_result_alone(path: Path) -> Path:
    path.mkdir()
    (path / "result.json").write_text("{}")
    return path


def with_an_undecodable_name(path: Path) -> Path:
    return path / "\ud800"


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (a_file, "is not a directory; choose another name"),
        (below_a_file, "there is a file where a directory is needed"),
        (too_long, "the path is too long"),
        (much_too_long, "the path is too long"),
        (someone_elses, "holds thesis.tex: it is not the directory of a run"),
        (without_its_config, "has no config.yaml"),
        (with_a_damaged_config, "config.yaml is damaged"),
        (a_result_alone, "has no config.yaml"),
        (with_an_undecodable_name, "Cannot write"),
    ],
)
def test_impossible_place_is_one_sentence_and_stays_as_it_is(
    tmp_path: Path, place: object, words: str
) -> None:
    path = place(tmp_path / "a")  # type: ignore[operator]
    before = snapshot(tmp_path)
    with pytest.raises(OutputError, match=words) as refusal:
        opened(path)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 500
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("call", "number", "words"),
    [
        ("mkdir", errno.EROFS, "read-only"),
        ("mkdir", errno.EACCES, "permission is denied"),
        ("mkdir", errno.ENOSPC, "disk is full"),
        ("replace", errno.EDQUOT, "quota"),
        ("fsync", errno.EIO, "input/output error"),
    ],
)
def test_failing_file_system_is_one_sentence_and_leaves_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, words: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(OutputError, match=words):
            opened(tmp_path / "a")
    assert not list(tmp_path.rglob("*lock*")) and not list(tmp_path.rglob("*.tmp"))
    opened(tmp_path / "a").close()


def test_disk_full_while_logging_leaves_whole_lines_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def half(descriptor: int, data: bytes) -> int:
        if len(data) < 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[: len(data) - 20])

    with opened(tmp_path / "a") as run:
        run.log("train", 1, error=0.5)
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", half)
            with pytest.raises(OutputError, match="disk is full"):
                run.log("train", 2, error=0.5)
        run.log("train", 3, error=0.5)
        assert [line["step"] for line in read_metrics(run.path / "metrics.jsonl")] == [1, 3]


def test_changed_surroundings_are_noted_and_the_earlier_ones_kept(tmp_path: Path) -> None:
    opened(tmp_path / "a").close()
    file = tmp_path / "a" / "environment.json"
    facts = json.loads(file.read_text())
    facts["versions"]["torch"] = "1.0"
    file.write_text(json.dumps(facts))
    for _ in range(2):  # the third start has nothing new to say
        with opened(tmp_path / "a") as run:
            notes = run.notes
            run.record_environment()
        if _ == 0:
            assert "torch 1.0 -> " in notes[0]
    assert notes == []
    assert [old["versions"]["torch"] for old in json.loads(file.read_text())["earlier"]] == ["1.0"]


def test_start_that_was_killed_before_its_config_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in (".config.yaml.77.tmp", "train.log"):
        (tmp_path / "a" / name).touch()
    with opened(tmp_path / "a") as run:
        assert not run.resumed and (run.path / "config.yaml").exists()


def test_what_reads_and_writes_runs_imports_nothing_heavy() -> None:
    modules = "run_directory stored_run environment metrics_file config_file lock".split()
    imports = ", ".join(f"node_repro.runs.{name}" for name in modules)
    code = f"import sys, {imports}; node_repro.runs.environment.environment(); "
    check = "assert not {'torch', 'tensorboard', 'hydra'} & set(sys.modules)"
    subprocess.run([sys.executable, "-W", "error", "-c", code + check], check=True)
