"""A line as the solution of dy/dx = a from a known start, compared with y = a x + b.

The ODE has one parameter less because the start is given instead of fitted. Least squares through
the start has one parameter, too, and the same solution.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Unpack

import torch
from torch import Tensor
from torch.nn import functional as F

from node_repro.data.generated import shuffled_indices
from node_repro.data.line import LENGTH, LineData, LinePoints
from node_repro.models import LineModel
from node_repro.tasks import Loss, Picture, Task, TaskSettings
from node_repro.tasks.arrays import to_numpy
from node_repro.tasks.likelihood import take_roots


class LineFit(Task[LineModel, LinePoints]):
    """Fits a line. With one parameter there is nothing to select, so the validation split is the
    training split.

    Args:
        data: Noisy points of a line, and its start.
        settings: Settings of the run.
    """

    loss_metric = "squared_error"
    selection_metric = "rmse_values"
    evaluates_whole_split = True

    def __init__(self, *, data: LineData, **settings: Unpack[TaskSettings]) -> None:
        super().__init__(**settings)
        self.data = data
        self.start = torch.full((1,), data.start, dtype=self.dtype, device=self.device)

    def training_batch(self, step: int) -> LinePoints:
        train = self.data.train
        indices = shuffled_indices(len(train.x), self.batch_size, self.seed, step).sort().values
        return LinePoints(*(part[indices] for part in train))

    def evaluation_batches(self, split: str) -> Iterator[LinePoints]:
        yield {"validation": self.data.train, "test": self.data.test}[split]

    def loss(self, model: LineModel, batch: LinePoints) -> Loss:
        return Loss(F.mse_loss(self._solve(model, batch.x), batch.y.to(self.start)), {})

    def scores(self, model: LineModel, batch: LinePoints) -> Mapping[str, Tensor]:
        y = self._solve(model, batch.x)
        noisy = (y - batch.y.to(self.start))[:, 0].square()
        clean = (y - batch.clean.to(self.start))[:, 0].square()
        return {"squared_error": noisy, "mse_values": noisy, "mse_function": clean}

    def finalize_scores(self, means: Mapping[str, float]) -> Mapping[str, float]:
        return take_roots(means)

    def diagnostics(self, model: LineModel) -> Mapping[str, object]:
        """Slopes by training, by one-parameter least squares through the start and by two-parameter
        least squares, and RMSE on the test points.
        """
        x, y, _ = self.data.train
        y, sd, slope = y[:, 0], self.data.noise_sd, self.data.slope
        through = float((x * (y - self.data.start)).sum() / x.square().sum())
        a, b = self._least_squares()
        test = self.data.test
        solved = self._solve(model, test.x).double().cpu()
        return {
            "slope": slope,
            "ode": {
                "parameters": 1,
                "slope": model.slope,
                "slope_error": model.slope - slope,
                "slope_standard_error": sd / math.sqrt(float(x.square().sum())),
                "rmse_function": _rms(solved - test.clean),
                "rmse_values": _rms(solved - test.y),
            },
            "least_squares_through_start": {"parameters": 1, "slope": through},
            "least_squares": {
                "parameters": 2,
                "slope": a,
                "intercept": b,
                "slope_error": a - slope,
                "slope_standard_error": sd / math.sqrt(float((x - x.mean()).square().sum())),
                "rmse_function": _rms(a * test.x[:, None] + b - test.clean),
                "rmse_values": _rms(a * test.x[:, None] + b - test.y),
            },
        }

    def pictures(self, model: LineModel, *, final: bool) -> Iterator[Picture]:
        from node_repro.figures import depth

        x, y, _ = self.data.train
        xs = torch.linspace(0, LENGTH, 2, dtype=torch.float64)
        a, b = self._least_squares()
        lines = {
            "true line": self.data.start + self.data.slope * xs,
            "dy/dx = a from y(0): 1 parameter": model(self.start, xs)[:, 0],
            "y = a x + b: 2 parameters": a * xs + b,
        }
        content = depth.lines(
            to_numpy(xs),
            {name: to_numpy(line) for name, line in lines.items()},
            to_numpy(torch.stack((x, y[:, 0]), dim=1)),
            self.data.start,
        )
        yield Picture("line.png", content)

    def _least_squares(self) -> tuple[float, float]:
        """a and b of the least-squares line y = a x + b."""
        x, y, _ = self.data.train
        rows = torch.stack((x, torch.ones_like(x)), dim=1)
        a, b = torch.linalg.lstsq(rows, y).solution[:, 0].tolist()
        return a, b

    def _solve(self, model: LineModel, x: Tensor) -> Tensor:
        """y (N, 1) at increasing x (N,), solved from the start at 0."""
        return model(self.start, torch.cat((x.new_zeros(1), x)))[1:]


def _rms(x: Tensor) -> float:
    return math.sqrt(float(x.square().mean()))
