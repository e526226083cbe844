"""Choice of the engine for `engine=auto`: by a trial of a few iterations before the training.

Compiling takes seconds, whatever the length of the training, and makes each iteration shorter. It
is tried where the eager engine would be busy for several times as long. The evaluations stay
eager: their batches have other shapes, and each shape would be compiled for itself.
"""

import time
from statistics import median

import torch

from node_repro.config import Config
from node_repro.ode.engines.compilation import has_compiler
from node_repro.ode.solution import SolverError
from node_repro.runs.duration import format_duration
from node_repro.training.engine import EngineChoice
from node_repro.training.random_state import random_state, set_random_state
from node_repro.training.trainer import Trainer

LEAST = 100  # iterations; a shorter training is too short to be worth a trial
COMPILE_SECONDS = 30.0  # that compiling the solves of an iteration typically takes
PAYS = 2.0  # a compiled iteration typically takes half of the time or less, so half is saved
SAMPLES = 5  # timed iterations of each engine
ENOUGH_SECONDS = 2.0  # after which fewer will do


def choose_engine(trainer: Trainer, config: Config) -> EngineChoice | None:
    """Choose the engine of a training that begins, as configured or by a trial.

    The engine of a resumed run is kept. The trial changes neither weights nor random numbers.

    Args:
        trainer: The trainer, resumed if there is a checkpoint.
        config: The configuration.

    Returns:
        The choice; None for a model without solves by an engine.
    """
    engine = trainer.engine
    if engine.switch is None:
        return None
    if engine.choice is None:
        if engine.configured != "auto":
            engine.choose(EngineChoice(engine.configured, ""))
        else:
            engine.choose(_automatic(trainer, config))
    return engine.choice


def _automatic(trainer: Trainer, config: Config) -> EngineChoice:
    left = trainer.plan.iterations - trainer.position.step
    reason = refusal(config, left, trainer.device)
    if reason is not None:
        return EngineChoice("eager", reason)
    try:
        eager = _time("eager", trainer)
    except SolverError:  # the same error occurs, and is reported, in training
        return EngineChoice("eager", "")
    if not pays(eager, left):
        return EngineChoice("eager", too_short(eager, left))
    try:
        compiled = _time("compiled", trainer)
    except Exception as error:
        sentence = " ".join(str(error).split())[:200]
        return EngineChoice("eager", f"since compiling failed: {type(error).__name__}: {sentence}")
    return faster(eager, compiled)


def refusal(config: Config, left: int, device: torch.device) -> str | None:
    """The reason for the eager engine that needs no measurement; None if there is none."""
    if config.profile == "smoke":
        return "since profile=smoke never compiles"
    if config.deterministic:
        return "since deterministic=true excludes a choice by measured times"
    if device.type not in ("cpu", "cuda"):
        return f"since nothing is compiled for a device of type {device.type}"
    if not has_compiler():
        return "since there is no C++ compiler"
    if left < LEAST:
        return f"since {left} iterations are too few to pay for compiling"
    return None


def pays(eager: float, left: int) -> bool:
    """Whether compiling is tried.

    Args:
        eager: Seconds of an iteration in the eager engine.
        left: Number of iterations left.
    """
    return eager * left >= PAYS * COMPILE_SECONDS


def too_short(eager: float, left: int) -> str:
    """The reason for not compiling."""
    return (
        f"since its {left:,} iterations of {_milliseconds(eager)} take about "
        f"{format_duration(max(1.0, eager * left))}, too short to pay for compiling"
    )


def faster(eager: float, compiled: float) -> EngineChoice:
    """The choice between the measured seconds of an iteration in both engines."""
    name = "compiled" if compiled < eager else "eager"
    times = f"{_milliseconds(compiled)} compiled and {_milliseconds(eager)} eager"
    return EngineChoice(name, f"since an iteration takes {times}")


def _time(name: str, trainer: Trainer) -> float:
    """Median seconds of an iteration; the first one, which may compile, is not counted."""
    trainer.engine.choose(EngineChoice(name, ""))
    rehearse(trainer)
    times: list[float] = []
    while len(times) < SAMPLES and sum(times) < ENOUGH_SECONDS:
        times.append(rehearse(trainer))
    return median(times)


def rehearse(trainer: Trainer) -> float:
    """Do the first iteration without an optimizer step; returns its seconds.

    Gradients, buffers and random numbers are as before.
    """
    device = trainer.device
    random = random_state(device)
    buffers = [(one, one.clone()) for one in trainer.model.buffers()]
    batch = next(trainer.task.training_batches(0, 0))
    began = time.perf_counter()
    try:
        with trainer.engine.training():
            loss, _ = trainer.objective.loss(batch)
            trainer.objective.backward(loss)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - began
    finally:
        trainer.optimizer.zero_grad(set_to_none=True)
        for one, value in buffers:
            one.data.copy_(value)
        set_random_state(random, device)
    return trainer.processes.reduce_metrics({"step_seconds": seconds})["step_seconds"]


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"
