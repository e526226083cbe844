"""The command: help, exit codes, sweeps, and what it must not do."""

import gc
import os
import pickle
import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from node_repro.cli import command, main
from node_repro.cli.jobs import Jobs
from node_repro.config import Config
from node_repro.config.choices import Choices, conf_folder
from node_repro.config.compose import read
from node_repro.config.options import GROUPS, root_options
from node_repro.reproduce import parent


class NumericsError(Exception):
    exit_code: ClassVar[int] = 4


class OutOfMemoryError(RuntimeError):
    """Named as torch's own, which has no exit code."""


class Runs:
    """Stands for node_repro.training.run: notes every run and fails where told."""

    def __init__(self) -> None:
        self.configs: list[Config] = []
        self.overrides: list[list[str]] = []
        self.command: list[str] = []
        self.answers: dict[int, Exception | int] = {}

    def run(self, config: Config, overrides: list[str], command: list[str]) -> int:
        self.configs.append(config)
        self.overrides.append(overrides)
        self.command = command
        answer = self.answers.get(config.seed, 0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Runs:
    runs = Runs()
    monkeypatch.setitem(sys.modules, "node_repro.training.run", SimpleNamespace(run=runs.run))
    monkeypatch.chdir(tmp_path)
    return runs


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["node-run", *words])
    return main()


