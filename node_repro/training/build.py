"""Build objects from a validated configuration.

A component is built by importing its target and calling it with its options. An option whose type
is not a plain value (a norm, a function) is given as the dotted path of an object. hydra's
`instantiate` does the same, but wraps every exception in another one without an exit code.

Code that names choices itself, such as a probe, uses `load` (any component), `named_solver`,
`stepping_solver` and `named_gradient`, whose options are checked like those of a run.
"""

import ctypes
import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import nn

from node_repro.config import (
    Component,
    Config,
    ConfigError,
    ObjectPath,
    ODEConfig,
    SolverConfig,
    Value,
    components,
)
from node_repro.config.backward import KEYS as BACKWARD
from node_repro.config.choices import choices_in
from node_repro.config.options import RUNGE_KUTTA
from node_repro.data import DataSet
from node_repro.ode.controllers.prescribed import Prescribed
from node_repro.ode.engines import Engine
from node_repro.ode.engines.auto import Auto
from node_repro.ode.engines.eager import Eager
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.solver import RungeKutta, Solver
from node_repro.runs import metrics
from node_repro.tasks import Task
from node_repro.training import threads
from node_repro.training.engine import TrainingEngine
from node_repro.training.imports import import_object, report_mistakes


class ResourceError(Exception):
    """A requested device or library is not available."""

    exit_code: ClassVar[int] = 5


@dataclass(frozen=True)
class Machine:
    """Device and floating-point type of a run."""

    device: torch.device
    dtype: torch.dtype


def construct(component: Component, **built: object) -> Any:  # noqa: ANN401
    """Call the component's target with its options.

    Args:
        component: The component.
        built: Further arguments: objects that are built already.

    Raises:
        ConfigError: The target does not accept these arguments, or is outside node_repro and raises
            an exception.
    """
    options = {
        key: import_object(value) if isinstance(value, ObjectPath) else value
        for key, value in component.options.items()
    }
    assert component.target is not None
    target = import_object(component.target)
    try:
        inspect.signature(target).bind(**options, **built)
    except TypeError as error:
        raise ConfigError(f"{component.name}: {component.target} {error}") from error
    with report_mistakes(component.target):
        return target(**options, **built)


def load(group: str, name: str, **options: Value) -> Any:  # noqa: ANN401
    """Build one choice of conf/, with some of its options replaced.

    >>> load("controller", "constant", step_size=0.5)
    Constant(step_size=0.5)

    Raises:
        ConfigError: There is no such choice or option, or a value is not allowed.
    """
    return construct(components.load(choices_in(), group, name, **options))


