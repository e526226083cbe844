"""A bouncing ball learned from noisy heights, or from the times of its bounces alone.

Throws start from heights and speeds that are known. Test throws start from others and are
data.bouncing_ball.HORIZONS times as long as those of the training.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Generic, TypeVar, Unpack

import torch
from torch import Tensor

from node_repro.data.bouncing_ball import BallData, Throws
from node_repro.models import BouncingModel, MotionModel
from node_repro.tasks import Loss, Picture, SplitTask, TaskSettings
from node_repro.tasks.arrays import to_numpy
from node_repro.tasks.likelihood import take_roots

SHOWN = 2  # test throws in pictures
POINTS = 801  # times of a drawn throw

BallModelT = TypeVar("BallModelT", bound=MotionModel)


class BallTask(SplitTask[BallModelT, Throws, Throws], Generic[BallModelT]):
    """What both tasks share: throws, scores of the heights, learned constants, pictures.

    Args:
        data: Throws of a ball.
        settings: Settings of the run.
    """

    loss_metric = "squared_error"
    metrics: ClassVar[Mapping[str, str]] = {
        "rmse_within": "RMSE of heights within the horizon",
        "rmse_ahead": "RMSE of heights ahead",
        "rmse_times": "RMSE of the bounces' times",
    }

    def __init__(self, *, data: BallData, **settings: Unpack[TaskSettings]) -> None:
        super().__init__(data, **settings)
        self.constants, self.ts, self.points = data.constants, data.ts, data.points

    def training_batch(self, step: int) -> Throws:
        return self.training_examples(step)

    def evaluation_batches(self, split: str) -> Iterator[Throws]:
        return self.evaluation_examples(split)

    def scores(self, model: BallModelT, batch: Throws) -> Mapping[str, Tensor]:
        """Squared errors of heights within the training horizon and, for longer throws, ahead."""
        heights = self._heights(model, batch)
        noisy, true = (heights - batch.heights).square(), (heights - batch.true).square()
        now, ahead = slice(self.points), slice(self.points, None)
        scores = {"mse_values": noisy[:, now].mean(1), "mse_within": true[:, now].mean(1)}
        if heights.shape[1] > self.points:
            scores["mse_ahead"] = true[:, ahead].mean(1)
        return scores

    def finalize_scores(self, means: Mapping[str, float]) -> Mapping[str, float]:
        return take_roots(means)

    def diagnostics(self, model: BallModelT) -> Mapping[str, object]:
        """The learned constants and their errors: of the floor in metres, of others relative."""
        if not isinstance(model, BouncingModel):
            return {}
        true, learned = self.constants._asdict(), dict(model.constants)
        errors = {name: abs(learned[name] / true[name] - 1) for name in ("gravity", "restitution")}
        errors["floor"] = abs(learned["floor"] - true["floor"])
        return {"learned": learned, "true": true, "error": errors}

    def pictures(self, model: BallModelT, *, final: bool) -> Iterator[Picture]:
        if not final:
            return
        from node_repro.figures import mechanics, npz

        throws = self.first_test_examples(SHOWN)
        ts = torch.linspace(0, float(self.ts[-1]), POINTS, dtype=torch.float64)
        arrays = {
            "ts": to_numpy(self.ts),
            "true": to_numpy(throws.true),
            "fine_ts": to_numpy(ts),
            "learned": to_numpy(model(throws.start, ts)[..., 0].T),
            "bounces": to_numpy(throws.true_bounces),
        }
        yield Picture("throws.png", mechanics.throws(self._horizon, **arrays))
        yield Picture("throws.npz", npz(horizon=self._horizon, **arrays))

    @property
    def _horizon(self) -> float:
        return float(self.ts[self.points - 1])

    def _heights(self, model: BallModelT, batch: Throws) -> Tensor:
        """The heights (B, T) at the times of the batch."""
        return model(batch.start, self.ts[: batch.true.shape[1]])[..., 0].T


class BallHeights(BallTask[MotionModel]):
    """Fits the motion of a ball to noisy heights.

    Args:
        data: Throws of a ball.
        settings: Settings of the run.
    """

    selection_metric = "rmse_values"

    def loss(self, model: MotionModel, batch: Throws) -> Loss:
        return Loss((self._heights(model, batch) - batch.heights).square().mean(), {})


class BallTimes(BallTask[BouncingModel]):
    """Fits the constants of a ball to the noisy times of its first bounces.

    Args:
        data: Throws of a ball.
        settings: Settings of the run.
    """

    selection_metric = "rmse_times"

    def loss(self, model: BouncingModel, batch: Throws) -> Loss:
        return Loss(self._squares(model, batch).mean(), {})

    def scores(self, model: BouncingModel, batch: Throws) -> Mapping[str, Tensor]:
        """The squared errors of the times, against noisy ones, and those of the heights."""
        return {"mse_times": self._squares(model, batch).mean(1), **super().scores(model, batch)}

    def _squares(self, model: BouncingModel, batch: Throws) -> Tensor:
        """Squared errors (B, K) of the times of bounces."""
        times = model.bounce_times(batch.start, batch.bounces.shape[1])
        return (times - batch.bounces.to(times)).square()
