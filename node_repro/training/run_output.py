"""Output of a run by rank 0: metrics.jsonl, TensorBoard, pictures, lines on stdout."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Self

import torch

from node_repro.config import Config
from node_repro.config.options import COMPONENTS
from node_repro.config.signature import plain, signed_keys
from node_repro.ode.solution import SolverError
from node_repro.runs.duration import format_duration
from node_repro.runs.json_values import flatten
from node_repro.runs.metrics import shown_scores
from node_repro.runs.metrics_file import read_metrics
from node_repro.runs.result import RunResult, TimeEstimate
from node_repro.runs.run_directory import RunDirectory
from node_repro.runs.tensorboard import TensorBoard, code, table
from node_repro.training.cost import step_sizes
from node_repro.training.engine import EngineChoice
from node_repro.training.progress import Progress
from node_repro.training.trainer import Stopped, Trainer

_UNSIGNED = {"seed": int, "device": str}
"""Keys that are not part of the signature but distinguish runs in TensorBoard."""


class RunOutput:
    """The output of one start of a run. Every method that writes may raise OutputError.

    Args:
        config: The run's configuration.
        trainer: Its trainer.
        directory: Its open directory.
    """

    def __init__(self, config: Config, trainer: Trainer, directory: RunDirectory) -> None:
        self.config, self.trainer, self.directory = config, trainer, directory
        self.progress = Progress(
            directory.path / "train.log",
            bar=config.progress,
            total=trainer.plan.iterations,
            per_epoch=trainer.task.iterations_per_epoch,
            evaluate_every=trainer.plan.evaluate_every,
        )
        self._board: TensorBoard | None = None
        self._nfe: list[float] = []  # logged since the last evaluation
        self._graphs = 0  # compiled graphs of which the user was told

    def introduce(self, lines: Iterable[tuple[str, str]]) -> None:
        """Print titled lines and the run's directory."""
        for title, text in (*lines, ("run", str(self.directory.path))):
            self._say(title, text)

    def start(self, notes: Iterable[str]) -> None:
        """Print notes and open TensorBoard, after the trainer has been resumed."""
        directory, plan = self.directory, self.trainer.plan
        start = self.trainer.position.step
        for note in (*directory.notes, *notes):
            self._say("note", note)
        earlier = ()
        if directory.resumed:
            directory.cut(start or -1)
            self._say("resume", f"after iteration {start} of {plan.iterations}")
            earlier = read_metrics(directory.path / "metrics.jsonl")
        purge_step = start + 1 if directory.resumed else None
        board = self._board = TensorBoard(directory.path, purge_step, earlier)
        configuration = plain(self.config)
        commands = (directory.path / "command.txt").read_text(encoding="utf-8")
        board.text("run/command", start, code(commands))
        board.text("run/configuration", start, table(configuration))
        columns, values = _columns(), flatten(configuration)
        row = {key: value for key, value in values.items() if key in columns}
        board.start_session(start, row, columns)

    def tell_engine(self, choice: EngineChoice | None) -> None:
        """Print the engine of the training, and why; nothing where none was chosen."""
        if choice is None or (choice.name == "eager" and not choice.reason):
            return
        use = self.trainer.engine.use()
        cost = ""
        if use is not None and use.graphs:
            cost = f"; {_count(use.graphs)} compiled in {format_duration(use.compile_seconds)}"
            self._graphs = use.graphs
        self._say("engine", f"{choice}{cost}")

    def show_progress(self, steps: Iterable[int]) -> Iterator[int]:
        """Yield the remaining steps, with a progress bar and time estimates."""
        for step in self.progress.steps(steps, self.trainer.position.step):
            yield step
            self._tell_compilation(step + 1)

    def log(self, split: str, step: int, metrics: Mapping[str, float]) -> None:
        """Log metrics of a split at a step; after a validation, also draw the model."""
        self.directory.log(split, step, **metrics)
        self.board.scalars(split, step, metrics)
        if split == "train" and "nfe_forward" in metrics:
            self._nfe.append(metrics["nfe_forward"])
        if split == "epoch":
            meaning = "NFE forward of the lines logged since the last evaluation"
            self.board.histogram("solver/nfe_forward", step, self._nfe, meaning)
            self._nfe = []
        self.progress.show(split, step, metrics)
        if split == "validation":
            meaning = "accepted steps |h| of the last batch of an evaluation"
            self.board.histogram("solver/h", step, step_sizes(self.trainer.model), meaning)
            if step < self.trainer.plan.iterations:  # the last ones are drawn by `finish`
                self._draw(step, final=False)

    def finish(self, result: RunResult) -> None:
        """Draw the selected model and write the result, result.json last."""
        step, board = result.iterations, self.board
        self._draw(step, final=True)
        for name, model in result.models.items():
            board.scalars(f"test/{name}", step, shown_scores(model.test))
        cost: dict[str, float] = {"parameters": result.parameters}
        if result.training_seconds is not None:
            cost["training_seconds"] = result.training_seconds
        board.scalars("final", step, cost)
        values = flatten(result.to_json())
        facts = {key: value for key, value in values.items() if not isinstance(value, list | dict)}
        board.text("run/result", step, f"{code(result.summary())}\n\n{table(facts)}")
        board.end_session()
        board.close()
        self.directory.finish(result)
        self.progress.say(result.summary())

    def interrupt(self, stopped: Stopped) -> None:
        """Record that a signal stopped the training."""
        self.directory.status("INTERRUPTED", step=stopped.step, exit_code=stopped.exit_code)
        self._say(
            "stopped",
            f"after iteration {stopped.step} of {self.trainer.plan.iterations}; checkpoint saved, "
            "rerun the same command to resume",
        )

    @property
    def board(self) -> TensorBoard:
        """The TensorBoard output, available after `start`."""
        assert self._board is not None
        return self._board

    @property
    def time_estimate(self) -> TimeEstimate | None:
        """Estimated and measured time of this start."""
        return self.progress.time_estimate

    @property
    def training(self) -> dict[str, float]:
        """The logged means over the last epoch, and `seconds`, the time of the training."""
        lines = read_metrics(self.directory.path / "metrics.jsonl")
        epochs = [line for line in lines if line["split"] == "epoch"]
        if not epochs:
            return {}
        last = {k: v for k, v in epochs[-1].items() if k not in ("split", "step", "seconds")}
        return last | {"seconds": epochs[-1]["seconds"]}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._board is not None:
            self._board.close()

    def _tell_compilation(self, step: int) -> None:
        """Print the number of compiled graphs if it has doubled; every new shape makes one."""
        use = self.trainer.engine.use()
        if use is not None and use.graphs >= max(1, 2 * self._graphs):
            self._graphs = use.graphs
            seconds = format_duration(use.compile_seconds)
            self._say("compiled", f"{_count(use.graphs)} in {seconds}, until iteration {step}")

    def _say(self, title: str, text: str) -> None:
        self.progress.say(f"{title:<10} {text}")

    def _draw(self, step: int, *, final: bool) -> None:
        """Write the task's pictures; one for which the solver fails is left out with a note."""
        model = self.trainer.model
        model.eval()
        try:
            with torch.no_grad():
                for file, content in self.trainer.task.pictures(model, final=final):
                    self.directory.picture(file, content)
                    name, _, kind = file.rpartition(".")
                    if kind in ("png", "gif"):
                        self.board.image(f"pictures/{name}", step, content)
        except SolverError as error:
            self._say("note", f"a picture is left out: {error}")
        model.train()


def _count(graphs: int) -> str:
    return f"{graphs} graph{'s' * (graphs != 1)}"


def _columns() -> dict[str, type]:
    """Every key in which results of different runs may differ, with the type of its values."""
    keys: dict[str, type] = {"experiment": str, "profile": str}
    keys |= {f"{group}.choice": str for group in (*COMPONENTS, "solver")}
    return keys | _UNSIGNED | signed_keys()
