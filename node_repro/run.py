"""One run from its configuration to its result: data, directory, training, test, result.json."""

from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version

import torch
from torch import nn

from node_repro import build
from node_repro.config import Config, ConfigError
from node_repro.config.signature import harmless, plain, run_path, signature
from node_repro.data import DataSet
from node_repro.ode.solution import SolverError
from node_repro.panels import Panels
from node_repro.record.metrics import read_metrics
from node_repro.record.run_directory import RunDirectory
from node_repro.record.summary import summary
from node_repro.tasks import Task
from node_repro.training.checkpoint import Checkpoints
from node_repro.training.cost import step_sizes
from node_repro.training.progress import Progress
from node_repro.training.signals import Signals
from node_repro.training.trainer import Evaluation, Plan, Stopped, Trainer


def run(config: Config, overrides: Sequence[str], command: Sequence[str]) -> int:
    """Trains, tests and records; returns the exit code, 0 or that of a signal.

    A finished run is left alone, an unfinished one is continued.

    Raises:
        DataError, OutputError, CheckpointError, SolverError, DivergedError, ResourceError.
    """
    with Signals() as signals:
        machine = build.machine(config)
        data = build.data(config)
        path, mark = run_path(config, data.name), signature(config, data.name)
        with RunDirectory.open(
            path, plain(config), mark, command, overrides=overrides, harmless=harmless()
        ) as directory:
            if directory.result is not None:
                print(f"complete   {path} is finished already\n{summary(directory.result)}")
                return 0
            directory.record_environment()
            return Run(config, machine, data, directory, mark, signals).train()


