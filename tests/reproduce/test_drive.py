"""Running the plan: failures are named, the rest runs, what is done is skipped, signals save."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from node_repro.config.choices import Choices, conf_folder
from node_repro.config.experiments import to_content
from node_repro.experiments import all_experiments
from node_repro.reproduce import drive
from node_repro.reproduce.asked import asked
from node_repro.runs import OutputError
from node_repro.runs.lock import Lock

FAKE = (sys.executable, str(Path(__file__).with_name("fake_node_run.py")))
EXPERIMENTS = "experiment=fig4_u1_nf_2,fig4_u1_nf_8,fig5_moons_nf"


@pytest.fixture
def choices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Choices:
    """The project's, with one probe, and a `node-run` that only leaves files."""
    monkeypatch.setattr(drive, "NODE_RUN", FAKE)
    monkeypatch.delenv("MAKEFLAGS", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "probe").mkdir(parents=True)
    (tmp_path / "conf" / "experiment").mkdir()
    (tmp_path / "conf" / "probe" / "look.yaml").write_text("# A look.\n")
    described = yaml.safe_dump(to_content(all_experiments()["fig4_u1_nf_8"]))
    (tmp_path / "conf" / "experiment" / "fig4_u1_nf_8.yaml").write_text(
        f"# @package _global_\n# Mine.\n{described}probes: [look]\n"
    )
    return Choices([tmp_path / "conf", conf_folder()])


def go(choices: Choices, *words: str) -> tuple[int, list[str]]:
    """Exit code, and the commands that were run."""
    calls = Path("outputs/calls.txt")
    calls.unlink(missing_ok=True)
    code = drive.reproduce(asked([EXPERIMENTS, *words], choices), choices)
    return code, calls.read_text().splitlines()


def test_all_run_once_and_the_report_is_last(choices: Choices) -> None:
    code, calls = go(choices, "seed=0,1", "jobs=2")
    assert code == 0
    assert len(calls) == 3 * 2 + 1 + 1
    assert "job=report" in calls[-1]
    run = next(i for i, call in enumerate(calls) if call.startswith("experiment=fig4_u1_nf_8"))
    probe = next(i for i, call in enumerate(calls) if "probe=look" in call)
    assert run < probe


def test_a_second_call_runs_nothing_but_the_report(choices: Choices) -> None:
    go(choices)
    code, calls = go(choices)
    assert code == 0
    assert len(calls) == 1
    assert "job=report" in calls[0]