def keep_freed_memory() -> None:
    """Make glibc reuse freed memory instead of returning it to the system.

    By default glibc maps every tensor of a few megabytes anew, and the kernel zeroes its pages at
    one page fault each, which takes a third of an iteration on a CPU. Without glibc this function
    does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3
        mallopt(mmap_threshold, 2**30)
        mallopt(trim_threshold, 2**31 - 1)


def machine(config: Config, device_index: int | None = None) -> Machine:
    """Set up torch as configured.

    Args:
        config: The configuration.
        device_index: CUDA device of this process, if the run has several processes.

    Raises:
        ResourceError: The configured CUDA device is not available.
    """
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    threads.available_threads()  # before the number is set
    torch.set_num_threads(config.threads if isinstance(config.threads, int) else 1)
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        if not torch.cuda.is_available():
            raise ResourceError(
                "device=cuda, but torch finds no CUDA device here: use device=cpu, or install a "
                "CUDA build of torch and check nvidia-smi"
            )
        # TF32 has a rounding error of 5e-4, too large for error control at a tolerance of 1e-3
        torch.backends.cudnn.allow_tf32 = False
        if device_index is not None:
            name = _own_device(device_index)
    return Machine(torch.device(name), getattr(torch, config.precision))


def _own_device(index: int) -> str:
    count = torch.cuda.device_count()
    if index >= count:
        raise ResourceError(
            f"process {index} of this machine finds {count} CUDA devices, and each process needs "
            f"one: use --nproc_per_node={count}, or device=cpu"
        )
    torch.cuda.set_device(index)
    return f"cuda:{index}"


def data(config: Config) -> DataSet:
    """Load and verify the data set. Raises DataError.

    A data seed of null is the seed of the run.
    """
    component = config.data
    if component.options.get("seed", 0) is None:
        component = replace(component, options={**component.options, "seed": config.seed})
    return construct(component).load()


def task(config: Config, data_set: DataSet, where: Machine) -> Task:
    """Build the task on its data and declare its metrics."""
    built: Task = construct(
        config.task,
        data=data_set,
        batch_size=config.trainer.batch_size,
        eval_batch_size=config.trainer.eval_batch_size,
        seed=config.seed,
        device=where.device,
        dtype=where.dtype,
    )
    metrics.declare(built.metrics)
    return built


def engine(ode: ODEConfig) -> Engine:
    """Build the engine of solves outside of training; with engine=auto it is the eager one."""
    built = construct(ode.engine)
    return Eager() if isinstance(built, Auto) else built


def training_engine(config: Config) -> TrainingEngine:
    """Build the engines of a run that is trained."""
    if config.ode is None or not config.ode.has_engine:
        return TrainingEngine("eager")
    chosen = config.ode.engine
    engines = {name: load("engine", name) for name in ("eager", "compiled")}
    return TrainingEngine(chosen.name, Auto(), engines | {chosen.name: construct(chosen)})


def solver(
    chosen: SolverConfig,
    controller: Component,
    engine: Engine | None = None,
    **tolerances: object,
) -> Solver:
    """Build a Runge-Kutta method with a controller, or a solver with its own step control.

    Args:
        chosen: The solver.
        controller: The controller; ignored by a solver with its own step control.
        engine: The engine, None for the eager one; ignored likewise.
        tolerances: rtol and atol; empty if the error is not controlled.

    Raises:
        SolverError: The solver does not accept the tolerances (kind bad_input).
    """
    if chosen.target is not None:
        return construct(Component(chosen.name, chosen.target, chosen.options), **tolerances)
    assert chosen.method is not None
    runge_kutta = Component(chosen.name, RUNGE_KUTTA, chosen.options)
    parts = {"controller": construct(controller, **tolerances), "engine": engine or Eager()}
    return construct(runge_kutta, method=import_object(chosen.method), **parts)


def forward_solver(ode: ODEConfig, engine: Engine | None = None) -> Solver:
    """Build the solver of the forward solve. engine: None for the eager one."""
    tolerances = {"rtol": ode.rtol, "atol": ode.atol} if ode.error_controlled else {}
    return solver(ode.solver, ode.controller, engine, **tolerances)


def gradient(ode: ODEConfig, engine: Engine | None = None) -> GradientMethod:
    """Build the gradient method, with a solver for the backward solve if one is configured."""
    backward = ode.backward
    if backward is None:
        return _gradient(ode.gradient, controlled=ode.backward_controlled)
    options = ode.gradient.options if backward.error_controlled else {}
    tolerances = {key: options[key] for key in ("rtol", "atol") if key in options}
    back = solver(backward.solver, backward.controller, engine, **tolerances)
    return _gradient(ode.gradient, controlled=False, solver=back)


def _gradient(chosen: Component, *, controlled: bool, **built: object) -> GradientMethod:
    """Build the gradient method; `controlled`: whether it gets tolerances of the backward solve."""
    left_out = BACKWARD if controlled else (*BACKWARD, "rtol", "atol")
    options = {key: value for key, value in chosen.options.items() if key not in left_out}
    return construct(replace(chosen, options=options), **built)


def model(
    config: Config, sizes: Mapping[str, int], where: Machine, solved_by: Engine | None = None
) -> nn.Module:
    """Build the network on the device, with weights initialised from the seed.

    Args:
        config: The configuration.
        sizes: Constructor arguments determined by the data, such as the number of features.
        where: Device and floating-point type.
        solved_by: The engine of its solves; None for `engine(config.ode)`.
    """
    torch.manual_seed(config.seed)
    ode = {}
    if config.ode is not None:
        by = solved_by or engine(config.ode)
        ode = {"solver": forward_solver(config.ode, by), "gradient": gradient(config.ode, by)}
    return construct(config.model, **sizes, **ode).to(device=where.device, dtype=where.dtype)


def optimizer(config: Config, network: nn.Module) -> torch.optim.Optimizer:
    """Build the optimizer of all parameters."""
    return construct(config.optimizer)(network.parameters())


def learning_rate(config: Config) -> float:
    """optimizer.lr, scaled to the run's batch size if the optimizer has a reference batch size."""
    lr, recipe = config.optimizer.options["lr"], import_object(str(config.optimizer.target))
    assert isinstance(lr, float)
    lr_batch = getattr(recipe, "lr_batch", None)
    return lr * config.trainer.batch_size / lr_batch if lr_batch else lr


def gradient_names() -> list[str]:
    """Names of all gradient methods of conf/."""
    return choices_in().names("gradient")


def named_solver(name: str, tolerance: float) -> Solver:
    """Build a solver of conf/ with rtol = atol = tolerance and the integral controller."""
    chosen = components.load_solver(choices_in(), name)
    controller = components.load(choices_in(), "controller", "integral")
    return solver(chosen, controller, rtol=tolerance, atol=tolerance)


def stepping_solver(name: str, step_size: float) -> Solver:
    """Build a method of conf/ with constant steps."""
    controller = components.load(choices_in(), "controller", "constant", step_size=step_size)
    return solver(components.load_solver(choices_in(), name), controller)


def prescribed_solver(name: str, points: tuple[float, ...]) -> Solver:
    """Build a method of conf/ that steps from each of the given times to the next."""
    built = stepping_solver(name, abs(points[1] - points[0]))
    assert isinstance(built, RungeKutta)
    return replace(built, controller=Prescribed(points))


def named_gradient(name: str, tolerance: float | None) -> GradientMethod:
    """Build a gradient method of conf/.

    Args:
        name: The name of the choice.
        tolerance: rtol = atol of its backward solve; None for those of the forward solver, which is
            required with constant steps.
    """
    chosen = components.load(choices_in(), "gradient", name)
    assert chosen.target is not None
    if tolerance is not None and components.takes(chosen.target, "rtol"):
        given = {"rtol": tolerance, "atol": tolerance}
        chosen = components.load(choices_in(), "gradient", name, **given)
    return _gradient(chosen, controlled=True)


def undoes_steps(gradient_name: str) -> bool:
    """Whether a gradient method inverts steps and so needs a reversible solver."""
    chosen = components.load(choices_in(), "gradient", gradient_name)
    return getattr(import_object(str(chosen.target)), "needs", None) == "reversible"
