"""A field learned from one noisy trajectory of it: the demo of torchdiffeq's and autograd's odeint.

The smallest run that shows everything: windows of a known trajectory start at their first point,
are solved to their end, and the mean absolute difference is brought down by the gradient method.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from node_repro.data import DataError
from node_repro.data.cubic_spiral import TrajectoryData, field
from node_repro.data.series import generator
from node_repro.tasks import Loss, Picture


class Windows(NamedTuple):
    """ts: (w,) from 0. x: (w, B, 2), of which x[0] is where the solve starts."""

    ts: Tensor
    x: Tensor

    @property
    def examples(self) -> int:
        return self.x.shape[1]

    def of(self, chosen: Tensor) -> "Windows":
        """The windows at the indices chosen: (b,)."""
        return Windows(self.ts, self.x[:, chosen])


class FieldFit:
    """window: points of a training window. Validation and test are the same: the whole trajectory
    from its start, there being one alone.
    """

    loss_metric = "absolute_error"
    selected_by = "absolute_error"
    iterations_per_epoch = None

    def __init__(
        self,
        *,
        data: TrajectoryData,
        window: int,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        if window > len(data.ts):
            raise DataError(
                f"task.window={window} is longer than the {len(data.ts)} points of the trajectory."
            )
        self.ts = data.ts
        self.clean, self.noisy = data.clean.to(device, dtype), data.noisy.to(device, dtype)
        self.window, self.batch_size, self.seed = window, batch_size, seed

    @property
    def sizes(self) -> Mapping[str, int]:
        return {}

    def training_batches(self, epoch: int, start: int) -> Iterator[Windows]:
        step = start
        while True:
            random = generator(self.seed, "windows", step)
            first = torch.randint(
                len(self.ts) - self.window + 1, (self.batch_size,), generator=random
            )
            places = first + torch.arange(self.window)[:, None]
            yield Windows(self.ts[: self.window], self.noisy[places.to(self.noisy.device)])
            step += 1

    def evaluation_batches(self, split: str) -> Iterator[Windows]:
        yield Windows(self.ts, self.clean[:, None])

    def loss(self, model: nn.Module, batch: Windows) -> Loss:
        return Loss((model(batch.x[0], batch.ts) - batch.x).abs().mean(), {})

    def scores(self, model: nn.Module, batch: Windows) -> Mapping[str, Tensor]:
        """Of each time of the trajectory. field_error: its squared distance from the true field at
        the trajectory's points, over the mean square of that.
        """
        x = batch.x[:, 0]
        found = model.field(x)  # pyright: ignore[reportCallIssue]
        true = field(x)
        return {
            "absolute_error": (model(batch.x[0], batch.ts) - batch.x).abs().mean((1, 2)),
            "field_error": (found - true).square().mean(1) / true.square().mean(),
        }

    def concluded(self, means: Mapping[str, float]) -> Mapping[str, float]:
        return {k: v**0.5 if k == "field_error" else v for k, v in means.items()}

    def findings(self, model: nn.Module) -> Mapping[str, object]:
        return {}

    def pictures(self, model: nn.Module, *, final: bool) -> Iterator[Picture]:
        from node_repro.figures import field_fit

        x = model(self.clean[:1], self.ts)[:, 0]
        grid = torch.linspace(-2, 2, 21).to(x)
        points = torch.stack(torch.meshgrid(grid, grid, indexing="xy"), dim=-1).reshape(-1, 2)
        found = model.field(points)  # pyright: ignore[reportCallIssue]
        yield Picture(
            "field.png",
            field_fit.panels(*map(_numpy, (self.ts, self.clean, x, points, found, field(points)))),
        )


def _numpy(x: Tensor) -> np.ndarray:
    return x.detach().cpu().numpy()
