"""Regression of a function of one number: mean squared error.

If the model's state is one number, too, its paths along the depth are figure 1 of the paper:
straight steps from layer to layer, or the curves of an ODE in its vector field.
"""

from collections.abc import Iterator, Mapping
from typing import Unpack

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from node_repro.data.noisy_function import RegressionData, RegressionPoints
from node_repro.models import Deep
from node_repro.tasks import Loss, Picture, SplitTask, TaskSettings
from node_repro.tasks.arrays import pad_with_nan, to_numpy
from node_repro.tasks.likelihood import take_roots

PATHS = 11  # inputs whose paths are drawn in figure 1
COLUMNS = 21  # arrows per depth in figure 1
ROWS = 21  # depths with arrows in figure 1, if the depth is continuous
LATENT_PATHS = 41  # inputs whose paths are drawn if the state has more dimensions
CURVE_POINTS = 401  # inputs of a drawn function


class Regression(SplitTask[Deep, RegressionPoints, RegressionPoints]):
    """Regression of a function of one number.

    Args:
        data: Noisy values of the function.
        settings: Settings of the run.
    """

    loss_metric = "squared_error"
    selection_metric = "rmse_values"

    def __init__(self, *, data: RegressionData, **settings: Unpack[TaskSettings]) -> None:
        super().__init__(data, **settings)
        self.shape, self.noise_sd = data.shape, data.noise_sd

    @property
    def sizes(self) -> Mapping[str, int]:
        return {"features": 1, "outputs": 1}

    def training_batch(self, step: int) -> RegressionPoints:
        return self.training_examples(step)

    def evaluation_batches(self, split: str) -> Iterator[RegressionPoints]:
        return self.evaluation_examples(split)

    def loss(self, model: Deep, batch: RegressionPoints) -> Loss:
        return Loss(F.mse_loss(model(batch.x), batch.y), {})

    def scores(self, model: Deep, batch: RegressionPoints) -> Mapping[str, Tensor]:
        y = model(batch.x)
        noisy = (y - batch.y)[:, 0].square()
        clean = (y - batch.clean)[:, 0].square()
        return {"squared_error": noisy, "mse_values": noisy, "mse_function": clean}

    def finalize_scores(self, means: Mapping[str, float]) -> Mapping[str, float]:
        return take_roots(means)

    def diagnostics(self, model: Deep) -> Mapping[str, object]:
        t0, t1 = model.span
        return {"floor_rmse": self.noise_sd, "t0": t0, "t1": t1}

    def pictures(self, model: Deep, *, final: bool) -> Iterator[Picture]:
        from node_repro.figures import depth, npz, png

        x = self._inputs(CURVE_POINTS)
        fit = depth.fit(
            to_numpy(x[:, 0]),
            to_numpy(self.shape.value(x)[:, 0]),
            to_numpy(model(x)[:, 0]),
            to_numpy(torch.cat(self.train[:2], dim=1)),
        )
        yield Picture("fit.png", fit)
        if not final:
            return
        x = self._inputs(LATENT_PATHS)
        z = model.path(x).z
        if z.shape[2] == 1:
            arrays = self._figure1(model)
            yield Picture("figure1.png", png(depth.figure1([arrays])))
            yield Picture("figure1.npz", npz(**arrays))
            return
        paths = depth.coloured_paths(to_numpy(z), to_numpy(x[:, 0]), "input x")
        yield Picture("latent.png", paths)

    def _inputs(self, count: int) -> Tensor:
        """Evenly spaced inputs (count, 1)."""
        x = torch.linspace(self.shape.low, self.shape.high, count, dtype=torch.float64)
        return x[:, None].to(self.train.x)

    def _figure1(self, model: Deep) -> dict[str, np.ndarray]:
        """The arrays of one panel; see `figures.depth.figure1`."""
        x = self._inputs(PATHS)
        paths = [model.path(one) for one in x.split(1)]
        evaluated = [model.evaluation_points(one) for one in x.split(1)]
        ts = to_numpy(paths[0].ts)
        t0, t1 = model.span
        discrete = len(ts) - 1 == t1 - t0
        rows = ts[:-1] if discrete else np.linspace(t0, t1, ROWS)
        z = self._inputs(COLUMNS)
        return {
            "discrete": np.asarray(discrete),
            "ts": ts,
            "z": to_numpy(torch.cat([path.z for path in paths], dim=1)[:, :, 0]),
            "evaluated_t": pad_with_nan([points.ts for points in evaluated]),
            "evaluated_z": pad_with_nan([points.z[:, 0] for points in evaluated]),
            "arrow_t": rows,
            "arrow_z": to_numpy(z[:, 0]),
            "arrow_rate": np.stack([to_numpy(model.rate(t, z)[:, 0]) for t in rows.tolist()]),
        }
