"""The loop: bit-exact resume, selection, stopping at any place, and what a failure leaves."""

import json
import math
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from node_repro.data import Batch, ImageData, Split
from node_repro.models import Classifier
from node_repro.models.odenet import ODENet
from node_repro.ode import RungeKutta
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.methods.explicit import BOSH3
from node_repro.ode.solution import SolverError
from node_repro.runs.metrics import METRICS
from node_repro.tasks import Loss
from node_repro.tasks.mnist import MNIST
from node_repro.training import checkpoint
from node_repro.training.checkpoint import Checkpoints
from node_repro.training.processes.alone import Alone
from node_repro.training.schedule import Cosine
from node_repro.training.signals import Signals
from node_repro.training.trainer import DivergedError, Plan, Stopped, Trainer

CPU = torch.device("cpu")
ITERATIONS = 8  # of 3 an epoch: evaluations after 3, 6 and 8
EVALUATED = (3, 6, 8)

Line = tuple[str, int, dict[str, float]]


def noise() -> ImageData:
    generator = torch.Generator().manual_seed(0)

    def split(size: int) -> Split:
        images = torch.randint(256, (size, 28, 28), generator=generator, dtype=torch.uint8)
        return Split(images, torch.arange(size) % 10)

    return ImageData(
        name="noise",
        train=split(22),
        test=split(10),
        origin="a test",
        sha256="",
        complete=True,
        notice=None,
    )


class Digits(MNIST):
    """Twelve images to train on, ten to select, ten to test; what a test wants happens inside.

    on_loss: called with the number of the loss, from 1, and the loss; gives the loss.
    on_batch: called with the split before each of its evaluation batches.
    errors: the validation error of each evaluation, in place of the measured one.
    """

    def __init__(self) -> None:
        super().__init__(
            data=noise(),
            crop_padding=2,
            validation=10,
            batch_size=4,
            eval_batch_size=5,
            seed=0,
            device=CPU,
            dtype=torch.float32,
        )
        self.losses = 0
        self.on_loss: Callable[[int, Loss], Loss] = lambda number, loss: loss
        self.on_batch: Callable[[str], None] = lambda split: None
        self.errors: dict[int, float] = {}
        self.evaluations = 0

    def loss(self, model: Classifier, batch: Batch) -> Loss:
        self.losses += 1
        return self.on_loss(self.losses, super().loss(model, batch))

    def evaluation_batches(self, split: str) -> Iterator[Batch]:
        self.evaluations += split == "validation"
        for batch in super().evaluation_batches(split):
            self.on_batch(split)
            yield batch

    def scores(self, model: Classifier, batch: Batch) -> Mapping[str, Tensor]:
        scores = dict(super().scores(model, batch))
        if self.evaluations in self.errors:
            scores["error"] = torch.full((len(batch.labels),), self.errors[self.evaluations])
        return scores


def odenet() -> ODENet:
    torch.manual_seed(0)
    control = Integral(
        rtol=1e-2, atol=1e-2, safety=0.9, factor_min=0.2, factor_max=10.0, first_step=None
    )
    return ODENet(stem="conv", channels=2, solver=RungeKutta(BOSH3, control), gradient=Adjoint())


