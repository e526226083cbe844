"""The engines of a run: one for its training iterations, and one for its evaluations.

A resumed run keeps those that it had, which are stored in its checkpoints. Runs of versions without
a choice had the eager engine.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from node_repro.ode.engines import Engine
from node_repro.ode.engines.auto import Auto
from node_repro.ode.engines.compilation import COMPILATIONS
from node_repro.runs.result import EngineUse


class EngineChoice(NamedTuple):
    """The engine of the training iterations.

    Attributes:
        name: Its name.
        reason: The reason for it; empty if it was configured.
        eager_seconds, compiled_seconds: The time of an iteration, where it was measured.
    """

    name: str
    reason: str
    eager_seconds: float | None = None
    compiled_seconds: float | None = None

    def __str__(self) -> str:
        measured = {"eager": self.eager_seconds, "compiled": self.compiled_seconds}
        times = [f"{s:.3g} s {name}" for name, s in measured.items() if s is not None]
        shown = f": an iteration takes {' and '.join(times)}" if times else ""
        return f"{self.name}{', ' * bool(self.reason)}{self.reason}{shown}"


class TrainingEngine:
    """The engines of a run.

    Args:
        configured: Name of the choice in conf/engine.
        switch: The engine of the model's solvers, which passes every solve on to another engine;
            None for a model without solves by an engine.
        engines: Name -> engine, with those of a run that is resumed.

    Attributes:
        choice: The choice; None as long as it is not made.
    """

    def __init__(
        self, configured: str, switch: Auto | None = None, engines: Mapping[str, Engine] = {}
    ) -> None:
        self.configured, self.switch, self.engines = configured, switch, engines
        self.choice: EngineChoice | None = None
        self._training = self._evaluation = "eager" if configured == "auto" else configured
        self._before = replace(COMPILATIONS)  # those of earlier runs in this process
        self._rest()

    def choose(self, choice: EngineChoice) -> None:
        """Take an engine for the training iterations."""
        self.choice, self._training = choice, choice.name

    def undo_choice(self) -> None:
        """Leave the choice to a later start of the run."""
        self.choice = None

    def restore(self, state: Mapping[str, Any]) -> tuple[str, ...]:
        """Take the engines of a checkpoint; returns a note if another engine is configured."""
        if self.switch is None:
            return ()
        training = state.get("training", ("eager", ""))
        if training is not None:
            self.choose(EngineChoice(*training))
        self._evaluation = state.get("evaluation", "eager")
        self._rest()
        if self.configured in ("auto", self._training):
            return ()
        return (
            f"a run keeps its engine: engine={self.configured} has no effect on this one, which "
            f"began with engine={self._training}",
        )

    @property
    def graphs(self) -> int:
        """The number of graphs that this run has compiled in this process."""
        return COMPILATIONS.graphs - self._before.graphs

    def use(self) -> EngineUse | None:
        """The engine and what it has compiled; None as long as there is no choice."""
        if self.choice is None:
            return None
        seconds = COMPILATIONS.seconds - self._before.seconds
        return EngineUse(*self.choice, self.graphs, seconds)

    def state(self) -> dict[str, Any]:
        """The choice, if it is made, and the engine of the evaluations, for a checkpoint."""
        choice = None if self.choice is None else tuple(self.choice)
        return {"training": choice, "evaluation": self._evaluation}

    @contextmanager
    def training(self) -> Iterator[None]:
        """Context manager around the loss and the backward pass of a training iteration."""
        if self.switch is None:
            yield
            return
        with self.switch.using(self.engines[self._training]):
            yield

    def _rest(self) -> None:
        if self.switch is not None:
            self.switch.engine = self.engines[self._evaluation]
