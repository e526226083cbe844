"""Introduction that a run prints before training: data, length, model, solver, device."""

from collections.abc import Iterator, Mapping

import torch
from torch import nn

from node_repro.config import Component, Config, ODEConfig
from node_repro.data import DataSet
from node_repro.training.build import Machine
from node_repro.training.threads import Threads
from node_repro.training.trainer import Trainer


def introduction(
    config: Config, data: DataSet, machine: Machine, threads: Threads, trainer: Trainer
) -> Iterator[tuple[str, str]]:
    """Yield the title and the text of each line."""
    if data.notice:
        yield "notice", data.notice
    yield "data", f"{data.name}, {data.description}"
    plan = trainer.plan
    epochs = "" if trainer.epochs is None else f" = {trainer.epochs:.3g} epochs"
    length = f"{plan.iterations:,} iterations of {config.trainer.batch_size}{epochs}"
    yield "profile", f"{config.profile}: {length}"
    yield "model", f"{config.model.name}, {count_parameters(trainer.model):,} parameters"
    if config.ode is not None:
        yield "solver", _describe_solves(config.ode)
    name = f"cpu, {threads.count} thread{'s' * (threads.count != 1)}"
    if machine.device.type == "cuda":
        name = torch.cuda.get_device_name(machine.device)
    if trainer.processes.count > 1:
        name += f", {trainer.processes.count} processes"
    yield "device", f"{name}, {config.precision}, seed {config.seed}"
    if threads.reason:
        yield "threads", f"{threads.count}, {threads.reason}"


def count_parameters(model: nn.Module) -> int:
    """Number of trained parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _describe_solves(ode: ODEConfig) -> str:
    """The forward solve in one line, followed by the backward solve if it differs."""

    def steps(controller: Component, tolerances: Mapping[str, object]) -> str:
        size = controller.options.get("step_size")
        accuracy = f"size {size:g}" if isinstance(size, float) else ""
        accuracy = accuracy or ", ".join(f"{key} {value:g}" for key, value in tolerances.items())
        return f"steps {controller.name}, {accuracy}"

    forward = {"rtol": ode.rtol, "atol": ode.atol}
    backward = {key: ode.gradient.options.get(key, value) for key, value in forward.items()}
    line = f"{ode.solver.name}, {steps(ode.controller, forward)}; gradient {ode.gradient.name}"
    if ode.backward is not None:
        solver, controller = ode.backward.solver, ode.backward.controller
        return f"{line}, backward {solver.name}, {steps(controller, backward)}"
    if ode.error_controlled and backward != forward:
        return f"{line}, backward {steps(ode.controller, backward)}"
    return line