class Training:
    """One start of one training: a trainer with everything new but the checkpoints."""

    def __init__(
        self,
        folder: Path,
        *,
        iterations: int = ITERATIONS,
        log_every: int = 2,
        checkpoint_seconds: float = 1e9,
        lr: float = 0.05,
        clip: float | None = None,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.task, self.model, self.signals = Digits(), odenet(), Signals()
        self.lines: list[Line] = []
        self.checkpoints = Checkpoints(folder / "checkpoints", "s1")
        self.trainer = Trainer(
            task=self.task,
            model=self.model,
            optimizer=torch.optim.SGD(self.model.parameters(), lr=1.0, momentum=0.9),
            schedule=Cosine(final=0.1, warmup=0.25),
            plan=Plan(iterations, lr, checkpoint_seconds, log_every, clip=clip),
            checkpoints=self.checkpoints,
            signals=self.signals,
            processes=Alone(),
            device=CPU,
        )
        self.notes = self.trainer.resume()

    def go(self, *, stop_after: int | None = None) -> "Training":
        def shown(steps: Iterable[int]) -> Iterator[int]:
            for step in steps:
                if step + 1 == stop_after:
                    self.stop()
                yield step

        self.trainer.train(self.log, shown)
        return self

    def log(self, split: str, step: int, metrics: dict[str, float]) -> None:
        self.lines.append((split, step, dict(metrics)))

    def stop(self) -> None:
        self.signals.received = signal.SIGTERM

    def stopped(self, **options: Any) -> "Training":
        with pytest.raises(Stopped) as caught:
            self.go(**options)
        assert caught.value.exit_code == 143
        assert caught.value.step == self.trainer.position.step == saved(self)[1]
        return self


def saved(training: Training) -> tuple[dict, int]:
    loaded = training.checkpoints.load_last()
    assert loaded is not None and loaded.notes == ()
    return loaded.state, loaded.step


def untimed(value: object) -> object:
    """Without wall times, which are the one thing that a resume may change."""
    if isinstance(value, dict):
        return {k: untimed(v) for k, v in value.items() if not str(k).endswith("_seconds")}
    if isinstance(value, list | tuple):
        return [untimed(item) for item in value]
    return value.tolist() if isinstance(value, Tensor) else value


def same_end(resumed: Training, whole: Training) -> None:
    for part in ("model", "optimizer", "position", "random"):
        assert untimed(saved(resumed)[0][part]) == untimed(saved(whole)[0][part]), part
    best, of_whole = resumed.checkpoints.load_best(), whole.checkpoints.load_best()
    assert best is not None and of_whole is not None and best.step == of_whole.step
    assert untimed(best.state["model"]) == untimed(of_whole.state["model"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """The uninterrupted training that others are compared with."""
    return Training(tmp_path_factory.mktemp("whole")).go()


@pytest.mark.parametrize("stop_after", [1, 3, 4, 8])
def test_training_in_two_parts_is_the_training_in_one_to_the_last_bit(
    stop_after: int, whole: Training, tmp_path: Path
) -> None:
    first = Training(tmp_path).stopped(stop_after=stop_after)
    second = Training(tmp_path).go()
    same_end(second, whole)
    assert untimed(first.lines + second.lines) == untimed(whole.lines)


def test_training_stopped_after_every_iteration_is_the_same_too(
    whole: Training, tmp_path: Path
) -> None:
    lines: list[Line] = []
    for step in range(1, ITERATIONS + 1):
        lines += Training(tmp_path).stopped(stop_after=step).lines
    last = Training(tmp_path).go()
    same_end(last, whole)
    assert untimed(lines + last.lines) == untimed(whole.lines)


def test_lines_come_when_due_and_hold_declared_metrics_only(whole: Training) -> None:
    places = [(split, step) for split, step, _ in whole.lines]
    assert [step for split, step in places if split == "train"] == [2, 4, 6, 8]
    assert [step for split, step in places if split == "validation"] == list(EVALUATED)
    assert [step for split, step in places if split == "epoch"] == list(EVALUATED)
    for split, _, metrics in whole.lines:
        assert metrics.keys() <= METRICS.keys()
        assert all(math.isfinite(value) for value in metrics.values())
        json.dumps(metrics)
        if split == "validation":
            assert metrics.keys() == {"loss_nats", "error", "nfe_forward", "evaluation_seconds"}
        else:
            assert metrics.keys() >= {
                "loss_nats",
                "error",
                "learning_rate",
                "nfe_forward",
                "nfe_backward",
                "nvjp_backward",
                "accepted",
                "rejected",
                "accepted_backward",
                "rejected_backward",
                "h_min",
                "h_max",
                "step_seconds",
                "saved_bytes",
                "peak_bytes",
            }


def test_line_of_training_is_the_mean_since_the_line_before(tmp_path: Path) -> None:
    every = Training(tmp_path / "a", log_every=1, iterations=4).go().lines
    second = Training(tmp_path / "b", log_every=2, iterations=4).go().lines
    singles = [metrics["loss_nats"] for split, _, metrics in every if split == "train"]
    means = [metrics["loss_nats"] for split, _, metrics in second if split == "train"]
    assert means == pytest.approx([sum(singles[:2]) / 2, sum(singles[2:]) / 2], rel=1e-12)


def test_learning_rate_follows_the_schedule(tmp_path: Path) -> None:
    lines = Training(tmp_path, log_every=1).go().lines
    rates = [metrics["learning_rate"] for split, _, metrics in lines if split == "train"]
    schedule = Cosine(final=0.1, warmup=0.25)
    assert rates == [0.05 * schedule(step / ITERATIONS) for step in range(ITERATIONS)]
    assert rates[0] == 0.0 and max(rates) == rates[2] == 0.05


def test_selected_model_is_the_best_on_the_validation_set(tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.task.errors = {1: 0.5, 2: 0.25, 3: 0.25}  # of equals the first
    weights = {}
    log = training.log

    def note(split: str, step: int, metrics: dict[str, float]) -> None:
        log(split, step, metrics)
        weights[step] = {name: w.clone() for name, w in training.model.state_dict().items()}

    training.log = note  # type: ignore[method-assign]
    training.go()
    assert [m["error"] for split, _, m in training.lines if split == "validation"] == [
        0.5,
        0.25,
        0.25,
    ]
    assert (training.trainer.position.best, training.trainer.position.best_step) == (0.25, 6)
    training.trainer.select()
    assert training.trainer.position.best_step == 6
    assert untimed(training.model.state_dict()) == untimed(weights[6])
    assert untimed(saved(training)[0]["model"]) == untimed(weights[8])
    assert untimed(weights[6]) != untimed(weights[8])


def test_best_so_far_survives_a_resume(tmp_path: Path) -> None:
    first = Training(tmp_path)
    first.task.errors = {1: 0.1}
    first.stopped(stop_after=4)
    second = Training(tmp_path)
    second.task.errors = {1: 0.2, 2: 0.3}
    second.go()
    assert second.trainer.position.best == pytest.approx(0.1)
    second.trainer.select()
    assert second.trainer.position.best_step == 3


@pytest.mark.parametrize("evaluation", [1, 2, 3])
def test_stop_during_an_evaluation_saves_and_the_evaluation_is_made_again(
    evaluation: int, whole: Training, tmp_path: Path
) -> None:
    first = Training(tmp_path)

    def stop_in_the_first_batch(split: str) -> None:
        if first.task.evaluations == evaluation:
            first.stop()

    first.task.on_batch = stop_in_the_first_batch
    first.stopped()
    at = EVALUATED[evaluation - 1]
    assert saved(first)[1] == at
    assert [step for split, step, _ in first.lines if split == "validation"] == list(
        EVALUATED[: evaluation - 1]
    )
    second = Training(tmp_path).go()
    assert second.lines[0][:2] == ("epoch", at) and second.lines[1][:2] == ("validation", at)
    same_end(second, whole)
    assert untimed(first.lines + second.lines) == untimed(whole.lines)


def test_stop_while_the_selected_model_is_tested_keeps_the_last_model(
    whole: Training, tmp_path: Path
) -> None:
    training = Training(tmp_path)
    training.task.errors = {1: 0.0}
    training.go()
    last = untimed(training.model.state_dict())
    training.trainer.select()
    assert training.trainer.position.best_step == 3
    training.stop()
    with pytest.raises(Stopped):
        training.trainer.evaluate("test")
    assert untimed(saved(training)[0]["model"]) == last == untimed(saved(whole)[0]["model"])


def test_stop_before_the_first_iteration_saves_too(whole: Training, tmp_path: Path) -> None:
    first = Training(tmp_path)
    first.stop()
    assert first.stopped().trainer.position.step == 0
    same_end(Training(tmp_path).go(), whole)


def test_evaluation_neither_trains_nor_changes_the_state(tmp_path: Path) -> None:
    training = Training(tmp_path)
    before, generator = untimed(training.model.state_dict()), torch.get_rng_state()
    first, second = (untimed(training.trainer.evaluate("test").scores) for _ in range(2))
    assert first == second
    assert untimed(training.model.state_dict()) == before
    assert torch.equal(torch.get_rng_state(), generator)
    assert training.model.training and not training.checkpoints.directory.exists()


def test_checkpoints_come_by_the_clock(tmp_path: Path) -> None:
    steps: list[int] = []
    training = Training(tmp_path, checkpoint_seconds=0.0)
    save = training.checkpoints.save

    def note(state: Mapping[str, object], step: int, best: bool = False) -> None:
        steps.append(step)
        save(state, step, best)

    training.checkpoints.save = note  # type: ignore[method-assign]
    training.go()
    assert sorted(set(steps)) == list(range(1, ITERATIONS + 1))


def test_checkpoints_by_the_clock_change_nothing(whole: Training, tmp_path: Path) -> None:
    often = Training(tmp_path, checkpoint_seconds=0.0).go()
    same_end(often, whole)
    assert untimed(often.lines) == untimed(whole.lines)


def test_damaged_checkpoint_costs_iterations_but_no_bit(whole: Training, tmp_path: Path) -> None:
    first = Training(tmp_path).stopped(stop_after=5)
    newest = first.checkpoints.directory / "step_000000005.pt"
    newest.write_bytes(newest.read_bytes()[:-100])
    second = Training(tmp_path)
    assert "step_000000005.pt is damaged" in second.notes[0]
    assert second.trainer.position.step == 3
    same_end(second.go(), whole)


def test_kill_between_the_newest_and_the_best_checkpoint_selects_the_right_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def training() -> Training:
        made = Training(tmp_path)
        made.task.errors = {1: 0.5, 2: 0.25, 3: 0.75}
        made.task.evaluations = 0 if made.trainer.position.step == 0 else 1
        if made.trainer.position.step == 6:
            made.task.evaluations = 2
        return made

    written: list[str] = []
    write = checkpoint.write_atomically

    def killed_after_the_third_file(path: Path, data: bytes) -> None:
        write(path, data)
        written.append(path.name)
        if len(written) == 3:  # two files at step 3, the first of two at step 6
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(checkpoint, "write_atomically", killed_after_the_third_file)
        training().go()
    second = training().go()
    assert second.trainer.position.best_step == 6
    best = second.checkpoints.load_best()
    assert best is not None and best.step == 6


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_loss_that_is_no_number_ends_the_training_before_its_backward_pass(
    value: float, tmp_path: Path
) -> None:
    training = Training(tmp_path, log_every=1)
    weights: list[object] = []

    def diverge(number: int, loss: Loss) -> Loss:
        if number == 5:
            weights.append(untimed(training.model.state_dict()))
            return Loss(loss.loss * value, loss.metrics)
        return loss

    training.task.on_loss = diverge
    with pytest.raises(DivergedError) as caught:
        training.go()
    rate = 0.05 * Cosine(final=0.1, warmup=0.25)(4 / ITERATIONS)
    message = str(caught.value)
    assert f"the loss is {value} at iteration 5, before its backward pass" in message
    assert "optimizer.lr" in message and f"{rate:g}" in message
    assert caught.value.exit_code == 4
    assert [untimed(training.model.state_dict())] == weights
    assert all(parameter.grad is None for parameter in training.model.parameters())
    assert max(step for split, step, _ in training.lines if split == "train") == 4
    assert saved(training)[1] == 3
    assert Training(tmp_path).trainer.position.step == 3


class Broken(nn.Module):
    """Stands for f from some call on: its slope is NaN, forwards or backwards."""

    def __init__(self, f: nn.Module, *, backward: bool) -> None:
        super().__init__()
        self.f, self.backward = f, backward

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        dy = self.f(t, y)
        return dy * math.nan if torch.is_grad_enabled() == self.backward else dy


@pytest.mark.parametrize("backward", [False, True])
def test_failing_solve_names_the_iteration_and_leaves_the_last_checkpoint(
    backward: bool, tmp_path: Path
) -> None:
    training = Training(tmp_path)

    def shown(steps: Iterable[int]) -> Iterator[int]:
        for step in steps:
            if step + 1 == 5:
                training.model.block.f = Broken(training.model.block.f, backward=backward)
            yield step

    with pytest.raises(SolverError, match=r"\(training iteration 5\)") as caught:
        training.trainer.train(training.log, shown)
    assert caught.value.exit_code == 4
    assert saved(training)[1] == 3


def test_finished_training_has_nothing_left_to_do(whole: Training, tmp_path: Path) -> None:
    Training(tmp_path).go()
    again = Training(tmp_path)
    before = untimed(again.model.state_dict())
    assert again.go().lines == [] and again.task.losses == 0
    assert untimed(again.model.state_dict()) == before
    same_end(again, whole)


def test_a_clipped_gradient_moves_the_parameters_by_no_more_than_its_norm(tmp_path: Path) -> None:
    moved = {}
    for clip in (None, 1e-3):
        training = Training(tmp_path / str(clip), lr=0.5, clip=clip)
        before = [p.detach().clone() for p in training.model.parameters()]
        training.go()
        pairs = zip(training.model.parameters(), before, strict=True)
        moved[clip] = math.sqrt(sum(float((p.detach() - b).square().sum()) for p, b in pairs))
    assert moved[1e-3] <= ITERATIONS * 0.5 * 1e-3 / (1 - 0.9)  # the momentum
    assert moved[None] > 10 * moved[1e-3] > 0
