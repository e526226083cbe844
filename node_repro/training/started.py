"""What every process of a run has and does: the only one, the first of several, or another."""

from dataclasses import dataclass
from pathlib import Path

from node_repro import garbage
from node_repro.config import Config, ConfigError
from node_repro.config.signature import run_path, signature
from node_repro.data import DataSet
from node_repro.tasks import Task
from node_repro.training import build
from node_repro.training.checkpoint import Checkpoints
from node_repro.training.processes import Processes
from node_repro.training.signals import Signals
from node_repro.training.threads import Threads, choose
from node_repro.training.trainer import Evaluation, Plan, Stopped, Trainer


def trainer_of(
    config: Config,
    data_set: DataSet,
    where: build.Machine,
    checkpoints: Checkpoints,
    signals: Signals,
    processes: Processes,
) -> Trainer:
    """The task, the network, its optimiser and its schedule, ready to be trained."""
    chosen = build.task(config, data_set, where)
    network = build.model(config, chosen.sizes, where)
    plan = Plan(
        iterations=_iterations(config, chosen),
        lr=build.learning_rate(config),
        checkpoint_seconds=config.trainer.checkpoint_seconds,
        log_every=config.trainer.log_every,
        evaluate_every=config.trainer.evaluate_every,
        clip=config.trainer.clip,
    )
    return Trainer(
        task=chosen,
        model=network,
        optimizer=build.optimizer(config, network),
        schedule=build.construct(config.schedule),
        plan=plan,
        checkpoints=checkpoints,
        signals=signals,
        processes=processes,
        device=where.device,
    )


def _iterations(config: Config, chosen: Task) -> int:
    per_epoch = chosen.iterations_per_epoch
    if config.trainer.iterations is not None:
        return config.trainer.iterations
    if per_epoch is None:
        raise ConfigError(
            f"task={config.task.name} draws its data without end, so there are no epochs: "
            "give trainer.iterations=..."
        )
    assert config.trainer.epochs is not None
    return config.trainer.epochs * per_epoch


@dataclass(frozen=True)
class Started:
    """What every process of a run has before it trains."""

    config: Config
    machine: build.Machine
    data: DataSet
    signals: Signals
    processes: Processes

    @property
    def path(self) -> Path:
        """Of the run's directory."""
        return run_path(self.config, self.data.name)

    @property
    def signature(self) -> str:
        """The run's signature."""
        return signature(self.config, self.data.name)

    def trainer(self) -> tuple[Trainer, Threads]:
        """The objects of the run, made from the configuration, and the threads chosen for them."""
        checkpoints = Checkpoints(self.path / "checkpoints", self.signature)
        config, machine, data = self.config, self.machine, self.data
        trainer = trainer_of(config, data, machine, checkpoints, self.signals, self.processes)
        garbage.collect()  # torch imports much with the first optimizer
        task, model = trainer.task, trainer.model

        def forward() -> object:
            return task.loss(model, next(task.training_batches(0, 0)))

        return trainer, choose(config.threads, forward, machine.device, parts=self.processes.count)


def follow(started: Started) -> int:
    """What the other processes do: all but to read and to write."""
    complete = started.processes.of_first(lambda: False)
    if complete:
        return 0
    trainer, _ = started.trainer()
    try:
        trainer.resume()
        trainer.train(lambda split, step, metrics: None, iter)
        tested(trainer)
    except Stopped as stopped:
        return stopped.exit_code
    return 0


def tested(trainer: Trainer) -> tuple[Evaluation, Evaluation]:
    """The last model on the test set and the selected one, which is then the trainer's."""
    last = trainer.evaluate("test")
    if trainer.position.best_step == trainer.position.step:
        return last, last
    trainer.select()
    return last, trainer.evaluate("test")
