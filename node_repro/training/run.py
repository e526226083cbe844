"""`run`: one run, from its configuration to result.json.

Every process of a run loads the data, builds the trainer, trains and evaluates. Only rank 0 reads
and writes files and prints, through a `RunOutput`.
"""

import time
from collections.abc import Sequence
from importlib.metadata import version

from node_repro.config import Config, ConfigError
from node_repro.config.signature import harmless, plain, run_path, signature
from node_repro.data import DataSet
from node_repro.data.sharding import Share
from node_repro.runs.environment import EXIT_DELAY
from node_repro.runs.result import ModelResult, RunResult
from node_repro.runs.run_directory import RunDirectory
from node_repro.tasks import Task
from node_repro.training import build
from node_repro.training.checkpoint import Checkpoints
from node_repro.training.introduction import count_parameters, introduction
from node_repro.training.processes import FailedElsewhereError, Processes
from node_repro.training.processes.launched import join_processes
from node_repro.training.run_output import RunOutput
from node_repro.training.signals import Signals
from node_repro.training.threads import Threads, choose
from node_repro.training.trainer import Evaluation, Plan, Stopped, Trainer
from node_repro.training.trial import choose_engine


def run(config: Config, overrides: Sequence[str], command: Sequence[str]) -> int:
    """Train, test and record one run; an unfinished run is resumed, a finished one is not changed.

    Args:
        config: The validated configuration.
        overrides: The overrides that the user typed, for overrides.txt.
        command: The command line, for command.txt.

    Returns:
        The exit code: 0, or that of a signal.

    Raises:
        DataError: The data cannot be loaded.
        OutputError: The run's directory cannot be used.
        CheckpointError: A checkpoint cannot be saved or read.
        SolverError, DivergedError: The training cannot continue.
        ResourceError: A device is not available.
        ShareError: The processes cannot share the batch evenly.
        LostProcessError: Another process was killed.
    """
    try:
        with join_processes() as processes, Signals(second_kills=processes.count == 1) as signals:
            training = TrainingRun(config, processes, signals)
            if processes.rank > 0:
                return training.follow()
            return training.record(overrides, command)
    except FailedElsewhereError as failure:
        time.sleep(EXIT_DELAY)  # torchrun kills all processes once one has exited
        return failure.exit_code