def shell(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    scripts = Path(sys.executable).parent
    path = f"{scripts}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=os.environ | {"PATH": path} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_arguments_run_the_odenet_on_mnist_quickly(
    runs: Runs,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    assert call(monkeypatch) == 0
    (config,) = runs.configs
    assert (config.task.name, config.model.name, config.profile) == ("mnist", "odenet", "quick")
    assert runs.overrides == [[]]
    assert list(tmp_path.iterdir()) == []
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert all(fact in err for fact in ("task=mnist", "model=odenet", "profile=quick", "--help"))
    assert call(monkeypatch, "seed=0") == 0
    assert capsys.readouterr().err == ""


def test_garbage_is_looked_for_after_a_command_and_not_while_it_starts(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_for = []
    monkeypatch.setattr(
        command, "read", lambda *words: looked_for.append(gc.isenabled()) or read(*words)
    )
    assert call(monkeypatch) == 0
    assert looked_for == [False] and gc.isenabled()


def test_a_sweep_keeps_nothing_of_its_jobs(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    before = []

    def run(config: Config, overrides: list[str], command: list[str]) -> int:
        before.append((gc.isenabled(), gc.get_freeze_count()))
        return 0

    monkeypatch.setitem(sys.modules, "node_repro.training.run", SimpleNamespace(run=run))
    gc.unfreeze()
    assert call(monkeypatch, "-m", "seed=0,1") == 0
    assert [enabled for enabled, _ in before] == [True, True]
    assert 0 < before[1][1] <= before[0][1]  # nothing is frozen after the first job began


def test_the_users_command_reaches_the_run(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["task=mnist", "solver=dopri5", "rtol=1e-3"]
    assert call(monkeypatch, *words) == 0
    assert runs.overrides == [words]
    assert runs.command == ["node-run", *words]
    assert runs.configs[0].ode is not None
    assert runs.configs[0].ode.atol == 1e-3


def test_help_names_every_group_choice_and_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "--help") == 0
    text = capsys.readouterr().out
    choices = Choices([conf_folder()])
    for group in GROUPS:
        for name in choices.names(group):
            assert re.search(rf"\b{name}\b", text), name
    for key in root_options():
        assert f"  {key}=" in text
    assert "exit codes: 0 done" in text
    assert max(map(len, text.splitlines())) <= 140


@pytest.mark.parametrize("flag", [["--config-dir", "conf"], ["--config-dir=conf"], ["-cd", "conf"]])
def test_a_users_folder_may_be_named_before_the_verb_and_for_help(
    flag: list[str],
    runs: Runs,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text("# @package _global_\n# My own.\n")
    for words in (["list", "experiment=mine"], ["--help"], ["list", "--help"]):
        assert call(monkeypatch, *flag, *words) == 0
        assert re.search(r"^ *mine .*My own\.$", capsys.readouterr().out, re.MULTILINE), words
    assert call(monkeypatch, *flag, "reproduce", "experiment=yours") == 2
    assert "'yours'" in capsys.readouterr().err
    assert runs.configs == []


def test_every_example_of_the_help_runs(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(monkeypatch, "--help")
    text = capsys.readouterr().out
    examples = re.findall(r"^  node-run(?: (.*?))?(?:  .*)?$", text, re.MULTILINE)
    assert len(examples) == 7
    monkeypatch.setitem(
        sys.modules, "node_repro.probes.measure", SimpleNamespace(probe=lambda *_: 0)
    )
    for example in examples:
        assert call(monkeypatch, *shlex.split(example)) == 0, example


@pytest.mark.parametrize(
    ("answer", "code", "reason"),
    [
        (0, 0, ""),
        (130, 130, ""),
        (NumericsError("the step size underflows"), 4, "node-run: the step size underflows\n"),
        (MemoryError("16 GiB"), 5, "out of memory: 16 GiB"),
        (OutOfMemoryError("CUDA\nout of memory"), 5, "out of memory: CUDA out of memory\n"),
        (KeyError("oops"), 1, "internal error: KeyError: 'oops'; run again with debug=true"),
        (SystemExit(3), 3, ""),
    ],
)
def test_every_error_of_a_run_is_one_line_and_its_exit_code(
    answer: Exception | int,
    code: int,
    reason: str,
    runs: Runs,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs.answers = {0: answer}
    if isinstance(answer, SystemExit):
        monkeypatch.setattr(sys.modules["node_repro.training.run"], "run", lambda *_: sys.exit(3))
    assert call(monkeypatch, "seed=0") == code
    err = capsys.readouterr().err
    assert reason in err
    assert err.count("\n") == (1 if reason else 0)


@pytest.mark.parametrize("word", ["debug=true", "debug=True"])
def test_debug_shows_the_traceback(
    word: str, runs: Runs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.answers = {0: KeyError("oops")}
    assert call(monkeypatch, word) == 1
    assert "Traceback" in capsys.readouterr().err


def test_keyboard_interrupt_exits_130(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["node_repro.training.run"], "run", interrupt)
    assert call(monkeypatch, "seed=0") == 130
    assert capsys.readouterr().err == "node-run: interrupted\n"


def test_sweep_runs_every_job_and_lists_all_failures(
    runs: Runs,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    runs.answers = {1: NumericsError("it blew up"), 2: KeyError("oops")}
    assert call(monkeypatch, "-m", "seed=0,1,2,3") == 4
    assert [config.seed for config in runs.configs] == [0, 1, 2, 3]
    err = capsys.readouterr().err
    summary = err[err.index("node-run: 2 of 4 jobs failed") :].splitlines()
    assert summary[1] == "  job 2 (seed=1): it blew up"
    assert summary[2].startswith("  job 3 (seed=2): internal error: KeyError")
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == [".sweep"]


def test_sweep_goes_on_after_a_job_with_a_wrong_value(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "-m", "rtol=-1,1e-3,abc") == 2
    assert len(runs.configs) == 1
    err = capsys.readouterr().err
    assert "2 of 3 jobs failed" in err
    assert err.count("job 1 (rtol=-1): rtol=-1 must be a number") == 2


def test_sweep_without_failures_is_silent(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "-m", "model=mlp,odenet", "seed=0,1") == 0
    assert [(config.model.name, config.seed) for config in runs.configs] == [
        ("mlp", 0),
        ("mlp", 1),
        ("odenet", 0),
        ("odenet", 1),
    ]
    assert capsys.readouterr().err == ""


def test_interrupted_job_ends_the_sweep(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.answers = {1: 130}
    assert call(monkeypatch, "-m", "seed=0,1,2") == 130
    assert [config.seed for config in runs.configs] == [0, 1]


def test_a_failure_in_a_worker_process_is_told_by_the_first_process(
    runs: Runs,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    runs.answers = {1: NumericsError("it blew up"), 2: 75}
    real = Jobs.__call__

    def as_a_copy(self: Jobs, cfg: object) -> None:
        copy = pickle.loads(pickle.dumps(self))
        copy.process = "another-1"
        real(copy, cfg)

    monkeypatch.setattr(Jobs, "__call__", as_a_copy)
    assert call(monkeypatch, "-m", "seed=0,1,2,3", "outputs=here") == 4
    assert [config.seed for config in runs.configs] == [0, 1, 2, 3]
    err = capsys.readouterr().err
    summary = err[err.index("node-run: 2 jobs failed:") :].splitlines()
    assert summary[1:] == [
        "  job 2 (seed=1 outputs=here): it blew up",
        "  job 3 (seed=2 outputs=here): exit code 75",
    ]
    assert [path.name for path in (tmp_path / "here" / ".sweep").iterdir()] == ["multirun.yaml"]


def test_unusable_output_folder_of_a_sweep_is_one_line(
    runs: Runs,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "outputs").write_text("a file")
    assert call(monkeypatch, "-m", "seed=0,1") == 6
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "words", ["--help", "--cfg job --resolve", "--info defaults", "rtol=abc", "+typo=1", "rtol=0"]
)
def test_torch_is_not_imported_before_a_run(words: str, tmp_path: Path) -> None:
    code = (
        "import sys; from node_repro.cli import main; main();"
        "heavy = {'torch', 'numpy', 'matplotlib', 'scipy', 'sklearn', 'torchvision'};"
        "print('imported:', sorted(heavy & set(sys.modules)))"
    )
    done = shell(f'python -c "{code}" {words}', tmp_path)
    assert "imported: []" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_into_a_closed_pipe_prints_no_traceback(tmp_path: Path) -> None:
    done = shell("node-run --help | head -1; node-run --cfg job | head -1", tmp_path)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 2


def test_help_prints_where_the_terminal_knows_only_ascii(tmp_path: Path) -> None:
    done = shell("node-run --help && node-run mnist", tmp_path, LC_ALL="C", PYTHONUTF8="0")
    assert done.returncode == 2
    assert done.stderr.startswith("node-run: 'mnist' has no '='")


def test_configuration_is_printed_without_being_run(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "--cfg", "job", "--resolve", "rtol=1e-5") == 0
    assert "atol: 1.0e-05" in capsys.readouterr().out
    assert runs.configs == []


def test_completion_offers_the_choices(tmp_path: Path) -> None:
    done = shell(
        "node-run -sc query=bash", tmp_path, COMP_LINE="node-run solver=dop", COMP_POINT="19"
    )
    assert done.stdout.split() == ["solver=dopri5", "solver=dopri8"]


@pytest.mark.parametrize("verb", ["list", "reproduce"])
def test_the_whole_is_no_work_for_torchrun(verb: str, tmp_path: Path) -> None:
    launched = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    done = shell(f"python -m node_repro.cli {verb} experiment=table1_mlp", tmp_path, **launched)
    assert done.returncode == 2
    assert f"`{verb}` needs one process" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_process_of_a_reproduction_watches_for_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = threading.Event()
    monkeypatch.setattr(parent, "_wait_for_end", watched.set)
    monkeypatch.setenv(parent.STOPS_WITH_PARENT, "1")
    monkeypatch.setattr(sys, "argv", ["node-run", "--version"])
    assert main() == 0
    assert watched.wait(10)
    assert parent.STOPS_WITH_PARENT not in os.environ
