"""One run from its configuration to its result: data, directory, training, test, result.json."""

import math
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version

import torch
from torch import nn

from node_repro import build
from node_repro.config import Config
from node_repro.config.signature import harmless, plain, run_path, signature
from node_repro.data import ImageData
from node_repro.record.dashboard import Dashboard
from node_repro.record.metrics import read_metrics
from node_repro.record.run_directory import RunDirectory
from node_repro.tasks import Task
from node_repro.training.checkpoint import Checkpoints
from node_repro.training.progress import Progress
from node_repro.training.signals import Signals
from node_repro.training.trainer import Plan, Stopped, Trainer


def run(config: Config, overrides: Sequence[str], command: Sequence[str]) -> int:
    """Trains, tests and records; returns the exit code, 0 or that of a signal.

    A finished run is left alone, an unfinished one is continued.

    Raises:
        DataError, OutputError, CheckpointError, SolverError, DivergedError, ResourceError.
    """
    with Signals() as signals:
        machine = build.machine(config)
        images = build.data(config)
        path, mark = run_path(config, images.name), signature(config, images.name)
        with RunDirectory.open(
            path, plain(config), mark, command, overrides=overrides, harmless=harmless()
        ) as directory:
            if directory.result is not None:
                print(f"complete   {path} is finished already\n{summary(directory.result)}")
                return 0
            directory.record_environment()
            return Run(config, machine, images, directory, mark, signals).train()


class Run:
    """The objects of one run, and their order of work."""

    def __init__(
        self,
        config: Config,
        machine: build.Machine,
        images: ImageData,
        directory: RunDirectory,
        mark: str,
        signals: Signals,
    ) -> None:
        self.config, self.machine, self.images, self.directory = config, machine, images, directory
        self.mark = mark
        self.task: Task = build.task(config, images, machine)
        self.model = build.model(config, machine)
        self.plan = Plan(
            iterations=config.trainer.iterations
            or config.trainer.epochs * self.task.iterations_per_epoch,
            lr=build.learning_rate(config),
            checkpoint_seconds=config.trainer.checkpoint_seconds,
            log_every=config.trainer.log_every,
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
        dashboard = Dashboard(
            directory.path / "tensorboard", start + 1 if directory.resumed else None
        )

        def log(split: str, step: int, metrics: dict[str, float]) -> None:
            directory.log(split, step, **metrics)
            dashboard.scalars(split, step, metrics)
            progress.show(split, step, metrics)

        def shown(steps: Iterable[int]) -> Iterator[int]:
            return progress.steps(steps, start)

        try:
            self.trainer.train(log, shown)
            result = self._tested()
            dashboard.hparams(plain(self.config), _final_metrics(result))
        except Stopped as stopped:
            directory.status("INTERRUPTED", step=stopped.step, exit_code=stopped.exit_code)
            progress.say(
                f"stopped    after iteration {stopped.step} of {self.plan.iterations}; all is "
                "saved, and the same command goes on from here"
            )
            return stopped.exit_code
        finally:
            dashboard.close()
        directory.finish(result)
        progress.say(summary(result))
        return 0

    def _introduction(self) -> list[tuple[str, str]]:
        config, images, device = self.config, self.images, self.machine.device
        lines = [("notice", images.notice)] if images.notice else []
        lines.append(
            (
                "data",
                f"{images.name}, {len(images.train.labels):,} + "
                f"{len(images.test.labels):,} digits from {images.origin}",
            )
        )
        epochs = self.plan.iterations / self.task.iterations_per_epoch
        lines.append(
            (
                "profile",
                f"{config.profile}: {self.plan.iterations:,} iterations of "
                f"{config.trainer.batch_size} = {epochs:.3g} epochs",
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

    def _tested(self) -> dict:
        """The last and the selected model on the test set, and everything to know beside it."""
        config, images, trainer = self.config, self.images, self.trainer
        last, selected = trainer.position.step, trainer.position.best_step
        tested = trainer.evaluate("test")
        models = {"last": {"step": last, "test": tested}}
        if selected != last:
            trainer.select()
            tested = trainer.evaluate("test")
        models["selected"] = {
            "step": selected,
            "validation_error": trainer.position.best,
            "test": tested,
        }
        count = len(images.test.labels)
        for scores in models.values():
            error = scores["test"]["error"]
            scores["test_standard_error"] = math.sqrt(error * (1 - error) / count)
        return {
            "task": config.task.name,
            "model": config.model.name,
            "experiment": config.experiment,
            "data": images.name,
            "data_complete": images.complete,
            "data_notice": images.notice,
            "data_sha256": images.sha256,
            "test_count": count,
            "profile": config.profile,
            "seed": config.seed,
            "device": str(self.machine.device),
            "version": version("node-repro"),
            "signature": self.mark,
            "parameters": parameters(self.model),
            "iterations": self.plan.iterations,
            "epochs": self.plan.iterations / self.task.iterations_per_epoch,
            "training": _training(read_metrics(self.directory.path / "metrics.jsonl")),
            **models,
        }


def parameters(model: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _final_metrics(result: dict) -> dict[str, float]:
    """What TensorBoard shows beside the hyper-parameters."""
    return {
        f"test_{name}/{metric}": result[name]["test"][metric]
        for name in ("last", "selected")
        for metric in ("error", "loss_nats")
    }


def _training(lines: list[dict]) -> dict[str, float]:
    """Means over the last epoch, and the time of all."""
    epochs = [line for line in lines if line["split"] == "epoch"]
    if not epochs:
        return {}
    last = {k: v for k, v in epochs[-1].items() if k not in ("split", "step", "seconds")}
    return last | {"seconds": epochs[-1]["seconds"]}


def summary(result: dict) -> str:
    """The result in a few lines, the notice on it included."""
    lines = []
    for name in ("last", "selected"):
        model = result[name]
        test = model["test"]
        lines.append(
            f"{name:<10} test error {100 * test['error']:.2f} ± "
            f"{100 * model['test_standard_error']:.2f} %, loss {test['loss_nats']:.4f} nats "
            f"(iteration {model['step']}, {result['test_count']:,} digits of {result['data']})"
        )
    if result["data_notice"]:
        lines.append(f"notice     {result['data_notice']}")
    return "\n".join(lines)
