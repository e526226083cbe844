"""Reproducing: failures are named and the rest runs, what is done is skipped, signals save."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from node_repro.config.experiments import to_content
from node_repro.experiments import all_experiments
from node_repro.reproduce import launchers
from node_repro.reproduce.launchers import processes
from node_repro.reproduce.request import read_request
from node_repro.reproduce.run import reproduce
from node_repro.runs import OutputError
from node_repro.runs.lock import Lock

FAKE = (sys.executable, str(Path(__file__).with_name("fake_node_run.py")))
EXPERIMENTS = "experiment=fig4_u1_nf_2,fig4_u1_nf_8,fig5_moons_nf"
SCRIPT = """
import sys
from node_repro.reproduce import launchers
from node_repro.reproduce.launchers import processes
from node_repro.reproduce.request import read_request
from node_repro.reproduce.run import reproduce
launchers.NODE_RUN = {fake}
sys.exit(reproduce(*read_request(sys.argv[1:])))
"""


@pytest.fixture(autouse=True)
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that gives fig4_u1_nf_8 the probe `memory`, and a `node-run` that leaves files."""
    monkeypatch.setattr(launchers, "NODE_RUN", FAKE)
    monkeypatch.delenv("MAKEFLAGS", raising=False)
    monkeypatch.delenv("OMP_THREAD_LIMIT", raising=False)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "conf"
    (folder / "experiment").mkdir(parents=True)
    described = yaml.safe_dump(to_content(all_experiments()["fig4_u1_nf_8"]))
    text = f"# @package _global_\n# Mine.\n{described}probes: [memory]\n"
    (folder / "experiment" / "fig4_u1_nf_8.yaml").write_text(text)
    return folder


def go(conf: Path, *words: str) -> tuple[int, list[str]]:
    """Exit code, and the first words of the commands that were run."""
    calls = Path("outputs/calls.txt")
    calls.unlink(missing_ok=True)
    code = reproduce(*read_request([f"--config-dir={conf}", EXPERIMENTS, *words]))
    return code, calls.read_text().splitlines()


def names(calls: list[str]) -> list[str]:
    return sorted(call.split()[0] for call in calls)


def test_all_run_once_and_the_report_is_last(conf: Path) -> None:
    code, calls = go(conf, "seed=0,1", "jobs=2")
    assert code == 0
    assert len(calls) == 3 * 2 + 2 + 1
    assert "job=report" in calls[-1]
    run = next(i for i, one in enumerate(calls) if one.startswith("experiment=fig4_u1_nf_8"))
    probe = next(i for i, one in enumerate(calls) if "probe=memory" in one)
    assert run < probe
    code, calls = go(conf, "seed=0,1", "jobs=2")
    assert (code, names(calls)) == (0, ["job=report"])


