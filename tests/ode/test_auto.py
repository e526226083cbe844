"""`Auto`: which engine runs a solve, by a clock that the engines of the test advance."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from node_repro import ode
from node_repro.ode.engines import SolveOptions, Stepper, Trajectory, auto
from node_repro.ode.engines.auto import SAMPLES, Auto, next_engine
from node_repro.ode.engines.eager import Eager
from node_repro.ode.methods import Field, State

TS = torch.tensor([0.0, 1.0], dtype=torch.float64)


class Clock:
    """The time, and the names of the engines that have solved."""

    def __init__(self) -> None:
        self.now, self.solved = 0.0, ""

    def perf_counter(self) -> float:
        return self.now


@dataclass(frozen=True)
class Timed(Eager):
    """An eager engine whose solves take given seconds.

    name: a letter; first: seconds of its first solve; seconds: those of the others.
    """

    name: str
    clock: Clock
    first: float
    seconds: float

    def integrate(
        self, stepper: Stepper, f: Field, state: State, ts: Tensor, options: SolveOptions
    ) -> Trajectory:
        self.clock.now += self.seconds if self.name in self.clock.solved else self.first
        self.clock.solved += self.name
        return super().integrate(stepper, f, state, ts, options)


class Solves:
    """Solves by an Auto that takes compiling for ten seconds; an eager solve takes one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, compiled: float) -> None:
        self.clock = Clock()
        monkeypatch.setattr(auto, "time", self.clock)
        monkeypatch.setattr(auto, "Eager", lambda: Timed("e", self.clock, 1.0, 1.0))
        self.auto = Auto(10.0, Timed("c", self.clock, 12.0, compiled))

    def go(self, count: int, size: int = 1, method: ode.ExplicitRungeKutta = ode.RK4) -> str:
        """The engines of some solves, one letter each."""
        before = len(self.clock.solved)
        solver = ode.RungeKutta(method, ode.Constant(0.5), engine=self.auto)
        for _ in range(count):
            announced = next_engine(self.auto, solver, torch.ones(size))
            ode.odeint(lambda t, y: -y, torch.ones(size), TS, solver=solver, gradient=ode.Direct())
            assert isinstance(announced, Timed) and announced.name == self.clock.solved[-1]
        return self.clock.solved[before:]


def test_a_solve_is_compiled_when_its_eager_solves_have_taken_as_long_as_compiling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    solves = Solves(monkeypatch, compiled=0.25)
    assert solves.go(10) == "e" * 10
    assert solves.go(50) == "c" * 50


def test_a_compiled_solve_that_is_slower_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    solves = Solves(monkeypatch, compiled=2.0)
    assert solves.go(10) == "e" * 10
    assert solves.go(50) == "c" * (1 + SAMPLES) + "e" * (49 - SAMPLES)


def test_every_shape_and_method_has_its_own_account(monkeypatch: pytest.MonkeyPatch) -> None:
    solves = Solves(monkeypatch, compiled=0.25)
    assert solves.go(11) == "e" * 10 + "c"
    assert solves.go(9, size=2) == "e" * 9
    assert solves.go(9, method=ode.DOPRI5) == "e" * 9
    assert solves.go(2) == "cc"
    assert solves.go(2, size=2) == "ec"


def test_inside_of_using_one_engine_runs_every_solve(monkeypatch: pytest.MonkeyPatch) -> None:
    solves = Solves(monkeypatch, compiled=0.25)
    with solves.auto.using(solves.auto.compiled):
        assert solves.go(3) == "ccc"
        with solves.auto.using(Timed("x", solves.clock, 1.0, 1.0)):
            assert solves.go(1) == "x"
        assert solves.go(1) == "c"
    assert solves.go(11) == "e" * 10 + "c"


def test_a_solver_with_another_engine_has_that_one() -> None:
    solver = ode.rk4(step_size=0.5)
    assert next_engine(solver.engine, solver, torch.ones(1)) is solver.engine
