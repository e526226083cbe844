"""The engine of a run: chosen by made-up times, kept by a resumed run, and recorded."""

import contextlib
import io
import json
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from node_repro import ode
from node_repro.config.compose import compose
from node_repro.ode.engines import SolveOptions, Stepper, Trajectory
from node_repro.ode.engines.auto import Auto
from node_repro.ode.engines.compilation import COMPILATIONS
from node_repro.ode.engines.compiled import Compiled
from node_repro.ode.engines.eager import Eager
from node_repro.ode.methods import Field, State
from node_repro.training import build, trial
from node_repro.training.checkpoint import Checkpoints
from node_repro.training.engine import EngineChoice, TrainingEngine
from node_repro.training.processes.alone import Alone
from node_repro.training.run import build_trainer, run
from node_repro.training.signals import Signals
from node_repro.training.trainer import Trainer
from node_repro.training.trial import COMPILE_SECONDS, LEAST, PAYS, choose_engine, refusal

CPU = torch.device("cpu")
TINY = [
    *("task=field_fit", "profile=demo", "threads=1", "progress=off", "trainer.log_every=1"),
    *("trainer.iterations=3", "trainer.batch_size=8"),
]
UNCOMPILED = ["engine=compiled", "engine.backend=uncompiled"]


@dataclass(frozen=True)
class Recorded(Eager):
    """An eager engine that counts its solves."""

    solves: list[int] = field(default_factory=list)

    def integrate(
        self, stepper: Stepper, f: Field, state: State, ts: Tensor, options: SolveOptions
    ) -> Trajectory:
        self.solves.append(1)
        return super().integrate(stepper, f, state, ts, options)


def trainer(folder: Path, *words: str) -> Trainer:
    config = compose([*TINY, *words])
    data, machine = build.data(config), build.machine(config)
    checkpoints = Checkpoints(folder / "checkpoints", "s1")
    return build_trainer(config, data, machine, checkpoints, Signals(), Alone())


def chosen(
    monkeypatch: pytest.MonkeyPatch, times: dict[str, float | Exception], iterations: int
) -> tuple[EngineChoice | None, list[str]]:
    """The choice of engine=auto if an iteration takes such times, and what was timed."""
    timed: list[str] = []

    def rehearse(trained: Any) -> float:  # noqa: ANN401
        name = trained.engine.choice.name
        timed.append(name)
        seconds = times[name]
        if isinstance(seconds, Exception):
            raise seconds
        return seconds

    monkeypatch.setattr(trial, "rehearse", rehearse)
    monkeypatch.setattr(trial, "has_compiler", lambda: True)
    config = compose([*TINY, f"trainer.iterations={iterations}"])
    data, machine = build.data(config), build.machine(config)
    checkpoints = Checkpoints(Path("unused"), "s1")
    trained = build_trainer(config, data, machine, checkpoints, Signals(), Alone())
    return choose_engine(trained, config), list(dict.fromkeys(timed))


@pytest.mark.parametrize(
    ("words", "left", "device", "reason"),
    [
        (["profile=smoke"], 10**6, CPU, "profile=smoke"),
        (["deterministic=true"], 10**6, CPU, "deterministic=true"),
        ([], LEAST - 1, CPU, f"{LEAST - 1} iterations"),
        ([], 10**6, torch.device("meta"), "type meta"),
    ],
)
def test_some_runs_are_eager_without_a_trial(
    words: list[str], left: int, device: torch.device, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "has_compiler", lambda: True)
    assert reason in (refusal(compose(words), left, device) or "")
    assert refusal(compose([]), LEAST, CPU) is None


def test_without_a_compiler_a_run_is_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "has_compiler", lambda: False)
    assert "compiler" in (refusal(compose([]), LEAST, CPU) or "")