def test_what_failed_is_named_with_its_log_and_the_rest_runs(
    conf: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAIL", "experiment=fig4_u1_nf_8")
    code, calls = go(conf)
    out = capsys.readouterr().out
    assert code == 1
    assert len(calls) == 3 + 1
    log = "outputs/.reproduce/quick/fig4_u1_nf_8-seed0.log"
    (line,) = (line for line in out.splitlines() if line.startswith("failed"))
    assert "fig4_u1_nf_8-seed0" in line and "it blew up" in line and log in line
    assert "left    memory-fig4_u1_nf_8-seed0" in out
    assert "2 of 4 are done" in out and "the same command" in out
    assert "it blew up" in Path(log).read_text()
    monkeypatch.delenv("FAIL")
    code, calls = go(conf)
    assert code == 0
    assert names(calls) == ["experiment=fig4_u1_nf_8", "job=probe", "job=report"]


def test_a_failing_report_is_a_failure(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go(conf)
    monkeypatch.setattr(launchers, "NODE_RUN", ("false",))
    assert reproduce(*read_request([f"--config-dir={conf}", EXPERIMENTS])) == 1


def test_what_was_removed_or_asked_for_otherwise_runs_again(conf: Path) -> None:
    go(conf)
    next(Path("outputs/fig5_moons_nf").rglob("result.json")).unlink()
    assert names(go(conf)[1]) == ["experiment=fig5_moons_nf", "job=report"]
    _, calls = go(conf, "model.depth=3")
    assert len(calls) == 4 + 1
    path = conf / "experiment" / "fig4_u1_nf_8.yaml"
    path.write_text(path.read_text().replace("depth: 8", "depth: 9"))
    assert names(go(conf)[1]) == ["experiment=fig4_u1_nf_8", "job=probe", "job=report"]


def test_paths_and_values_with_special_characters_arrive_whole() -> None:
    words = ["experiment=fig4_u1_nf_2", "outputs=out $HOME 'put", "optimizer.lr=1e-3"]
    assert reproduce(*read_request(words)) == 0
    calls = Path("out $HOME 'put/calls.txt").read_text().splitlines()
    assert len(calls) == 1 + 1
    assert all('outputs="out $HOME \'put"' in call for call in calls)


@pytest.mark.parametrize(("jobs", "limit"), [(1, "none"), (2, "4"), (9, "1")])
def test_processes_side_by_side_share_the_cores(
    jobs: int, limit: str, conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "usable_cores", lambda: 8)
    go(conf, f"jobs={jobs}")
    limits = Path("outputs/limits.txt").read_text().split()
    assert set(limits[:-1]) == {limit}


def test_two_reproductions_do_not_work_in_one_folder(conf: Path) -> None:
    folder = Path("outputs/.reproduce/quick")
    folder.mkdir(parents=True)
    lock, _ = Lock.take(folder / "lock")
    with pytest.raises(OutputError, match="in use by process"):
        go(conf)
    lock.release()


def test_a_folder_that_cannot_be_written_is_said() -> None:
    Path("outputs").touch()
    with pytest.raises(OutputError, match="outputs"):
        reproduce(*read_request(["experiment=fig4_u1_nf_2"]))


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)],
)
def test_a_signal_lets_the_processes_save_and_a_second_call_continues(
    conf: Path, number: signal.Signals, code: int
) -> None:
    command = [sys.executable, "-c", SCRIPT.format(fake=FAKE), EXPERIMENTS, "jobs=2"]
    environment = os.environ | {"WAIT": "fig5_moons_nf"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    outputs = Path("outputs")

    def is_waiting() -> bool:
        others = [*outputs.glob("fig4_u1_nf_*/*/seed0/result.json")]
        return len(others) == 2 and any(outputs.glob("fig5_moons_nf/*/seed0/status.json"))

    wait_until(is_waiting)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == code
    if number != signal.SIGKILL:
        assert "saved   fig5_moons_nf-seed0" in out
        assert "of 3 are done" in out and "the same command" in out
    wait_until(lambda: not is_alive("experiment=fig5_moons_nf"))
    exit_code, calls = go(conf)
    assert exit_code == 0
    assert "experiment=fig5_moons_nf" in names(calls)
    assert "experiment=fig4_u1_nf_2" not in names(calls)


def is_alive(word: str) -> bool:
    """Whether a process in the working directory has this word in its command."""
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (path / "cmdline").read_bytes().decode().split("\0")
            if word in words and os.readlink(path / "cwd") == os.getcwd():
                return True
    return False


def test_a_second_signal_kills(conf: Path, tmp_path: Path) -> None:
    stubborn = tmp_path / "stubborn.py"
    stubborn.write_text(
        "import signal, pathlib, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "pathlib.Path('started').touch()\ntime.sleep(600)\n"
    )
    fake = (sys.executable, str(stubborn))
    command = [sys.executable, "-c", SCRIPT.format(fake=fake), "experiment=fig5_moons_nf"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    wait_until(lambda: Path("started").exists())
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "0 of 1 are done" in out
