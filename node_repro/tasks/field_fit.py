"""A vector field learned from one noisy trajectory, as in the demos of torchdiffeq and autograd.

The smallest complete example: windows of a known trajectory are solved from their first point to
their end, and the mean absolute difference is minimised.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, NamedTuple, Unpack

import torch
from annotated_types import Ge
from torch import Tensor

from node_repro.data import DataError
from node_repro.data.cubic_spiral import TrajectoryData, field
from node_repro.data.generated import seeded_generator
from node_repro.models import TrajectoryModel
from node_repro.tasks import Loss, Picture, Task, TaskSettings
from node_repro.tasks.arrays import to_numpy


class Windows(NamedTuple):
    """Windows x (w, B, 2) of the trajectory at times ts (w,) from 0; the solve starts at x[0]."""

    ts: Tensor
    x: Tensor

    @property
    def examples(self) -> int:
        """Number of windows."""
        return self.x.shape[1]

    def select(self, indices: Tensor) -> "Windows":
        """The windows at the indices (b,)."""
        return Windows(self.ts, self.x[:, indices.to(self.x.device)])


class FieldFit(Task[TrajectoryModel, Windows]):
    """Fits a vector field to windows of one trajectory.

    Validation and test are the same, the whole trajectory from its start, because there is only
    one.

    Args:
        data: The trajectory.
        window: Points of a training window.
        settings: Settings of the run.
    """

    loss_metric = "absolute_error"
    selection_metric = "absolute_error"
    evaluates_whole_split = True

    def __init__(
        self,
        *,
        data: TrajectoryData,
        window: Annotated[int, Ge(2)],
        **settings: Unpack[TaskSettings],
    ) -> None:
        super().__init__(**settings)
        if window > len(data.ts):
            raise DataError(
                f"task.window={window} is longer than the trajectory, which has {len(data.ts)} "
                "points."
            )
        self.ts, self.window = data.ts, window
        self.clean = data.clean.to(self.device, self.dtype)
        self.noisy = data.noisy.to(self.device, self.dtype)

    def training_batch(self, step: int) -> Windows:
        random = seeded_generator(self.seed, "windows", step)
        last = len(self.ts) - self.window
        first = torch.randint(last + 1, (self.batch_size,), generator=random)
        places = first + torch.arange(self.window)[:, None]
        return Windows(self.ts[: self.window], self.noisy[places.to(self.noisy.device)])

    def evaluation_batches(self, split: str) -> Iterator[Windows]:
        yield Windows(self.ts, self.clean[:, None])

    def loss(self, model: TrajectoryModel, batch: Windows) -> Loss:
        return Loss((model(batch.x[0], batch.ts) - batch.x).abs().mean(), {})

    def scores(self, model: TrajectoryModel, batch: Windows) -> Mapping[str, Tensor]:
        """Scores at each time of the trajectory.

        field_error is the squared distance from the true field at the trajectory's points, divided
        by the mean square of the true field.
        """
        x = batch.x[:, 0]
        learned, true = model.field(x), field(x)
        return {
            "absolute_error": (model(batch.x[0], batch.ts) - batch.x).abs().mean((1, 2)),
            "field_error": (learned - true).square().mean(1) / true.square().mean(),
        }

    def finalize_scores(self, means: Mapping[str, float]) -> Mapping[str, float]:
        return {k: v**0.5 if k == "field_error" else v for k, v in means.items()}

    def pictures(self, model: TrajectoryModel, *, final: bool) -> Iterator[Picture]:
        from node_repro.figures import field_fit

        x = model(self.clean[:1], self.ts)[:, 0]
        grid = torch.linspace(-2, 2, 21).to(x)
        points = torch.stack(torch.meshgrid(grid, grid, indexing="xy"), dim=-1).reshape(-1, 2)
        arrays = (self.ts, self.clean, x, points, model.field(points), field(points))
        yield Picture("field.png", field_fit.panels(*map(to_numpy, arrays)))
