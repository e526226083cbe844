"""One run from its configuration to its result: data, directory, training, test, result.json."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version

import torch
from torch import nn

from node_repro.config import Component, Config, ODEConfig
from node_repro.config.signature import harmless, plain
from node_repro.data.sharding import Share
from node_repro.ode.solution import SolverError
from node_repro.runs.environment import SECONDS_TO_TELL
from node_repro.runs.metrics import read_metrics
from node_repro.runs.result import ModelResult, RunResult
from node_repro.runs.run_directory import RunDirectory
from node_repro.runs.summary import summary
from node_repro.training import build
from node_repro.training.cost import step_sizes
from node_repro.training.panels import Panels
from node_repro.training.processes import FailedElsewhereError
from node_repro.training.processes.launched import joined
from node_repro.training.progress import Progress
from node_repro.training.signals import Signals
from node_repro.training.started import Started, follow, tested
from node_repro.training.trainer import Evaluation, Stopped


def run(config: Config, overrides: Sequence[str], command: Sequence[str]) -> int:
    """Trains, tests and records; returns the exit code, 0 or that of a signal.

    A finished run is left alone, an unfinished one is continued. Of several processes that
    torchrun started, the first one reads and writes, and prints what is to be said.

    Raises:
        DataError, OutputError, CheckpointError, SolverError, DivergedError, ResourceError,
        ShareError, LostProcessError.
    """
    try:
        with joined() as processes, Signals(second_kills=processes.count == 1) as signals:
            share = Share(processes.rank, processes.count)
            share.refuse_uneven(config.trainer.batch_size, "trainer.batch_size")
            machine = build.machine(config, processes.device_index)
            data = processes.in_turn(lambda: build.data(config))
            started = Started(config, machine, data, signals, processes)
            return _record(started, overrides, command) if share.rank == 0 else follow(started)
    except FailedElsewhereError as failure:
        time.sleep(SECONDS_TO_TELL)  # the process where it happened is not ended before it told
        return failure.exit_code


def _record(started: Started, overrides: Sequence[str], command: Sequence[str]) -> int:
    """What the only, or the first, process does."""
    path, processes = started.path, started.processes
    with (
        RunDirectory.open(
            path,
            plain(started.config),
            started.signature,
            command,
            overrides=overrides,
            harmless=harmless(),
        ) as directory,
        processes.together(),
    ):
        if processes.of_first(lambda: directory.complete):
            assert directory.result is not None
            print(f"complete   {path} is finished already\n{summary(directory.result)}")
            return 0
        run = Run(started, directory)
        directory.record_environment()  # the threads are chosen
        return run.train()


class Run:
    """The objects of one run, and their order of work."""

    def __init__(self, started: Started, directory: RunDirectory) -> None:
        self.config, self.machine, self.data = started.config, started.machine, started.data
        self.processes, self.signature = started.processes, started.signature
        self.directory = directory
        self.trainer, self.threads = started.trainer()
        self.task, self.model, self.plan = self.trainer.task, self.trainer.model, self.trainer.plan
        self.progress = Progress(
            directory.path / "train.log",
            bar=self.config.progress,
            total=self.plan.iterations,
            per_epoch=self.task.iterations_per_epoch,
            evaluate_every=self.plan.evaluate_every,
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
        panels = Panels(self.config, directory, start)

        def log(split: str, step: int, metrics: dict[str, float]) -> None:
            directory.log(split, step, **metrics)
            panels.log(split, step, metrics)
            progress.show(split, step, metrics)
            if split == "validation":
                panels.steps(step, step_sizes(self.model))
                if step < self.plan.iterations:  # the last ones are drawn after the test
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
            lines.append(("solver", _solver_in_words(config.ode)))
        name = (
            torch.cuda.get_device_name(device)
            if device.type == "cuda"
            else f"cpu, {self.threads.count} thread{'s' * (self.threads.count != 1)}"
        )
        if self.processes.count > 1:
            name += f", {self.processes.count} processes"
        lines.append(("device", f"{name}, {config.precision}, seed {config.seed}"))
        if self.threads.reason:
            lines.append(("threads", f"{self.threads.count}, {self.threads.reason}"))
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

    def _diagnostics(self) -> dict:
        self.model.eval()
        with torch.no_grad():
            return dict(self.task.diagnostics(self.model))

    def _tested(self) -> RunResult:
        """Tests the last and the selected model."""
        config, data, position = self.config, self.data, self.trainer.position
        metric = self.task.selection_metric
        last, selected = tested(self.trainer)
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
            threads=self.threads.count,
            version=version("node-repro"),
            signature=self.signature,
            parameters=parameters(self.model),
            iterations=self.plan.iterations,
            epochs=self._epochs,
            training=_training(read_metrics(self.directory.path / "metrics.jsonl")),
            estimate=self.progress.time_estimate,
            selected_by=metric,
            last=_model_result(position.step, last, metric),
            selected=_model_result(position.best_step, selected, metric, position.best),
            diagnostics=self._diagnostics(),
        )


def _solver_in_words(ode: ODEConfig) -> str:
    """Both solves in one line, the backward one where it is not done as the forward one is."""

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


def parameters(model: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _model_result(
    step: int, evaluation: Evaluation, metric: str, validation: float | None = None
) -> ModelResult:
    error = evaluation.standard_errors.get(metric)
    return ModelResult(step, evaluation.scores, error, validation)


def _training(lines: list[dict]) -> dict[str, float]:
    """Means over the last epoch, and the time of all."""
    epochs = [line for line in lines if line["split"] == "epoch"]
    if not epochs:
        return {}
    last = {k: v for k, v in epochs[-1].items() if k not in ("split", "step", "seconds")}
    return last | {"seconds": epochs[-1]["seconds"]}