class TrainingRun:
    """One process of a run: its data, device and signature, and the steps of training."""

    def __init__(self, config: Config, processes: Processes, signals: Signals) -> None:
        Share(processes.rank, processes.count).refuse_uneven(
            config.trainer.batch_size, "trainer.batch_size"
        )
        self.config, self.processes, self.signals = config, processes, signals
        build.keep_freed_memory()
        self.machine = build.machine(config, processes.device_index)
        self.data: DataSet = processes.rank0_first(lambda: build.data(config))
        self.path = run_path(config, self.data.name)
        self.signature = signature(config, self.data.name)

    def record(self, overrides: Sequence[str], command: Sequence[str]) -> int:
        """Train and record the run (rank 0)."""
        directory = RunDirectory.open(
            self.path,
            plain(self.config),
            self.signature,
            command,
            overrides=overrides,
            harmless=harmless(),
        )
        with directory, self.processes.propagate_errors():
            self.processes.broadcast_from_rank0(lambda: directory.complete)
            if directory.result is not None:
                print(f"complete   {self.path} is already finished\n{directory.result.summary()}")
                return 0
            trainer, threads = self._build_trainer()
            with RunOutput(self.config, trainer, directory) as output:
                output.introduce(
                    introduction(self.config, self.data, self.machine, threads, trainer)
                )
                output.start(trainer.resume())
                engine = choose_engine(trainer, self.config)
                output.tell_engine(engine)
                # again, now that the threads and the engine are chosen
                directory.record_environment(**({"engine": engine.name} if engine else {}))
                try:
                    trainer.train(output.log, output.show_progress)
                    last, selected = trainer.test()
                except Stopped as stopped:
                    output.interrupt(stopped)
                    return stopped.exit_code
                output.finish(self._result(trainer, threads, output, last, selected))
        return 0

    def follow(self) -> int:
        """Train and evaluate without file I/O (all ranks but 0)."""
        if self.processes.broadcast_from_rank0(lambda: False):  # rank 0 found a finished run
            return 0
        trainer, _ = self._build_trainer()
        trainer.resume()
        choose_engine(trainer, self.config)
        try:
            trainer.train(lambda split, step, metrics: None, iter)
            trainer.test()
        except Stopped as stopped:
            return stopped.exit_code
        return 0

    def _build_trainer(self) -> tuple[Trainer, Threads]:
        """Build the trainer and choose the number of threads."""
        checkpoints = Checkpoints(self.path / "checkpoints", self.signature)
        trainer = build_trainer(
            self.config, self.data, self.machine, checkpoints, self.signals, self.processes
        )
        task, model = trainer.task, trainer.model

        def forward() -> object:
            return task.loss(model, next(task.training_batches(0, 0)))

        count = self.processes.count
        return trainer, choose(self.config.threads, forward, self.machine.device, parts=count)

    def _result(
        self,
        trainer: Trainer,
        threads: Threads,
        output: RunOutput,
        last: Evaluation,
        selected: Evaluation,
    ) -> RunResult:
        config, data, task, position = self.config, self.data, trainer.task, trainer.position
        metric = task.selection_metric
        return RunResult(
            task=config.task.name,
            model=config.model.name,
            experiment=config.experiment,
            data=data.name,
            data_notice=data.notice,
            data_facts=data.facts,
            test_count=selected.count,
            profile=config.profile,
            seed=config.seed,
            device=str(self.machine.device),
            processes=self.processes.count,
            threads=threads.count,
            version=version("node-repro"),
            signature=self.signature,
            parameters=count_parameters(trainer.model),
            iterations=trainer.plan.iterations,
            epochs=trainer.epochs,
            training=output.training,
            estimate=output.time_estimate,
            selection_metric=metric,
            last=ModelResult(position.step, last.scores, last.standard_errors.get(metric)),
            selected=ModelResult(
                position.best_step,
                selected.scores,
                selected.standard_errors.get(metric),
                position.best,
            ),
            diagnostics=trainer.diagnose(),
            engine=trainer.engine.use(),
        )


def build_trainer(
    config: Config,
    data: DataSet,
    machine: build.Machine,
    checkpoints: Checkpoints,
    signals: Signals,
    processes: Processes,
) -> Trainer:
    """Build a trainer with its task, network, optimizer and schedule."""
    task = build.task(config, data, machine)
    engine = build.training_engine(config)
    model = build.model(config, task.sizes, machine, engine.switch)
    plan = Plan(
        iterations=_iterations(config, task),
        lr=build.learning_rate(config),
        checkpoint_seconds=config.trainer.checkpoint_seconds,
        log_every=config.trainer.log_every,
        keep_weights=config.trainer.keep_weights,
        evaluate_every=config.trainer.evaluate_every,
        clip=config.trainer.clip,
    )
    return Trainer(
        task=task,
        model=model,
        optimizer=build.optimizer(config, model),
        schedule=build.construct(config.schedule),
        plan=plan,
        checkpoints=checkpoints,
        signals=signals,
        processes=processes,
        device=machine.device,
        engine=engine,
    )


def _iterations(config: Config, task: Task) -> int:
    if config.trainer.iterations is not None:
        return config.trainer.iterations
    if task.iterations_per_epoch is None:
        raise ConfigError(
            f"task={config.task.name} has infinite data and therefore no epochs: set "
            "trainer.iterations=..."
        )
    assert config.trainer.epochs is not None
    return config.trainer.epochs * task.iterations_per_epoch
