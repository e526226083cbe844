"""From a validated configuration to objects: the one place where everything meets.

A component is built by importing its target and calling it with its options; an option that is
itself a dotted path of this package stands for the object found there.
"""

import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import nn

from node_repro.config import Component, Config, ODEConfig, SolverConfig
from node_repro.config.backward import KEYS as BACKWARD
from node_repro.config.choices import Choices, conf_folder, load
from node_repro.data import DataSet
from node_repro.ode.controllers.constant import Constant
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.solver import RungeKutta, Solver
from node_repro.tasks import Task
from node_repro.training import threads


class ResourceError(Exception):
    """A device or a library that was asked for is not there."""

    exit_code: ClassVar[int] = 5


@dataclass(frozen=True)
class Machine:
    """Where a run computes, and in which precision."""

    device: torch.device
    dtype: torch.dtype


def found(path: str) -> Any:  # noqa: ANN401
    """The object at a dotted path."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def construct(component: Component, **built: object) -> Any:  # noqa: ANN401
    """The component's target, called with its options and with what is built already."""
    options = {
        key: found(value) if isinstance(value, str) and value.startswith("node_repro.") else value
        for key, value in component.options.items()
    }
    assert component.target is not None
    return found(component.target)(**options, **built)


def keep_freed_memory() -> None:
    """Lets glibc hand freed memory out again instead of giving it back to the system.

    By default a tensor of some megabytes is mapped anew whenever it is made, and its pages are
    filled with zeros one fault at a time: a third of an iteration on a CPU. Elsewhere than on
    glibc this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3
        mallopt(mmap_threshold, 2**30)
        mallopt(trim_threshold, 2**31 - 1)


def machine(config: Config, device_index: int | None = None) -> Machine:
    """Sets up torch as configured. device_index: of several processes each has a CUDA device of its
    own. Raises ResourceError if CUDA is asked for in vain.
    """
    keep_freed_memory()
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    threads.most()  # before any are set
    torch.set_num_threads(config.threads if isinstance(config.threads, int) else 1)
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        if not torch.cuda.is_available():
            raise ResourceError(
                "device=cuda, but torch finds no CUDA device here: take device=cpu, or install a "
                "CUDA build of torch and check nvidia-smi"
            )
        # TF32 rounds at 5e-4, which an error control at 1e-3 would take for dynamics
        torch.backends.cudnn.allow_tf32 = False
        if device_index is not None:
            name = _own_device(device_index)
    return Machine(torch.device(name), getattr(torch, config.precision))


def _own_device(index: int) -> str:
    count = torch.cuda.device_count()
    if index >= count:
        raise ResourceError(
            f"process {index} of this machine finds {count} CUDA devices, and each process takes "
            f"one: start --nproc_per_node={count} processes, or take device=cpu"
        )
    torch.cuda.set_device(index)
    return f"cuda:{index}"


def data(config: Config) -> DataSet:
    """What the task learns from, verified. Raises DataError."""
    return construct(config.data).load()


def task(config: Config, data_set: DataSet, where: Machine) -> Task:
    """The task on its data."""
    return construct(
        config.task,
        data=data_set,
        batch_size=config.trainer.batch_size,
        eval_batch_size=config.trainer.eval_batch_size,
        seed=config.seed,
        device=where.device,
        dtype=where.dtype,
    )


def solver(chosen: SolverConfig, controller: Component, **tolerances: object) -> Solver:
    """The method under its controller, or scipy's solver. tolerances: rtol and atol, none where no
    error is controlled. Raises SolverError (bad_input).
    """
    if chosen.target is not None:
        return found(chosen.target)(**chosen.options, **tolerances)
    assert chosen.method is not None
    max_steps = chosen.options["max_steps"]
    assert isinstance(max_steps, int)
    return RungeKutta(found(chosen.method), construct(controller, **tolerances), max_steps)


def forward_solver(ode: ODEConfig) -> Solver:
    """The solver of the forward solve."""
    tolerances = {"rtol": ode.rtol, "atol": ode.atol} if ode.error_controlled else {}
    return solver(ode.solver, ode.controller, **tolerances)


def gradient(ode: ODEConfig) -> GradientMethod:
    """How the loss is differentiated, with the solver of the backward solve if it has its own."""
    chosen, backward = ode.gradient, ode.backward
    if "solver" not in chosen.options:
        return construct(chosen)
    tolerances = {}
    if ode.backward_controlled:
        tolerances = {k: v for k, v in chosen.options.items() if k in ("rtol", "atol")}
    rest = {k: v for k, v in chosen.options.items() if k not in (*BACKWARD, "rtol", "atol")}
    method = replace(chosen, options=rest)
    if backward is None:
        return construct(method, **tolerances)
    return construct(method, solver=solver(backward.solver, backward.controller, **tolerances))


def model(config: Config, sizes: Mapping[str, int], where: Machine) -> nn.Module:
    """The network with weights drawn from the seed, on the device. sizes: what the data decide."""
    torch.manual_seed(config.seed)
    ode = {}
    if config.ode is not None:
        ode = {"solver": forward_solver(config.ode), "gradient": gradient(config.ode)}
    return construct(config.model, **sizes, **ode).to(device=where.device, dtype=where.dtype)


def optimizer(config: Config, network: nn.Module) -> torch.optim.Optimizer:
    """The optimiser over all parameters."""
    return construct(config.optimizer, params=network.parameters())


def learning_rate(config: Config) -> float:
    """optimizer.lr; one given for a batch size is scaled to the run (Goyal et al. 2017)."""
    lr = config.optimizer.options["lr"]
    assert isinstance(lr, float)
    return lr * config.trainer.batch_size / config.lr_batch if config.lr_batch else lr


def chosen(group: str, name: str) -> dict[str, Any]:
    """The content of one yaml of conf/, as it is."""
    return load(Choices([conf_folder()]).path(group, name))


def gradient_names() -> list[str]:
    """Every gradient method of conf/."""
    return Choices([conf_folder()]).names("gradient")


def named_solver(name: str, tolerance: float) -> Solver:
    """A solver of conf/ at rtol = atol = tolerance, with the integral controller."""
    content = chosen("solver", name)
    if "_target_" in content:
        own = {k: v for k, v in content.items() if k != "defaults" and not k.startswith("_")}
        return found(content["_target_"])(**own, rtol=tolerance, atol=tolerance)
    numbers = chosen("controller", "integral")
    controller = found(numbers.pop("_target_"))(
        **{k: v for k, v in numbers.items() if not k.startswith("_")},
        rtol=tolerance,
        atol=tolerance,
    )
    return RungeKutta(found(content["method"]), controller, content["max_steps"])


def stepping_solver(name: str, step_size: float) -> Solver:
    """A method of conf/ with steps of one size."""
    content = chosen("solver", name)
    return RungeKutta(found(content["method"]), Constant(step_size), content["max_steps"])


def named_gradient(name: str, tolerance: float | None) -> GradientMethod:
    """A gradient method of conf/; a backward solve keeps to rtol = atol = tolerance, or for None to
    the forward solver's, which it must be where steps are constant.
    """
    content = chosen("gradient", name)
    options = {k: v for k, v in content.items() if k not in BACKWARD and not k.startswith("_")}
    options |= {key: tolerance for key in ("rtol", "atol") if key in options}
    return construct(Component(name, content["_target_"], options))


def undoes_steps(gradient_name: str) -> bool:
    """Whether a gradient method needs a reversible solver."""
    return chosen("gradient", gradient_name)["_steps_"] == "reversible"
