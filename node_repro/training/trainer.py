"""The training loop: loss, backward, optimizer step; logging, evaluation, checkpoints, resume."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from node_repro.ode.solution import SolverError
from node_repro.runs.meters import SavedBytes, peak_memory_bytes, reset_peak_memory
from node_repro.tasks import Batch, Task
from node_repro.training.checkpoint import Checkpoints
from node_repro.training.cost import solver_cost
from node_repro.training.engine import TrainingEngine
from node_repro.training.position import Position
from node_repro.training.processes import Processes
from node_repro.training.random_state import random_state, set_random_state
from node_repro.training.schedule import Schedule
from node_repro.training.signals import Signals


class DivergedError(Exception):
    """The loss is NaN or infinite."""

    exit_code: ClassVar[int] = 4


class Stopped(Exception):
    """A signal stopped the training; a checkpoint is saved, from which the same command resumes."""

    def __init__(self, exit_code: int, step: int) -> None:
        super().__init__(f"stopped after iteration {step}")
        self.exit_code = exit_code
        self.step = step


@dataclass(frozen=True)
class Plan:
    """Length and intervals of a training.

    Args:
        iterations: Number of iterations.
        lr: Learning rate, multiplied by the factor of the schedule.
        checkpoint_seconds, log_every: Seconds between checkpoints; iterations between log lines.
        evaluate_every: Iterations between evaluations; None for one epoch, or for the end only if
            there are no epochs.
        clip: Largest norm of the whole gradient, to which larger ones are scaled; None: no limit.
        keep_weights: Whether to keep the weights of every evaluation.
    """

    iterations: int
    lr: float
    checkpoint_seconds: float
    log_every: int
    evaluate_every: int | None = None
    clip: float | None = None
    keep_weights: bool = False


class Evaluation(NamedTuple):
    """Scores of a split."""

    scores: dict[str, float]  # by metric
    standard_errors: dict[str, float]  # of the scores that are means over examples
    count: int  # of examples


class _Scored(NamedTuple):
    """Scores of one batch."""

    values: dict[str, Tensor]  # metric -> values of the examples (B,)
    nfe: float  # evaluations of f; NaN for a model without an ODE


Log = Callable[[str, int, dict[str, float]], None]
"""log(split, step, metrics)."""


class Trainer:
    """Trains a model on a task, in one process or in one of several.

    Raises:
        DivergedError, SolverError: Training cannot continue; the last checkpoint is intact.
        Stopped: A signal was received; a checkpoint is saved.
    """

    def __init__(
        self,
        *,
        task: Task,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        plan: Plan,
        checkpoints: Checkpoints,
        signals: Signals,
        processes: Processes,
        device: torch.device,
        engine: TrainingEngine | None = None,
    ) -> None:
        self.task, self.model, self.optimizer, self.schedule = task, model, optimizer, schedule
        self.plan, self.checkpoints, self.signals = plan, checkpoints, signals
        self.processes, self.device = processes, device
        self.engine = engine or TrainingEngine("eager")
        self.objective = processes.objective(task, model)
        self.position = Position()
        self._saved_at = time.monotonic()
        self._saved_step: int | None = None

    def resume(self) -> tuple[str, ...]:
        """Load the last checkpoint, if there is one; returns notes for the user."""
        loaded = self.processes.broadcast_from_rank0(self.checkpoints.load_last)
        if loaded is None:
            return ()
        state = loaded.state
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.position = Position.from_state(state["position"])
        set_random_state(state["random"], self.device)
        self._saved_step = self.position.step
        return (*loaded.notes, *self.engine.restore(state.get("engine", {})))

    def train(self, log: Log, shown: Callable[[Iterable[int]], Iterator[int]]) -> None:
        """Train to the end of the plan. `shown` wraps the remaining steps, for a progress bar."""
        per_epoch = self.task.iterations_per_epoch
        position = self.position
        batches: Iterator[Batch] | None = None
        self._stop_if_signalled()
        self._evaluate_if_due(log)
        for step in shown(range(position.step, self.plan.iterations)):
            epoch, index = divmod(step, per_epoch) if per_epoch else (0, step)
            if batches is None or index == 0:
                batches = self.task.training_batches(epoch, index)
            metrics = self._iterate(step, next(batches))
            position.step = step + 1
            position.window.add(metrics)
            position.epoch.add(metrics)
            if position.step % self.plan.log_every == 0:
                log("train", position.step, position.window.take())
            self._stop_if_signalled()
            self._evaluate_if_due(log)
            if time.monotonic() - self._saved_at > self.plan.checkpoint_seconds:
                self._save()

    def evaluate(self, split: str) -> Evaluation:
        """The task's scores on a split, with their cost.

        Processes evaluate different batches and gather them: scores do not depend on their number.
        """
        began = time.perf_counter()
        every = self.processes.all_gather(self._scored(split))
        scored = [one for one in chain(*zip_longest(*every)) if one is not None]
        nfe = [one.nfe for one in scored]
        names = scored[0].values if scored else {}
        whole = {name: torch.cat([one.values[name] for one in scored]) for name in names}
        count = max((len(x) for x in whole.values()), default=0)
        means = {name: float(x.mean()) for name, x in whole.items()}
        errors = {name: float(x.std(correction=0)) / math.sqrt(count) for name, x in whole.items()}
        scores = dict(self.task.finalize_scores(means))
        if not any(map(math.isnan, nfe)):
            scores["nfe_forward"] = sum(nfe) / len(nfe)
        scores["evaluation_seconds"] = time.perf_counter() - began
        return Evaluation(scores, errors, count)

    def _scored(self, split: str) -> list["_Scored"]:
        """The scores of this process's batches of a split."""
        scored = []
        self.model.eval()
        with torch.no_grad():
            for i, batch in enumerate(self.task.evaluation_batches(split)):
                turn = i % self.processes.count
                if turn == 0:
                    self._stop_if_signalled()
                if turn == self.processes.rank:
                    scores = self.task.scores(self.model, batch)
                    values = {name: value.double().cpu() for name, value in scores.items()}
                    nfe = solver_cost(self.model).get("nfe_forward", math.nan)
                    scored.append(_Scored(values, nfe))
        self.model.train()
        return scored

    def test(self) -> tuple[Evaluation, Evaluation]:
        """Evaluate the last model on the test set, then the selected one, which stays loaded."""
        last = self.evaluate("test")
        if self.position.best_step == self.position.step:
            return last, last
        self.select()
        return last, self.evaluate("test")

    def select(self) -> None:
        """Load the model with the best validation score, that of position.best_step."""
        best = self.processes.broadcast_from_rank0(self.checkpoints.load_best)
        if best is not None:
            self.model.load_state_dict(best.state["model"])

    def diagnose(self) -> dict[str, object]:
        """The task's diagnostics of the current model."""
        self.model.eval()
        with torch.no_grad():
            return dict(self.task.diagnostics(self.model))

    @property
    def epochs(self) -> float | None:
        """The plan's length in epochs; None for infinite data."""
        per_epoch = self.task.iterations_per_epoch
        return None if per_epoch is None else self.plan.iterations / per_epoch

    def _iterate(self, step: int, batch: Batch) -> dict[str, float]:
        began = time.perf_counter()
        lr = self.plan.lr * self.schedule(step / self.plan.iterations)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        measured = (step + 1) % self.plan.log_every == 0
        self.optimizer.zero_grad(set_to_none=True)
        if measured:
            memory, loss, metrics = self._measured(step, batch)
        else:
            memory = {}
            loss, metrics = self._differentiate(step, batch)
        if self.plan.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.clip)
        self.optimizer.step()
        values = {name: float(value) for name, value in metrics.items()}
        values |= (
            {self.task.loss_metric: loss, "learning_rate": lr} | solver_cost(self.model) | memory
        )
        return self.processes.reduce_metrics(values | {"step_seconds": time.perf_counter() - began})

    def _differentiate(self, step: int, batch: Batch) -> tuple[float, dict[str, Tensor]]:
        try:
            with self.engine.training():
                loss, metrics = self.objective.loss(batch)
                value = float(loss.detach())
                if not math.isfinite(value):
                    lr = self.optimizer.param_groups[0]["lr"]
                    raise DivergedError(
                        f"the loss is {value} at iteration {step + 1}, before its backward pass; "
                        f"use a smaller optimizer.lr (the learning rate here is {lr:g})"
                    )
                self.objective.backward(loss)
        except SolverError as error:
            error.args = (f"{error} (training iteration {step + 1})",)
            raise
        return value, dict(metrics)

    def _measured(
        self, step: int, batch: Batch
    ) -> tuple[dict[str, float], float, dict[str, Tensor]]:
        """Differentiate one batch and measure the memory."""
        reset_peak_memory(self.device)
        saved = SavedBytes(exclude=self.model.parameters())
        with saved:
            loss, metrics = self._differentiate(step, batch)
        peak = peak_memory_bytes(self.device)
        memory = {
            "saved_bytes": float(saved.peak_bytes),
            "peak_bytes": float(saved.peak_bytes if peak is None else peak),
        }
        return memory, loss, metrics

    def _evaluate_if_due(self, log: Log) -> None:
        """Evaluate at the interval of the plan and after the last iteration, once per step."""
        position = self.position
        step, every = position.step, self.plan.evaluate_every or self.task.iterations_per_epoch
        ends = step == self.plan.iterations or (every is not None and step % every == 0)
        if step == position.evaluated or not ends:
            return
        scores = self.evaluate("validation").scores
        position.evaluated = step
        score = scores[self.task.selection_metric]
        best = score < position.best
        if best:
            position.best, position.best_step = score, step
        log("epoch", step, position.epoch.take())
        log("validation", step, scores)
        # the processes drew different numbers: for their batches, and rank 0 for pictures
        random = self.processes.broadcast_from_rank0(lambda: random_state(self.device))
        set_random_state(random, self.device)
        self._save(best)
        if self.plan.keep_weights and self.processes.rank == 0:
            self.checkpoints.keep_weights(self.model.state_dict(), step)

    def _stop_if_signalled(self) -> None:
        """Stop all processes after the same iteration if any of them received a signal."""
        exit_code = self.processes.all_reduce_max(self.signals.exit_code)
        if exit_code:
            if self.position.step != self._saved_step:  # else `select` may have replaced the model
                self._save()
            raise Stopped(exit_code, self.position.step)

    def _save(self, best: bool = False) -> None:
        position = self.position
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "position": position.state(),
            "random": random_state(self.device),
            "engine": self.engine.state(),
        }
        if self.processes.rank == 0:
            self.checkpoints.save(state, position.step, best)
        self._saved_at, self._saved_step = time.monotonic(), position.step
