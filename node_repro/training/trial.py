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
from node_repro.training.engine import EngineChoice
from node_repro.training.random_state import random_state, set_random_state
from node_repro.training.trainer import Trainer

LEAST = 100  # iterations; a shorter training is too short to be worth a trial
COMPILE_SECONDS = 30.0  # that compiling the solves of an iteration typically takes
PAYS = 3.0  # times as long must the training be: compiling may save half of it, or nothing
SAMPLES = 5  # timed iterations of each engine
ENOUGH_SECONDS = 4.0  # of timed iterations, after which fewer will do
GAIN = 0.9  # compiled iterations are kept if they take at most this fraction of an eager one
WARM_UPS = 3  # iterations that may compile, at most


def choose_engine(trainer: Trainer, config: Config) -> EngineChoice | None:
    """Choose the engine of a training that begins, as configured or by a trial.

    The engine of a resumed run is kept. The trial changes neither weights nor random numbers.

    Args:
        trainer: The trainer, resumed if there is a checkpoint.
        config: The configuration.

    Returns:
        The choice; None for a model without solves by an engine, or if a signal came first.
    """
    engine = trainer.engine
    if engine.switch is None or engine.choice is not None:
        return engine.choice
    if engine.configured != "auto":
        engine.choose(EngineChoice(engine.configured, ""))
        return engine.choice
    choice = _automatic(trainer, config)
    if _signalled(trainer):  # times of iterations after it mean nothing: a later start chooses
        engine.undo_choice()
    else:
        engine.choose(choice)
    return engine.choice


def _automatic(trainer: Trainer, config: Config) -> EngineChoice:
    left = trainer.plan.iterations - trainer.position.step
    reason = refusal(config, left, trainer.device)
    if reason is not None:
        return EngineChoice("eager", reason)
    try:
        _warm_up("eager", trainer)
        eager = rehearse(trainer)
    except SolverError:  # the same error occurs, and is reported, in training
        return EngineChoice("eager", "")
    if not pays(eager, left):
        return EngineChoice("eager", "since the training is too short to pay for compiling", eager)
    try:
        _warm_up("compiled", trainer)
        return EngineChoice("eager", "") if _signalled(trainer) else faster(*_race(trainer))
    except Exception as error:
        sentence = " ".join(str(error).split())[:200]
        reason = f"since compiling failed: {type(error).__name__}: {sentence}"
        return EngineChoice("eager", reason, eager)


def _signalled(trainer: Trainer) -> bool:
    """Whether a process of the run was asked to stop."""
    return trainer.processes.all_reduce_max(trainer.signals.exit_code) > 0


def refusal(config: Config, left: int, device: torch.device) -> str | None:
    """The reason for the eager engine that needs no measurement; None if there is none."""
    if config.profile == "smoke":
        return "since profile=smoke never compiles"
    if config.ode is not None and config.ode.gradient.name == "direct":
        # compiled, it would be replaced by checkpointed, whose memory and evaluations differ
        return "since gradient=direct differentiates eager steps"
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


def faster(eager: float, compiled: float) -> EngineChoice:
    """The choice between the measured seconds of an iteration in both engines."""
    if compiled <= GAIN * eager:  # less is noise, and a resumed run compiles again
        return EngineChoice("compiled", "since it is faster", eager, compiled)
    return EngineChoice("eager", "since compiling does not make it a tenth faster", eager, compiled)


def _warm_up(name: str, trainer: Trainer) -> None:
    """Iterate with an engine until it compiles nothing more."""
    trainer.engine.choose(EngineChoice(name, ""))
    for _ in range(WARM_UPS):
        before = trainer.engine.graphs
        rehearse(trainer)
        if not trainer.processes.all_reduce_max(trainer.engine.graphs - before):
            break


def _race(trainer: Trainer) -> tuple[float, float]:
    """Median seconds of an iteration in the eager and in the compiled engine, which take turns."""
    times: dict[str, list[float]] = {"eager": [], "compiled": []}
    while len(times["eager"]) < SAMPLES and sum(map(sum, times.values())) < ENOUGH_SECONDS:
        for name, measured in times.items():
            trainer.engine.choose(EngineChoice(name, ""))
            measured.append(rehearse(trainer))
    return median(times["eager"]), median(times["compiled"])


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
