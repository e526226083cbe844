"""Several processes train one run as one process does; they stop, resume and fail together.

The processes are forks of one that has imported everything. The store in which torchrun's processes
meet is kept by the test, as torchrun keeps it.
"""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from multiprocessing.context import ForkServerProcess as Process
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from node_repro import cli
from node_repro.config.compose import compose
from node_repro.runs.metrics_file import read_metrics
from node_repro.tasks import Loss
from node_repro.training import build
from node_repro.training.checkpoint import Checkpoints
from node_repro.training.processes import FailedElsewhereError, Processes
from node_repro.training.processes.alone import Alone
from node_repro.training.processes.group import Group, LostProcessError, UnusedParameterError
from node_repro.training.run import build_trainer
from node_repro.training.signals import Signals

COUNT = 2
PATIENCE = 120.0
ITERATIONS = 4

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "node_repro.cli",
        "node_repro.training.run",
        "node_repro.training.processes.group",
        "hydra.main",
    ]
)

COMMON = ["threads=1", "precision=float64", "trainer.log_every=1", "trainer.batch_size=8"]
DIGITS = ["data.source=embedded", "data.limit=64", "trainer.eval_batch_size=200"]
DIGITS += ["optimizer.lr=1"]
ODENET = [*DIGITS, "model.channels=4", "model.stem=conv", "controller=constant"]
CONSTANT = ["solver=rk4", "controller=constant", "controller.step_size=0.25"]
EXACT = {
    "mlp": [*DIGITS, "model=mlp"],
    "odenet adjoint": [*ODENET, "solver=rk4", "controller.step_size=0.5"],
    "odenet direct": [*ODENET, "solver=rk4", "controller.step_size=0.5", "gradient=direct"],
    "odenet checkpointed": [
        *(*ODENET, "solver=rk4", "controller.step_size=0.5", "gradient=checkpointed")
    ],
    "odenet reversible": [
        *(*ODENET, "solver=reversible_rk4", "controller.step_size=0.5", "gradient=reversible")
    ],
    "cnf": ["task=cnf", *CONSTANT, "controller.step_size=2.5"],
    "cnf, estimated trace": [
        *("task=cnf", "model=mlp_cnf", "model.trace=hutchinson", *CONSTANT),
    ],
    "planar flow": ["task=cnf", "model=planar_flow"],
    "density matching": ["task=density_match", *CONSTANT, "controller.step_size=2.5"],
    "latent ODE": ["task=latent_ode", *CONSTANT, "data.observed=100"],
    "RNN": ["task=latent_ode", "model=rnn"],
    "Poisson": ["task=poisson", "data=poisson_marked", *CONSTANT],
    "regression": ["task=regression", *CONSTANT],
    "classification": ["task=classification", *CONSTANT],
    "field": ["task=field_fit", *CONSTANT, "gradient=adjoint"],
}
"""Runs that two processes make as one does, but for rounding: where a solve chooses its steps, it
does so by all of its rows, so that here steps are constant. The latent ODE sees every point: a
solve ends at the last one that its rows saw, and the last step would differ."""

FAST = ("mlp", "odenet adjoint", "odenet direct", "odenet checkpointed", "latent ODE")


OWN = ("_seconds", "_bytes", "reconstruction_error")
"""Ends of what a process measures of itself: a mean over its own rows is taken before the root."""


class Outcome(NamedTuple):
    """lines: (split, step, metrics), without what each process measures of itself."""

    model: dict[str, torch.Tensor]
    lines: list[tuple[str, int, dict[str, float]]]


def trained(words: Sequence[str], folder: Path, processes: Processes) -> Outcome:
    """A training from its words, without a run directory."""
    given = ["profile=smoke", *words, *COMMON, f"trainer.iterations={ITERATIONS}"]
    config = compose(given)
    where, data = build.machine(config), build.data(config)
    checkpoints = Checkpoints(folder / "checkpoints", "s1")
    trainer = build_trainer(config, data, where, checkpoints, Signals(), processes)
    lines = []

    def log(split: str, step: int, metrics: dict[str, float]) -> None:
        shared = {name: value for name, value in metrics.items() if not name.endswith(OWN)}
        lines.append((split, step, shared))

    trainer.train(log, iter)
    log("test", ITERATIONS, trainer.evaluate("test").scores)
    return Outcome({k: v.clone() for k, v in trainer.model.state_dict().items()}, lines)


