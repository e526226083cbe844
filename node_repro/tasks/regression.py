"""Regression of a function of one number: mean squared error.

Where the state of the model is one number too, its way through the depth is figure 1: straight
steps from layer to layer, or the curves of an ODE in its field.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from node_repro.data.curve import CurveData, Points
from node_repro.data.order import drawn
from node_repro.tasks import Loss, Picture
from node_repro.tasks.deep import Deep, as_deep, padded, plain
from node_repro.tasks.likelihood import rooted

DRAWN = 11  # inputs whose way through the depth is drawn where the state is one number
COLUMNS = 21  # arrows at one depth
ROWS = 21  # depths with arrows, where the depth is continuous
LATENT = 41  # inputs drawn where the state has more dimensions
CURVE = 401  # inputs of a drawn function


class Regression:
    """data: noisy values of a function of one number, x and y: (B, 1)."""

    loss_metric = "squared_error"
    selected_by = "rmse_values"
    iterations_per_epoch = None

    def __init__(
        self,
        *,
        data: CurveData,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.train = data.train.to(device, dtype)
        self.splits = {
            "validation": data.validation.to(device, dtype),
            "test": data.test.to(device, dtype),
        }
        self.shape, self.noise_sd = data.shape, data.noise_sd
        self.batch_size, self.eval_batch_size, self.seed = batch_size, eval_batch_size, seed

    @property
    def sizes(self) -> Mapping[str, int]:
        return {"features": 1, "outputs": 1}

    def training_batches(self, epoch: int, start: int) -> Iterator[Points]:
        step = start
        while True:
            chosen = drawn(len(self.train.x), self.batch_size, self.seed, step)
            yield self.train.of(chosen.to(self.train.x.device))
            step += 1

    def evaluation_batches(self, split: str) -> Iterator[Points]:
        parts = (part.split(self.eval_batch_size) for part in self.splits[split])
        return (Points(*batch) for batch in zip(*parts, strict=True))

    def loss(self, model: nn.Module, batch: Points) -> Loss:
        return Loss(F.mse_loss(model(batch.x), batch.y), {})

    def scores(self, model: nn.Module, batch: Points) -> Mapping[str, Tensor]:
        y = model(batch.x)
        noisy = (y - batch.y)[:, 0].square()
        clean = (y - batch.clean)[:, 0].square()
        return {"squared_error": noisy, "mse_values": noisy, "mse_function": clean}

    def concluded(self, means: Mapping[str, float]) -> Mapping[str, float]:
        return rooted(means)

    def findings(self, model: nn.Module) -> Mapping[str, object]:
        return {"floor_rmse": self.noise_sd}

    def pictures(self, model: nn.Module, *, final: bool) -> Iterator[Picture]:
        from node_repro.figures import depth, npz, png

        deep = as_deep(model)
        x = self._inputs(CURVE)
        yield Picture(
            "fit.png",
            depth.fit(
                plain(x[:, 0]),
                plain(self.shape.value(x)[:, 0]),
                plain(model(x)[:, 0]),
                plain(torch.cat(self.train[:2], dim=1)),
            ),
        )
        if not final:
            return
        x = self._inputs(LATENT)
        z = deep.path(x).z
        if z.shape[2] == 1:
            arrays = self._figure1(deep)
            yield Picture("figure1.png", png(depth.figure1([arrays])))
            yield Picture("figure1.npz", npz(**arrays))
            return
        yield Picture("latent.png", depth.coloured_paths(plain(z), plain(x[:, 0]), "input x"))

    def _inputs(self, count: int) -> Tensor:
        """Evenly spaced over all inputs, (count, 1)."""
        x = torch.linspace(self.shape.low, self.shape.high, count, dtype=torch.float64)
        return x[:, None].to(self.train.x)

    def _figure1(self, model: Deep) -> dict[str, np.ndarray]:
        """The arrays of one panel; see `figures.depth.figure1`."""
        x = self._inputs(DRAWN)
        paths = [model.path(one) for one in x.split(1)]
        places = [model.evaluated(one) for one in x.split(1)]
        ts = plain(paths[0].ts)
        layers = len(ts) - 1 == model.depth
        rows = ts[:-1] if layers else np.linspace(0, model.depth, ROWS)
        z = self._inputs(COLUMNS)
        return {
            "discrete": np.asarray(layers),
            "ts": ts,
            "z": plain(torch.cat([path.z for path in paths], dim=1)[:, :, 0]),
            "evaluated_t": padded([place.ts for place in places]),
            "evaluated_z": padded([place.z[:, 0] for place in places]),
            "arrow_t": rows,
            "arrow_z": plain(z[:, 0]),
            "arrow_rate": np.stack([plain(model.rate(t, z)[:, 0]) for t in rows.tolist()]),
        }
