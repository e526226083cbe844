"""Real processes: signals save and leave, kill -9 loses nothing, one process a directory."""

import contextlib
import io
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from multiprocessing.context import ForkServerProcess as Process
from pathlib import Path

import pytest
import torch

from node_repro import cli
from node_repro.config.compose import compose
from node_repro.runs.metrics_file import read_metrics
from node_repro.training.run import run

ITERATIONS = 112  # 14 an epoch, a second or two in all
WORDS = [
    "data.source=embedded",
    "data.limit=64",
    "trainer.batch_size=4",
    f"trainer.iterations={ITERATIONS}",
    "trainer.log_every=1",
    "trainer.checkpoint_seconds=0.1",
    "model.channels=4",
    "model.stem=conv",
    "solver=euler",
    "controller.step_size=0.5",
    "gradient=adjoint",
    "threads=1",
    "name=run",
]
PATIENCE = 120  # seconds for a process to do what it is waited for


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["node_repro.cli", "node_repro.training.run", "hydra.main", "torch._dynamo"]
)


def command(words: Sequence[str], out: Path) -> None:
    """In a fresh process: what `node-run` does there, with stdout and stderr in files."""
    for stream, suffix in ((sys.stdout, ".out"), (sys.stderr, ".err")):
        file = os.open(out.with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream.fileno())
    sys.argv = ["node-run", *words]
    sys.exit(cli.main())


class Job:
    """The command in one output folder, started as often as a test likes.

    Its processes are forks of one that has imported everything: starts in a tenth of the time.
    """

    def __init__(self, outputs: Path) -> None:
        self.words = [*WORDS, f"outputs={outputs}"]
        self.folder = outputs / "run" / "seed0"
        self.out = outputs / "process.out"
        self.processes: list[Process] = []

    def start(self) -> Process:
        process = FORKS.Process(target=command, args=(self.words, self.out))
        process.start()
        self.processes.append(process)
        return process

    def steps(self) -> int:
        """The last iteration that is logged, 0 for none."""
        with contextlib.suppress(FileNotFoundError, IndexError, ValueError):
            return json.loads((self.folder / "metrics.jsonl").read_bytes().splitlines()[-1])["step"]
        return 0

    def progress(self, process: Process) -> None:
        """Waits until it trains where no start of the job has trained before."""
        before, give_up = self.steps(), time.monotonic() + PATIENCE
        while self.steps() <= before:
            assert process.is_alive() and time.monotonic() < give_up
            time.sleep(0.005)

    def end(self, process: Process) -> tuple[int | None, str]:
        """Exit code and stdout; without a terminal stderr has to be empty: no bar, no warning."""
        process.join(PATIENCE)
        assert self.out.with_suffix(".err").read_text() == ""
        return process.exitcode, self.out.read_text()

    def status(self) -> dict:
        return json.loads((self.folder / "status.json").read_text())

    def outcome(self) -> list[object]:
        """All that has to be the same to the last bit: weights, optimiser, lines, result."""
        result = json.loads((self.folder / "result.json").read_text())
        states = []
        for name in (f"step_{ITERATIONS:09d}.pt", "best.pt"):
            state = torch.load(self.folder / "checkpoints" / name, weights_only=True)
            states += [state[part] for part in ("model", "optimizer", "position", "random")]
        return [
            plain(part) for part in (read_metrics(self.folder / "metrics.jsonl"), result, states)
        ]


def plain(value: object) -> object:
    """Without wall times, and with lists for tensors."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if not str(k).endswith("seconds")}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.tolist() if isinstance(value, torch.Tensor) else value


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    job = Job(tmp_path_factory.mktemp("uninterrupted"))
    with contextlib.redirect_stdout(io.StringIO()):
        assert run(compose(job.words), job.words, ["node-run", *job.words]) == 0
    return job.outcome()


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    job = Job(tmp_path)
    yield job
    for process in job.processes:
        process.kill()
        process.join()
        process.close()


def killed_and_finished(job: Job, instants: Sequence[float]) -> int:
    """Kills the job so many seconds after its start, or after its first new iteration if negative;
    then lets it finish. Returns how often it was killed before it was done."""
    kills = 0
    for seconds in instants:
        process = job.start()
        if seconds < 0:
            job.progress(process)
        time.sleep(abs(seconds))
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
    assert job.end(job.start())[0] == 0
    return kills


def test_signals_save_and_leave_and_the_same_command_goes_on(
    job: Job,
    uninterrupted: list[object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    step = 0
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 75)):
        process = job.start()
        job.progress(process)
        assert process.pid is not None
        if number == signal.SIGINT:  # in the first round, a second start meanwhile
            os.kill(process.pid, signal.SIGSTOP)
            with monkeypatch.context() as patched:
                patched.setattr(sys, "argv", ["node-run", *job.words])
                assert cli.main() == 6
            err = capsys.readouterr().err
            assert f"{job.folder} is in use by process {process.pid} " in err
            assert err.count("\n") == 1
            os.kill(process.pid, signal.SIGCONT)
        os.kill(process.pid, number)
        left, out = job.end(process)
        assert left == code
        status = job.status()
        assert (status["state"], status["exit_code"]) == ("INTERRUPTED", code)
        assert step < status["step"] < ITERATIONS
        assert ("resume     after iteration" in out) == (step > 0)
        step = status["step"]
        assert f"stopped    after iteration {step} of {ITERATIONS}; checkpoint saved" in out
        assert not (job.folder / "lock").exists()
    done = subprocess.run(  # this time the command itself, with all its imports
        [sys.executable, "-m", "node_repro.cli", *job.words],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"resume     after iteration {step} of {ITERATIONS}" in done.stdout
    assert done.stderr == ""
    assert job.status()["state"] == "COMPLETED"
    assert job.outcome() == uninterrupted
    assert len((job.folder / "command.txt").read_text().splitlines()) == 4


def test_kills_at_random_instants_change_no_bit(job: Job, uninterrupted: list[object]) -> None:
    instants = [-random.uniform(0.0, 0.2) for _ in range(2)]
    assert killed_and_finished(job, instants) == 2, instants
    assert job.outcome() == uninterrupted, instants
    assert "was killed" in (job.folder / "train.log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("sign", [1, -1], ids=["of_all", "of_training"])
@pytest.mark.parametrize("number", range(5))
def test_many_kills_change_no_bit(
    number: int, sign: int, job: Job, uninterrupted: list[object]
) -> None:
    """Anywhere: while starting, between two files, in a save, in the final test."""
    instants = [sign * random.uniform(0.0, 1.5 if sign > 0 else 0.2) for _ in range(8)]
    with contextlib.suppress(AssertionError):  # it may have been done before the last kill
        killed_and_finished(job, instants)
    assert job.end(job.start())[0] == 0
    assert job.outcome() == uninterrupted, instants


def test_closed_stdout_does_not_end_a_run(
    job: Job,
    uninterrupted: list[object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In this process: a pipe whose reader is gone, as behind `| head`."""
    monkeypatch.setattr(sys, "argv", ["node-run", *job.words])
    reader, writer = os.pipe()
    os.close(reader)
    closed = open(writer, "w", encoding="utf-8")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", closed)
        assert cli.main() == 0
    with contextlib.suppress(BrokenPipeError):
        closed.close()
    assert capsys.readouterr().err == ""
    assert not (job.folder / "lock").exists()
    assert job.outcome() == uninterrupted
