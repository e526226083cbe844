"""A line by its rate of change alone: dy/dx = a from a known start, beside y = a x + b.

The solver supplies the constant, which is a parameter fewer because the start is given instead of
found. Least squares through the start has one parameter, too, and the same solution.
"""

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from node_repro.data.line import LENGTH, LineData, OnLine
from node_repro.data.order import drawn
from node_repro.tasks import Loss, Picture
from node_repro.tasks.deep import plain
from node_repro.tasks.likelihood import rooted


class LineFit:
    """data: noisy points x (N,), y (N, 1) of a line, and its start. With one parameter there is
    nothing to select, so that the training points stand for the validation.
    """

    loss_metric = "squared_error"
    selected_by = "rmse_values"
    iterations_per_epoch = None

    def __init__(
        self,
        *,
        data: LineData,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.data = data
        self.batch_size, self.seed = batch_size, seed
        self.start = torch.full((1,), data.start, dtype=dtype, device=device)

    @property
    def sizes(self) -> Mapping[str, int]:
        return {}

    def training_batches(self, epoch: int, start: int) -> Iterator[OnLine]:
        step = start
        while True:
            chosen = drawn(len(self.data.train.x), self.batch_size, self.seed, step).sort().values
            yield OnLine(*(part[chosen] for part in self.data.train))
            step += 1

    def evaluation_batches(self, split: str) -> Iterator[OnLine]:
        yield {"validation": self.data.train, "test": self.data.test}[split]

    def loss(self, model: nn.Module, batch: OnLine) -> Loss:
        return Loss(F.mse_loss(self._solved(model, batch.x), batch.y.to(self.start)), {})

    def scores(self, model: nn.Module, batch: OnLine) -> Mapping[str, Tensor]:
        y = self._solved(model, batch.x)
        noisy = (y - batch.y.to(self.start))[:, 0].square()
        clean = (y - batch.clean.to(self.start))[:, 0].square()
        return {"squared_error": noisy, "mse_values": noisy, "mse_function": clean}

    def concluded(self, means: Mapping[str, float]) -> Mapping[str, float]:
        return rooted(means)

    def findings(self, model: nn.Module) -> Mapping[str, object]:
        """The slope found by training, by one-parameter least squares through the start, and by
        two-parameter least squares; RMSE against the line on the test points."""
        x, y, _ = self.data.train
        y, sd, slope = y[:, 0], self.data.noise_sd, self.data.slope
        through = float((x * (y - self.data.start)).sum() / x.square().sum())
        a, b = self._least_squares()
        test = self.data.test
        solved = self._solved(model, test.x).double().cpu()
        return {
            "slope": slope,
            "ode": {
                "parameters": 1,
                "slope": float(model.slope),  # pyright: ignore[reportArgumentType]
                "slope_error": float(model.slope) - slope,  # pyright: ignore[reportArgumentType]
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

    def pictures(self, model: nn.Module, *, final: bool) -> Iterator[Picture]:
        from node_repro.figures import depth

        x, y, _ = self.data.train
        xs = torch.linspace(0, LENGTH, 2, dtype=torch.float64)
        a, b = self._least_squares()
        lines = {
            "the line": self.data.start + self.data.slope * xs,
            "dy/dx = a from y(0): 1 parameter": model(self.start, xs)[:, 0],
            "y = a x + b: 2 parameters": a * xs + b,
        }
        yield Picture(
            "line.png",
            depth.lines(
                plain(xs),
                {name: plain(line) for name, line in lines.items()},
                plain(torch.stack((x, y[:, 0]), dim=1)),
                self.data.start,
            ),
        )

    def _least_squares(self) -> tuple[float, float]:
        """a and b of y = a x + b."""
        x, y, _ = self.data.train
        rows = torch.stack((x, torch.ones_like(x)), dim=1)
        a, b = torch.linalg.lstsq(rows, y).solution[:, 0].tolist()
        return a, b

    def _solved(self, model: nn.Module, x: Tensor) -> Tensor:
        """y at x: (N,), rising, solved from the start at 0: (N, 1)."""
        return model(self.start, torch.cat((x.new_zeros(1), x)))[1:]


def _rms(x: Tensor) -> float:
    return math.sqrt(float(x.square().mean()))