def test_smoke_never_compiles_unless_it_is_told_to(tmp_path: Path) -> None:
    words = [*TINY, "task=line", "profile=smoke", "trainer.iterations=100000"]
    choice = choose_engine(trainer(tmp_path, *words), compose(words))
    assert choice is not None and choice.name == "eager" and "profile=smoke" in choice.reason
    told = [*words, *UNCOMPILED]
    assert choose_engine(trainer(tmp_path, *told), compose(told)) == EngineChoice("compiled", "")


@pytest.mark.parametrize(
    ("eager", "compiled", "iterations", "name", "timed"),
    [
        (0.016, 0.005, 10_000, "compiled", ["eager", "compiled"]),
        (0.016, 0.005, 1_000, "eager", ["eager"]),
        (0.140, 0.150, 10_000, "eager", ["eager", "compiled"]),
        (0.140, 0.137, 10_000, "eager", ["eager", "compiled"]),
        (0.140, ValueError("cannot be traced\nhere"), 10_000, "eager", ["eager", "compiled"]),
        (ode.SolverError("max_steps", "too many"), 0.005, 10_000, "eager", ["eager"]),
    ],
)
def test_auto_compiles_where_the_iterations_left_pay_for_it(
    eager: float | Exception,
    compiled: float | Exception,
    iterations: int,
    name: str,
    timed: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    choice, measured = chosen(monkeypatch, {"eager": eager, "compiled": compiled}, iterations)
    assert choice is not None
    assert (choice.name, measured) == (name, timed)
    if isinstance(compiled, Exception):
        assert choice.reason.endswith("ValueError: cannot be traced here")
    elif isinstance(eager, float):
        assert choice.eager_seconds == eager and f"{eager:.3g} s eager" in str(choice)
        assert choice.compiled_seconds == (compiled if "compiled" in timed else None)


def test_compiling_is_tried_from_a_multiple_of_its_cost_on() -> None:
    left = 1_000
    limit = PAYS * COMPILE_SECONDS / left
    assert trial.pays(limit, left) and not trial.pays(0.99 * limit, left)


def test_only_training_iterations_use_the_chosen_engine() -> None:
    eager, compiled = Recorded(), Recorded()
    engines = {"eager": eager, "compiled": compiled}
    engine = TrainingEngine("auto", Auto(compiled=Compiled("uncompiled")), engines)
    assert engine.switch is not None
    solver = ode.RungeKutta(ode.RK4, ode.Constant(0.5), engine=engine.switch)

    def solve() -> tuple[int, int]:
        ts = torch.tensor([0.0, 1.0])
        ode.odeint(lambda t, y: -y, torch.ones(1), ts, solver=solver, gradient=ode.Direct())
        return len(eager.solves), len(compiled.solves)

    assert solve() == (1, 0)
    engine.choose(EngineChoice("compiled", "since it is faster"))
    with engine.training():
        assert solve() == (1, 1)
    assert solve() == (2, 1)


def restored(configured: str, state: dict[str, Any]) -> tuple[TrainingEngine, tuple[str, ...]]:
    engines = {"eager": Eager(), "compiled": Compiled("uncompiled")}
    engine = TrainingEngine(configured, Auto(), engines)
    return engine, engine.restore(state)


def test_a_signal_during_the_trial_leaves_the_choice_to_the_resumed_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def rehearse(trained: Trainer) -> float:
        trained.signals.received = signal.SIGINT
        return 10.0

    monkeypatch.setattr(trial, "rehearse", rehearse)
    monkeypatch.setattr(trial, "has_compiler", lambda: True)
    config = compose([*TINY, "trainer.iterations=1000"])
    trained = trainer(tmp_path, "trainer.iterations=1000")
    assert choose_engine(trained, config) is None
    resumed = trainer(tmp_path, "trainer.iterations=1000").engine
    resumed.restore(trained.engine.state())
    assert resumed.choice is None


@pytest.mark.parametrize("configured", ["auto", "eager", "compiled"])
@pytest.mark.parametrize("training", ["eager", "compiled"])
def test_a_resumed_run_keeps_its_engine_and_says_so_if_another_is_given(
    configured: str, training: str
) -> None:
    choice = EngineChoice(training, "since it is faster", 0.016, 0.005)
    state = {"training": tuple(choice), "evaluation": "eager"}
    engine, notes = restored(configured, state)
    assert engine.state() == state
    assert engine.choice == choice
    assert bool(notes) == (configured not in ("auto", training))
    assert all(f"engine={configured}" in n and f"engine={training}" in n for n in notes)


def test_a_checkpoint_without_an_engine_is_one_of_the_eager_engine() -> None:
    engine, notes = restored("compiled", {})
    assert engine.choice == EngineChoice("eager", "")
    assert engine.state()["evaluation"] == "eager"
    assert notes


def test_a_rehearsal_changes_nothing_but_times_an_iteration(tmp_path: Path) -> None:
    trained = trainer(tmp_path)
    trained.model.register_buffer("count", torch.zeros(()))
    calls: list[int] = []

    def count(module: Any, *_: object) -> None:  # noqa: ANN401
        module.count.add_(1)
        calls.append(int(torch.randint(9, ())))

    trained.model.register_forward_hook(count)

    def everything() -> list[torch.Tensor]:
        return [x.clone() for x in (*trained.model.state_dict().values(), torch.get_rng_state())]

    before = everything()
    assert trial.rehearse(trained) > 0 and calls
    assert all(torch.equal(a, b) for a, b in zip(before, everything(), strict=True))
    assert all(parameter.grad is None for parameter in trained.model.parameters())


def go(outputs: Path, *words: str) -> tuple[str, Callable[[str], dict[str, Any]]]:
    """Run; returns what was printed, and a reader of the run's files."""
    given, out = [*TINY, *words, "name=tiny"], io.StringIO()
    with contextlib.redirect_stdout(out):
        assert run(compose([*given, f"outputs={outputs}"]), given, ["node-run", *given]) == 0
    folder = outputs / "tiny" / "seed0"
    return out.getvalue(), lambda name: json.loads((folder / name).read_text("utf-8"))


@pytest.mark.filterwarnings("ignore:engine=compiled runs as engine=eager")  # a scored solve
def test_the_engine_is_said_and_recorded(tmp_path: Path) -> None:
    before = COMPILATIONS.graphs
    out, read = go(tmp_path, *UNCOMPILED)
    assert "\nengine     compiled\n" in out
    assert COMPILATIONS.graphs == before
    assert read("result.json")["engine"] == {
        "name": "compiled",
        "reason": "",
        "eager_seconds": None,
        "compiled_seconds": None,
        "graphs": 0,
        "compile_seconds": 0.0,
    }
    assert read("environment.json")["engine"] == "compiled"
    reason = "since 3 iterations are too few to pay for compiling"
    out, read = go(tmp_path / "auto")
    assert f"\nengine     eager, {reason}\n" in out
    assert read("result.json")["engine"]["reason"] == reason


def test_an_engine_given_to_a_resumed_run_is_not_used(tmp_path: Path) -> None:
    go(tmp_path)
    (tmp_path / "tiny" / "seed0" / "result.json").unlink()
    before = COMPILATIONS.graphs
    out, read = go(tmp_path, "engine=compiled")
    (note,) = (line for line in out.splitlines() if line.startswith("note"))
    assert "engine=compiled has no effect" in note and "engine=eager" in note
    assert read("result.json")["engine"]["name"] == "eager"
    assert COMPILATIONS.graphs == before


@pytest.mark.parametrize("words", [["solver=scipy_rk45"], ["gradient.solver=dopri5"]])
def test_a_run_on_scipys_solvers_alone_has_no_engine(words: list[str], tmp_path: Path) -> None:
    given = ["solver=scipy_rk45", *words] if "solver=scipy_rk45" not in words else words
    out, read = go(tmp_path, *given)
    alone = len(given) == 1
    assert (read("result.json")["engine"] is None) == alone
    assert ("\nengine " in out) != alone