def test_what_failed_is_named_with_its_log_and_the_rest_runs(
    choices: Choices, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAIL", "experiment=fig4_u1_nf_8")
    code, calls = go(choices)
    out = capsys.readouterr().out
    assert code == 1
    assert len(calls) == 3 + 1
    log = "outputs/.reproduce/quick/fig4_u1_nf_8-seed0.log"
    assert f"failed  fig4_u1_nf_8-seed0: it blew up  ({log})" in out
    assert "left    look-fig4_u1_nf_8-seed0: its run is not there" in out
    assert "2 of 4 are done; the same command goes on from here" in out
    assert "it blew up" in Path(log).read_text()
    monkeypatch.delenv("FAIL")
    code, calls = go(choices)
    assert code == 0
    assert [call.split()[0] for call in calls] == [
        "experiment=fig4_u1_nf_8",
        "job=probe",
        "job=report",
    ]


def test_a_failing_report_is_a_failure(choices: Choices, monkeypatch: pytest.MonkeyPatch) -> None:
    go(choices)
    monkeypatch.setattr(drive, "NODE_RUN", ("false",))
    assert drive.reproduce(asked([EXPERIMENTS], choices), choices) == 1


def test_a_run_that_was_removed_runs_again(choices: Choices) -> None:
    go(choices)
    next(Path("outputs/fig5_moons_nf").rglob("result.json")).unlink()
    _, calls = go(choices)
    assert [call.split()[0] for call in calls] == ["experiment=fig5_moons_nf", "job=report"]


def test_a_changed_configuration_is_looked_at_again(choices: Choices, tmp_path: Path) -> None:
    go(choices)
    (tmp_path / "conf" / "probe" / "look.yaml").write_text("# Another look.\n")
    _, calls = go(choices)
    assert len(calls) == 4 + 1


def test_paths_and_values_with_signs_of_the_shell_arrive_whole(choices: Choices) -> None:
    ask = asked([EXPERIMENTS, "outputs=out $HOME 'put", "optimizer.lr=1e-3"], choices)
    assert drive.reproduce(ask, choices) == 0
    calls = Path("out $HOME 'put/calls.txt").read_text().splitlines()
    assert len(calls) == 4 + 1
    assert all('outputs="out $HOME \'put"' in call for call in calls)


def test_a_quoted_output_path_is_the_one_without_quotes(choices: Choices) -> None:
    assert drive.reproduce(asked([EXPERIMENTS, 'outputs="a,b (1)"'], choices), choices) == 0
    assert Path("a,b (1)/calls.txt").is_file()


def test_a_damaged_stamp_does_not_hold(choices: Choices) -> None:
    go(choices)
    Path("outputs/.reproduce/quick/fig4_u1_nf_2-seed0").write_bytes(b"\xff\xfe")
    _, calls = go(choices)
    assert [call.split()[0] for call in calls] == ["experiment=fig4_u1_nf_2", "job=report"]


def test_the_processes_of_an_outer_make_share_the_cores(
    choices: Choices, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = os.pipe()
    os.write(write, b"++")
    os.set_inheritable(read, True)
    os.set_inheritable(write, True)
    monkeypatch.setenv("MAKEFLAGS", f" -j1000 --jobserver-auth={read},{write}")
    try:
        code, calls = go(choices)
    finally:
        os.close(read)
        os.close(write)
    assert code == 0
    assert limits()[:-1] == ["1"] * (len(calls) - 1)


def limits() -> list[str]:
    """OMP_THREAD_LIMIT of every command that was run."""
    return Path("outputs/limits.txt").read_text().split()


@pytest.mark.parametrize(("jobs", "limit"), [(1, "none"), (2, "4"), (3, "2"), (9, "1")])
def test_processes_side_by_side_may_take_their_share_of_the_cores(
    jobs: int, limit: str, choices: Choices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_THREAD_LIMIT", raising=False)
    monkeypatch.setattr(drive, "usable_cores", lambda: 8)
    go(choices, f"jobs={jobs}")
    assert set(limits()[:-1]) == {limit}


@pytest.mark.parametrize("flags", ["n", "kn", "n -j2 --jobserver-auth=3,4"])
def test_a_dry_run_of_an_outer_make_prints_the_plan_and_writes_nothing(
    flags: str,
    choices: Choices,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MAKEFLAGS", flags)
    assert drive.reproduce(asked([EXPERIMENTS], choices), choices) == 0
    assert capsys.readouterr().out.startswith("plan   4 processes, 0 done")
    assert not Path("outputs").exists()


def test_who_saved_who_failed_and_who_had_nothing_to_save_are_told_apart(
    choices: Choices, tmp_path: Path
) -> None:
    logs = {
        "fig4_u1_nf_2": "stopped    after iteration 3 of 5; all is saved",
        "fig4_u1_nf_8": "node-run: it blew up",
        "fig5_moons_nf": "",
    }
    found = drive.targets(asked([EXPERIMENTS], choices), choices)
    for name, said in logs.items():
        (tmp_path / f"{name}-seed0.log").write_text(said)
    lines = drive._told([one for one in found if not one.probe], tmp_path, 0.0, True)
    assert {line.split()[1].rstrip(":"): line.split()[0] for line in lines} == {
        "fig4_u1_nf_2-seed0": "saved",
        "fig4_u1_nf_8-seed0": "failed",
        "fig5_moons_nf-seed0": "ended",
    }


def test_two_reproductions_do_not_work_in_one_folder(
    choices: Choices,
) -> None:
    folder = Path("outputs/.reproduce/quick")
    folder.mkdir(parents=True)
    lock, _ = Lock.take(folder / "lock")
    with pytest.raises(OutputError, match="in use by process"):
        drive.reproduce(asked([EXPERIMENTS], choices), choices)
    lock.release()


SCRIPT = """
import sys
from node_repro.config.choices import Choices, conf_folder
from node_repro.config.experiments import to_content
from node_repro.experiments import all_experiments
from node_repro.reproduce import drive
from node_repro.reproduce.asked import asked
drive.NODE_RUN = {fake}
choices = Choices([conf_folder()])
sys.exit(drive.reproduce(asked(sys.argv[1:], choices), choices))
"""


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)],
)
def test_a_signal_lets_the_processes_save_and_a_second_call_goes_on(
    choices: Choices, number: signal.Signals, code: int
) -> None:
    command = [sys.executable, "-c", SCRIPT.format(fake=FAKE), EXPERIMENTS, "jobs=2"]
    environment = os.environ | {"WAIT": "fig5_moons_nf"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    status = Path("outputs/fig5_moons_nf/quick-some-0/seed0/status.json")
    until = time.monotonic() + 60
    stamps = [Path(f"outputs/.reproduce/quick/fig4_u1_nf_{n}-seed0") for n in (2, 8)]
    while not (status.exists() and all(stamp.exists() for stamp in stamps)):
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == code
    if number != signal.SIGKILL:
        assert "saved   fig5_moons_nf-seed0" in out
        assert "the same command goes on from here" in out
    code, calls = go(Choices([conf_folder()]))
    assert code == 0
    assert "experiment=fig5_moons_nf" in [call.split()[0] for call in calls]