class Run:
    """The objects of one run, and their order of work."""

    def __init__(
        self,
        config: Config,
        machine: build.Machine,
        data: DataSet,
        directory: RunDirectory,
        mark: str,
        signals: Signals,
    ) -> None:
        self.config, self.machine, self.data, self.directory = config, machine, data, directory
        self.mark = mark
        self.task: Task = build.task(config, data, machine)
        self.model = build.model(config, self.task.sizes, machine)
        self.plan = Plan(
            iterations=self._iterations(),
            lr=build.learning_rate(config),
            checkpoint_seconds=config.trainer.checkpoint_seconds,
            log_every=config.trainer.log_every,
            evaluate_every=config.trainer.evaluate_every,
            clip=config.trainer.clip,
        )
        self.trainer = Trainer(
            task=self.task,
            model=self.model,
            optimizer=build.optimizer(config, self.model),
            schedule=build.construct(config.schedule),
            plan=self.plan,
            checkpoints=Checkpoints(directory.path / "checkpoints", mark),
            signals=signals,
            device=machine.device,
        )
        self.progress = Progress(
            directory.path / "train.log",
            bar=config.progress,
            total=self.plan.iterations,
            per_epoch=self.task.iterations_per_epoch,
        )

    def _iterations(self) -> int:
        trainer, per_epoch = self.config.trainer, self.task.iterations_per_epoch
        if trainer.iterations is not None:
            return trainer.iterations
        if per_epoch is None:
            raise ConfigError(
                f"task={self.config.task.name} draws its data without end, so there are no epochs: "
                "give trainer.iterations=..."
            )
        assert trainer.epochs is not None
        return trainer.epochs * per_epoch

    def train(self) -> int:
        """Trains from where the directory stands, tests, and writes the result."""
        directory, progress = self.directory, self.progress
        for name, text in self._introduction():
            progress.say(f"{name:<10} {text}")
        for note in (*directory.notes, *self.trainer.resume()):
            progress.say(f"note       {note}")
        start = self.trainer.position.step
        if directory.resumed:
            directory.cut(start or -1)
            progress.say(f"resume     after iteration {start} of {self.plan.iterations}")
        panels = Panels(self.config, directory, start)

        def log(split: str, step: int, metrics: dict[str, float]) -> None:
            directory.log(split, step, **metrics)
            panels.log(split, step, metrics)
            progress.show(split, step, metrics)
            if split == "validation":
                panels.steps(step, step_sizes(self.model))
                self._draw(panels, step, final=False)

        def shown(steps: Iterable[int]) -> Iterator[int]:
            return progress.steps(steps, start)

        try:
            self.trainer.train(log, shown)
            result = self._tested()
            self._draw(panels, self.plan.iterations, final=True)
            panels.result(result)
        except Stopped as stopped:
            directory.status("INTERRUPTED", step=stopped.step, exit_code=stopped.exit_code)
            progress.say(
                f"stopped    after iteration {stopped.step} of {self.plan.iterations}; all is "
                "saved, and the same command goes on from here"
            )
            return stopped.exit_code
        finally:
            panels.close()
        directory.finish(result)
        progress.say(summary(result))
        return 0

    def _introduction(self) -> list[tuple[str, str]]:
        config, data, device = self.config, self.data, self.machine.device
        lines = [("notice", data.notice)] if data.notice else []
        lines.append(("data", f"{data.name}, {data.description}"))
        epochs = "" if self._epochs is None else f" = {self._epochs:.3g} epochs"
        lines.append(
            (
                "profile",
                f"{config.profile}: {self.plan.iterations:,} iterations of "
                f"{config.trainer.batch_size}{epochs}",
            )
        )
        lines.append(("model", f"{config.model.name}, {parameters(self.model):,} parameters"))
        if config.ode is not None:
            ode = config.ode
            accuracy = f"rtol {ode.rtol:g}, atol {ode.atol:g}"
            if not ode.error_controlled:
                accuracy = f"size {ode.controller.options['step_size']:g}"
            lines.append(
                (
                    "solver",
                    f"{ode.solver.name}, steps {ode.controller.name}, {accuracy}; gradient "
                    f"{ode.gradient.name}",
                )
            )
        name = (
            torch.cuda.get_device_name(device)
            if device.type == "cuda"
            else (f"cpu, {torch.get_num_threads()} threads")
        )
        lines.append(("device", f"{name}, {config.precision}, seed {config.seed}"))
        lines.append(("run", str(self.directory.path)))
        return lines

    @property
    def _epochs(self) -> float | None:
        per_epoch = self.task.iterations_per_epoch
        return None if per_epoch is None else self.plan.iterations / per_epoch

    def _draw(self, panels: Panels, step: int, *, final: bool) -> None:
        """The task's pictures, into the directory and TensorBoard. None is worth a run: where
        the solver gives up on a drawing, that is said and the run goes on."""
        self.model.eval()
        try:
            with torch.no_grad():
                for file, content in self.task.pictures(self.model, final=final):
                    self.directory.picture(file, content)
                    panels.picture(file, step, content)
        except SolverError as error:
            self.progress.say(f"note       a picture is left out: {error}")
        self.model.train()

    def _findings(self) -> dict:
        self.model.eval()
        with torch.no_grad():
            return dict(self.task.findings(self.model))

    def _tested(self) -> dict:
        """The last and the selected model on the test set, and everything to know beside it."""
        config, data, trainer = self.config, self.data, self.trainer
        last, selected = trainer.position.step, trainer.position.best_step
        chosen, by = trainer.evaluate("test"), self.task.selected_by
        models = {"last": _scores(last, chosen, by)}
        if selected != last:
            trainer.select()
            chosen = trainer.evaluate("test")
        models["selected"] = _scores(selected, chosen, by)
        models["selected"][f"validation_{by}"] = trainer.position.best
        return {
            "task": config.task.name,
            "model": config.model.name,
            "experiment": config.experiment,
            "data": data.name,
            "data_notice": data.notice,
            **{f"data_{name}": value for name, value in data.facts.items()},
            "test_count": chosen.count,
            "profile": config.profile,
            "seed": config.seed,
            "device": str(self.machine.device),
            "version": version("node-repro"),
            "signature": self.mark,
            "parameters": parameters(self.model),
            "iterations": self.plan.iterations,
            "epochs": self._epochs,
            "training": _training(read_metrics(self.directory.path / "metrics.jsonl")),
            "selected_by": by,
            **models,
            "findings": self._findings(),
        }


def parameters(model: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _scores(step: int, evaluation: Evaluation, by: str) -> dict:
    return {
        "step": step,
        "test": evaluation.scores,
        "test_standard_error": evaluation.standard_errors.get(by),
    }


def _training(lines: list[dict]) -> dict[str, float]:
    """Means over the last epoch, and the time of all."""
    epochs = [line for line in lines if line["split"] == "epoch"]
    if not epochs:
        return {}
    last = {k: v for k, v in epochs[-1].items() if k not in ("split", "step", "seconds")}
    return last | {"seconds": epochs[-1]["seconds"]}
