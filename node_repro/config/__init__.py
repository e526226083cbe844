"""The typed configuration of a run.

`compose` calls hydra; `validation` converts the composed DictConfig to a `Config`, which the rest
of the program uses. An option is declared once, in the constructor of the class that a yaml names:
type and range in the annotation, meaning in the docstring. `source` reads both without importing
the class, so this package does not import torch. Keys that belong to no such class are declared in
the same way by the dataclasses of this module.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le


class ObjectPath(str):
    """The dotted path of an object such as a norm or a function."""


Value = bool | int | float | str | None | tuple[float, ...] | tuple[str, ...]


class ConfigError(Exception):
    """The configuration or the command line is wrong."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True)
class Component:
    """A choice of a group: the object at `target` is called with `**options`."""

    name: str  # the yaml's name: "odenet" for conf/model/odenet.yaml
    target: str | None  # "node_repro.models.odenet.ODENet"; None for a solver's own controller
    options: Mapping[str, Value]


@dataclass(frozen=True)
class SolverConfig:
    """A Runge-Kutta method, or (with a target) a solver with its own step control."""

    name: str  # "dopri5"
    method: str | None  # "node_repro.ode.methods.dopri5.DOPRI5"; None with a target
    target: str | None  # "node_repro.ode.scipy.lsoda.Lsoda", called with `options` and tolerances
    adaptive: bool  # whether the method estimates its error
    options: Mapping[str, Value]  # max_steps, ...


@dataclass(frozen=True)
class BackwardConfig:
    """The backward solve of an adjoint method, if it differs from the forward solve."""

    solver: SolverConfig
    controller: Component
    error_controlled: bool


@dataclass(frozen=True)
class BackwardOptions:
    """Options of the backward solve of an adjoint method.

    Args:
        solver: Solver of the backward solve; None: that of the forward solve.
        controller: Step-size controller of the backward solve; None: that of the forward solve if
            it fits, or else the solver's default.
        step_size: Step size of the backward solve with the controller constant; None: that of the
            forward solve, or else 0.1.
        max_steps: Largest number of steps of one backward solve; None: the solver's.
        rtol: Relative tolerance of the backward solve.
        atol: Absolute tolerance of the backward solve.
    """

    solver: str | None
    controller: str | None
    step_size: Annotated[float, Gt(0)] | None
    max_steps: Annotated[int, Ge(1)] | None
    rtol: Annotated[float, Ge(0)]
    atol: Annotated[float, Ge(0)]


@dataclass(frozen=True)
class Tolerances:
    """The tolerances of the forward solve.

    Args:
        rtol: Relative tolerance of the ODE solve.
        atol: Absolute tolerance of the ODE solve.
    """

    rtol: Annotated[float, Ge(0)]
    atol: Annotated[float, Ge(0)]


@dataclass(frozen=True, kw_only=True)
class ODEConfig(Tolerances):
    """Solver, controller, gradient method and engine of the model's ODE."""

    solver: SolverConfig
    controller: Component
    gradient: Component
    engine: Component
    error_controlled: bool  # whether the controller uses rtol and atol
    backward: BackwardConfig | None = None  # None: like the forward solve

    @property
    def has_engine(self) -> bool:
        """Whether an engine runs a solve; scipy's solvers run their steps themselves."""
        backward = self.solver if self.backward is None else self.backward.solver
        return self.solver.target is None or backward.target is None

    @property
    def backward_controlled(self) -> bool:
        """Whether the backward solve uses gradient.rtol and gradient.atol."""
        return self.error_controlled if self.backward is None else self.backward.error_controlled


@dataclass(frozen=True)
class TrainerConfig:
    """How long to train, and how often to evaluate, log and save.

    Args:
        epochs: Passes over the training set; None if trainer.iterations decides.
        iterations: Training steps in all; None if trainer.epochs decides.
        evaluate_every: Training steps between evaluations; None: one epoch.
        clip: Largest norm of the gradient of all parameters, to which a larger one is scaled;
            None: unlimited.
        batch_size: Examples in a training step.
        eval_batch_size: Examples in an evaluation batch.
        checkpoint_seconds: Seconds between checkpoints.
        keep_weights: Whether to keep the weights of every evaluation, for probes of the training.
        log_every: Training steps between logged metrics.
    """

    epochs: Annotated[int, Ge(1)] | None
    iterations: Annotated[int, Ge(1)] | None
    evaluate_every: Annotated[int, Ge(1)] | None
    clip: Annotated[float, Gt(0)] | None
    batch_size: Annotated[int, Ge(1)]
    eval_batch_size: Annotated[int, Ge(1)]
    checkpoint_seconds: Annotated[float, Ge(0)]
    keep_weights: bool
    log_every: Annotated[int, Ge(1)]


@dataclass(frozen=True)
class Settings:
    """Keys that belong to no group.

    Args:
        job: What to do.
        runs: Directories of finished runs, for job=probe and job=compare.
        seed: Seed of the weights, the order of the data and the augmentation.
        device: Where to compute; auto: on a CUDA device if there is one.
        precision: Floating-point type of parameters and states.
        name: Folder below outputs; None: the name of the experiment, or else of task and model.
        outputs: Folder of all runs.
        deterministic: Whether to use only deterministic kernels.
        threads: CPU threads; auto: one, or all cores where kernels are large.
        progress: Whether to show a progress bar; auto: on a terminal.
        debug: Whether to show tracebacks.
    """

    job: Literal["train", "probe", "report", "compare"]
    runs: Sequence[str]
    seed: Annotated[int, Ge(0), Le(2**32 - 1)]
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["float32", "float64"]
    name: str | None
    outputs: str
    deterministic: bool
    threads: Literal["auto"] | Annotated[int, Ge(1), Le(1024)]
    progress: Literal["auto", "on", "off"]
    debug: bool


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """The configuration of a job: train or probe a run, or report or compare finished runs.

    `ode` is None for a model without an ODE (mlp, resnet, stem_only).
    """

    probe: Component | None
    task: Component
    model: Component
    ode: ODEConfig | None
    data: Component
    optimizer: Component
    schedule: Component
    trainer: TrainerConfig
    profile: str  # "quick"
    experiment: str | None  # "table1_odenet"