class Together:
    """Starts functions in as many processes at once as a run shall have."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = TCPStore("localhost", 0, is_master=True, timeout=timedelta(seconds=PATIENCE))

    def start(self, work: Callable, *arguments: object, count: int = COUNT) -> list[Process]:
        processes = []
        for rank in range(count):
            told = {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(count),
                "MASTER_ADDR": "localhost",
                "MASTER_PORT": str(self.store.port),
                "TORCHELASTIC_USE_AGENT_STORE": "True",
                "TORCHELASTIC_RESTART_COUNT": "0",
            }
            out = self.folder / f"process{rank}"
            processes.append(FORKS.Process(target=entered, args=(told, out, work, arguments)))
            processes[-1].start()
        return processes

    def end(self, processes: Sequence[Process]) -> list[int | None]:
        """Exit codes, of all that end in time."""
        for process in processes:
            process.join(PATIENCE)
        return [process.exitcode for process in processes]

    def said(self, rank: int, suffix: str = ".err") -> str:
        return (self.folder / f"process{rank}").with_suffix(suffix).read_text()


def entered(told: dict[str, str], out: Path, work: Callable, arguments: tuple) -> None:
    """In a process of its own."""
    os.environ |= told
    for stream, suffix in ((sys.stdout, ".out"), (sys.stderr, ".err")):
        file = os.open(out.with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream.fileno())
    torch.set_num_threads(1)
    sys.exit(work(*arguments))


def train_all(folder: Path, names: Sequence[str]) -> None:
    with Group.joined(int(os.environ["LOCAL_RANK"])) as group:
        outcomes = {}
        for name in names:
            own = folder / f"{name} {group.rank}"
            own.mkdir()
            outcomes[name] = tuple(trained(EXACT[name], own, group))
        torch.save(outcomes, folder / f"{group.rank}.pt")


@pytest.fixture(scope="module")
def pairs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], list[Outcome]]:
    """What each of two processes comes to; the fast ones are made in one start, and the others."""
    made: dict[str, list[Outcome]] = {}

    def pair(name: str) -> list[Outcome]:
        if name not in made:
            names = [one for one in EXACT if (one in FAST) == (name in FAST)]
            folder = tmp_path_factory.mktemp("pairs")
            together = Together(folder)
            codes = together.end(together.start(train_all, folder, names))
            assert codes == [0, 0], together.said(0) + together.said(1)
            states = [torch.load(folder / f"{rank}.pt") for rank in range(COUNT)]
            for one in names:
                made[one] = [Outcome(*state[one]) for state in states]
        return made[name]

    return pair


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in EXACT]
)
def test_two_processes_train_what_one_trains(
    name: str, pairs: Callable[[str], list[Outcome]], tmp_path: Path
) -> None:
    whole = trained(EXACT[name], tmp_path, Alone())
    first, second = pairs(name)
    assert first.lines == second.lines
    assert all(torch.equal(first.model[k], second.model[k]) for k in whole.model)
    assert [line[:2] for line in first.lines] == [line[:2] for line in whole.lines]
    for (*_, ours), (*_, metrics) in zip(first.lines, whole.lines, strict=True):
        assert ours == pytest.approx(metrics, rel=1e-12, abs=1e-13)  # measured: 4e-16
    for key, weight in whole.model.items():
        torch.testing.assert_close(first.model[key], weight, rtol=1e-12, atol=1e-12)  # 1e-14


WORDS = [
    *("data.source=embedded", "data.limit=64", "trainer.eval_batch_size=200", "model.channels=4"),
    *("model.stem=conv", "solver=euler", "controller.step_size=0.5", "gradient=adjoint"),
    *("trainer.batch_size=4", "trainer.iterations=40", "trainer.log_every=1", "threads=1"),
    *("trainer.checkpoint_seconds=0.2", "precision=float64", "name=run"),
]


class Job(Together):
    """`node-run` in one output folder, on as many processes as a start asks for."""

    def __init__(self, folder: Path, *words: str) -> None:
        super().__init__(folder)
        self.words = [*WORDS, *words, f"outputs={folder}"]
        self.run = folder / "run" / "seed0"

    def go(self, count: int = COUNT) -> list[Process]:
        return self.start(commanded, self.words, count=count)

    def progress(self, processes: Sequence[Process]) -> None:
        """Waits until some iterations are logged."""
        give_up = time.monotonic() + PATIENCE
        while len(self.lines()) < 5:
            assert all(process.is_alive() for process in processes), self.said(0) + self.said(1)
            assert time.monotonic() < give_up
            time.sleep(0.005)

    def lines(self) -> list[dict]:
        file = self.run / "metrics.jsonl"
        return read_metrics(file) if file.exists() else []

    def files(self, pattern: str) -> list[str]:
        return sorted(path.name for path in self.run.glob(pattern))

    def json(self, name: str) -> dict:
        return json.loads((self.run / name).read_text())

    def losses(self) -> list[float]:
        return [line["loss_nats"] for line in self.lines()]


def commanded(words: Sequence[str]) -> int:
    sys.argv = ["node-run", *words]
    return cli.main()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """One process, uninterrupted."""
    job = Job(tmp_path_factory.mktemp("whole"))
    assert job.end(job.go(count=1)) == [0]
    return job


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_after_the_same_iteration_and_any_number_goes_on(
    whole: Job, tmp_path: Path
) -> None:
    job = Job(tmp_path)
    processes = job.go()
    job.progress(processes)
    assert processes[1].pid is not None
    os.kill(processes[1].pid, signal.SIGTERM)
    assert job.end(processes) == [143, 143], job.said(0) + job.said(1)
    status = job.json("status.json")
    assert status["state"] == "INTERRUPTED" and 5 <= status["step"] < 40
    assert (job.run / "checkpoints" / f"step_{status['step']:09d}.pt").exists()
    assert job.said(0) == job.said(1) == job.said(1, ".out") == ""

    again = Together(tmp_path)
    assert again.end(again.start(commanded, job.words)) == [0, 0], again.said(0)
    assert "resume     after iteration" in again.said(0, ".out")
    assert job.losses() == pytest.approx(whole.losses(), rel=1e-9)  # of lines without a gap
    assert job.json("result.json")["processes"] == job.json("environment.json")["processes"] == 2
    assert len(job.files("events.*")) == 2  # one a start

    finished = Together(tmp_path)
    assert finished.end(finished.start(commanded, job.words)) == [0, 0]
    assert "is already finished" in finished.said(0, ".out") and finished.said(1, ".out") == ""


@pytest.mark.slow
def test_a_run_of_two_processes_has_the_signature_and_the_files_of_one(
    whole: Job, tmp_path: Path
) -> None:
    job = Job(tmp_path)
    assert job.end(job.go()) == [0, 0], job.said(0) + job.said(1)
    ours, single = job.json("result.json"), whole.json("result.json")
    assert ours["signature"] == single["signature"]
    assert ours["last"]["test"]["error"] == single["last"]["test"]["error"]
    assert job.losses() == pytest.approx(whole.losses(), rel=1e-9)
    assert job.files("[!e]*") == whole.files("[!e]*") and job.files("en*") == ["environment.json"]
    assert len(job.files("events.*")) == 1


def test_a_killed_process_ends_the_others_with_one_sentence(tmp_path: Path) -> None:
    job = Job(tmp_path, "trainer.iterations=100000")
    processes = job.go()
    job.progress(processes)
    processes[1].kill()
    assert job.end(processes) == [LostProcessError.exit_code, -signal.SIGKILL]
    assert job.said(0).count("\n") == 1
    assert job.said(0).startswith("node-run: another process of this run was killed")
    assert job.json("status.json")["state"] == "FAILED"
    assert not (job.run / "lock").exists()


def test_an_uneven_batch_is_refused_once_before_anything_is_made(tmp_path: Path) -> None:
    job = Job(tmp_path, "trainer.batch_size=5")
    assert job.end(job.go()) == [2, 2]
    (line,) = (job.said(0) + job.said(1)).splitlines()
    assert line.startswith("node-run: trainer.batch_size=5 ") and "2 processes" in line
    assert not job.run.exists()


def test_a_wrong_key_is_told_by_the_first_process_alone(tmp_path: Path) -> None:
    job = Job(tmp_path, "trainer.batchsize=4")
    processes = job.start(in_a_fresh_interpreter, job.words)
    assert job.end(processes) == [2, 2]
    assert "did you mean 'trainer.batch_size'" in job.said(0) and job.said(1) == ""


def in_a_fresh_interpreter(words: Sequence[str]) -> int:
    command = [sys.executable, "-m", "node_repro.cli", *words]
    return subprocess.run(command, cwd=Path(cli.__file__).parents[2]).returncode


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(1, 1), nn.Linear(1, 1)


class Sum:
    """A task whose loss is a mean of outputs."""

    def loss(self, model: Odd, batch: torch.Tensor) -> Loss:
        return Loss(model.used(batch).mean(), {})


def alone_in_failing(kind: str) -> None:
    with Group.joined(0, timedelta(seconds=3)) as group:
        if kind == "error" and group.rank == 1:
            raise ValueError("the second one\nfails")
        if kind == "silence" and group.rank == 1:
            time.sleep(PATIENCE)
        if kind == "unused":
            objective = group.objective(Sum(), Odd())  # pyright: ignore[reportArgumentType]
            objective.backward(objective.loss(torch.ones(2, 1)).loss)
        group.reduce_metrics({"loss_nats": 1.0})


def named(kind: str) -> int:
    """Says which error came, and exits with its code."""
    try:
        alone_in_failing(kind)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        return getattr(error, "exit_code", 1)
    return 0


def test_the_error_of_one_process_is_told_to_the_others(tmp_path: Path) -> None:
    together = Together(tmp_path)
    assert together.end(together.start(named, "error")) == [1, 1]
    assert together.said(1, ".out") == "ValueError: the second one\nfails\n"
    expected = f"{FailedElsewhereError.__name__}: process 1 of 2 failed: the second one fails\n"
    assert together.said(0, ".out") == expected


def test_a_process_that_does_not_answer_is_not_waited_for_without_end(tmp_path: Path) -> None:
    together = Together(tmp_path)
    processes = together.start(named, "silence")
    processes[0].join(PATIENCE)
    processes[1].kill()
    assert processes[0].exitcode == LostProcessError.exit_code
    assert "does not respond" in together.said(0, ".out")


def test_a_parameter_without_a_gradient_is_named(tmp_path: Path) -> None:
    together = Together(tmp_path)
    code = UnusedParameterError.exit_code
    assert together.end(together.start(named, "unused")) == [code, code]
    said = together.said(0, ".out") + together.said(1, ".out")
    assert "the loss does not depend on the parameter unused.weight, so 2 processes" in said


@pytest.mark.slow
def test_torchrun_starts_a_run_and_passes_a_signal_on(whole: Job, tmp_path: Path) -> None:
    words = [*WORDS, f"outputs={tmp_path}"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*torchrun, "-m", "node_repro.cli", *words]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    lines = tmp_path / "run" / "seed0" / "metrics.jsonl"
    give_up = time.monotonic() + PATIENCE
    while not lines.exists() or len(lines.read_bytes().splitlines()) < 5:
        assert first.poll() is None and time.monotonic() < give_up
        time.sleep(0.01)
    first.terminate()
    assert first.wait(PATIENCE) != 0
    status = json.loads((lines.parent / "status.json").read_text())
    assert (status["state"], status["exit_code"]) == ("INTERRUPTED", 143)
    assert subprocess.run(command, capture_output=True, timeout=PATIENCE).returncode == 0
    losses = [line["loss_nats"] for line in read_metrics(lines)]
    assert losses == pytest.approx(whole.losses(), rel=1e-9)
