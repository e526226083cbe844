"""What a run is asked to do, as plain typed objects: configuration stops here.

`validation.validate` turns what hydra composed into a `Config`; below it nobody sees a DictConfig.
`options` declares every key once, `choices` knows the yaml files, `overrides` judges what was
typed, `signature` names the run's directory, `usage` writes `node-run --help`. Nothing here imports
torch or hydra.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

Value = bool | int | float | str | None | tuple[float, ...] | tuple[str, ...]


class ConfigError(Exception):
    """The configuration or the command line is wrong; its text is one plain sentence."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True)
class Component:
    """One choice of one group: the object at `target` is called with `**options`."""

    name: str  # the yaml's name: "odenet" for conf/model/odenet.yaml
    target: str | None  # "node_repro.models.odenet.ODENet"; None for a solver's own controller
    options: Mapping[str, Value]


@dataclass(frozen=True)
class SolverConfig:
    """A step method, the dotted path of an object that exists, or a solver of its own (scipy's)."""

    name: str  # "dopri5"
    method: str | None  # "node_repro.ode.methods.dopri5.DOPRI5"; None with a target
    target: str | None  # "node_repro.ode.scipy.lsoda.Lsoda", called with `options` and tolerances
    adaptive: bool  # whether the method estimates its error; the yaml's `_adaptive_`
    options: Mapping[str, Value]  # max_steps, ...


@dataclass(frozen=True)
class BackwardConfig:
    """The adjoint's backward solve, where it is not done as the forward one is."""

    solver: SolverConfig
    controller: Component
    error_controlled: bool


@dataclass(frozen=True)
class ODEConfig:
    """How the model's ODE is solved and differentiated."""

    solver: SolverConfig
    controller: Component
    gradient: Component
    rtol: float
    atol: float
    error_controlled: bool  # the controller keeps to rtol and atol; its yaml's `_adaptive_`
    backward: BackwardConfig | None = None  # None: as the forward solve

    @property
    def backward_controlled(self) -> bool:
        """Whether the backward solve keeps to gradient.rtol and gradient.atol."""
        return self.error_controlled if self.backward is None else self.backward.error_controlled


@dataclass(frozen=True)
class TrainerConfig:
    """How much is trained. `iterations` decides where it is not None, else `epochs`.

    evaluate_every: iterations; None for once an epoch. clip: the largest norm of the whole
    gradient, None for any.
    """

    epochs: int | None
    iterations: int | None
    evaluate_every: int | None
    clip: float | None
    batch_size: int
    eval_batch_size: int
    checkpoint_seconds: float
    log_every: int


@dataclass(frozen=True)
class Config:
    """One run, and what is to be done: train it, probe it, or tell about runs that there are.

    `ode` is None for a model that solves no ODE (mlp, resnet, stem_only).
    """

    job: str  # train | probe | report | compare
    runs: tuple[str, ...]  # directories of finished runs, for job=probe and job=compare
    probe: Component | None
    task: Component
    model: Component
    ode: ODEConfig | None
    data: Component
    optimizer: Component
    lr_batch: int | None  # the batch size that optimizer.lr is given for; None: for any
    schedule: Component
    trainer: TrainerConfig
    profile: str  # "quick"
    experiment: str | None  # "table1_odenet"
    name: str | None  # as given by the user; see signature.run_name
    seed: int
    device: str  # auto | cpu | cuda
    precision: str  # float32 | float64
    outputs: str
    deterministic: bool
    threads: int | str  # or auto
    progress: str  # auto | on | off
    debug: bool
