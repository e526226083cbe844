"""A mechanical system learned from noisy motions: energy and error far beyond the training horizon.

The model is trained through the solver, on windows of the motions: each is solved from its first
noisy state, and the mean squared error of its states is minimised. Whole motions would have local
minima. Test motions start from other states, which are known, and are data.mechanics.HORIZONS times
as long.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Unpack

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor

from node_repro.data import DataError
from node_repro.data.generated import seeded_generator
from node_repro.data.mechanics import MechanicsData, Motions
from node_repro.models import MotionField
from node_repro.tasks import Loss, Picture, SplitTask, TaskSettings
from node_repro.tasks.arrays import to_numpy
from node_repro.tasks.likelihood import take_roots

SHOWN = 3  # test motions in pictures
SIDE = 19  # points per side of a drawn field
SMALLEST = 1e-16  # relative drift of the energy below which it counts as this number


class Physics(SplitTask[MotionField, Motions, Motions]):
    """Learns the vector field of a mechanical system.

    Args:
        data: Motions of the system.
        window: Points of a training window.
        settings: Settings of the run.
    """

    loss_metric = "squared_error"
    selection_metric = "rmse_values"
    metrics: ClassVar[Mapping[str, str]] = {
        "rmse_within": "RMSE within the horizon",
        "rmse_ahead": "RMSE ahead",
        "energy_drift": "drift of the energy",
    }

    def __init__(
        self,
        *,
        data: MechanicsData,
        window: Annotated[int, Ge(2)],
        **settings: Unpack[TaskSettings],
    ) -> None:
        super().__init__(data, **settings)
        if window > data.points:
            raise DataError(
                f"task.window={window} is longer than a motion, which has data.points="
                f"{data.points} points."
            )
        self.system, self.ts, self.points, self.window = data.system, data.ts, data.points, window

    @property
    def sizes(self) -> Mapping[str, int]:
        return {"dimensions": 2 * self.system.coordinates}

    def training_batch(self, step: int) -> Motions:
        random = seeded_generator(self.seed, "windows", step)
        motion = torch.randint(len(self.train.true), (self.batch_size, 1), generator=random)
        first = torch.randint(self.points - self.window + 1, motion.shape, generator=random)
        places = (motion.to(self.device), (first + torch.arange(self.window)).to(self.device))
        return Motions(*(part[places] for part in self.train))

    def evaluation_batches(self, split: str) -> Iterator[Motions]:
        return self.evaluation_examples(split)

    def loss(self, model: MotionField, batch: Motions) -> Loss:
        y = self._solve(model, batch.noisy)
        return Loss((y - batch.noisy).square().mean(), {})

    def scores(self, model: MotionField, batch: Motions) -> Mapping[str, Tensor]:
        """Squared errors within the training horizon and, for longer motions, ahead of it.

        The drift of the energy is |E(t) - E(0)| / |E(0)|, averaged over the times ahead.
        """
        y = self._solve(model, batch.true)
        noisy, true = ((y - part).square().mean(2) for part in batch)
        now, ahead = slice(self.points), slice(self.points, None)
        scores = {"mse_values": noisy[:, now].mean(1), "mse_within": true[:, now].mean(1)}
        if y.shape[1] > self.points:
            drift = energy_drift(self.system.energy(y))[:, ahead].mean(1)
            scores["mse_ahead"] = true[:, ahead].mean(1)
            scores["log_energy_drift"] = drift.clamp(min=SMALLEST).log()
        return scores

    def finalize_scores(self, means: Mapping[str, float]) -> Mapping[str, float]:
        """Roots of the mean squares, and the geometric mean of the drifts of the energy."""
        scores = take_roots(means)
        if (log_drift := scores.pop("log_energy_drift", None)) is not None:
            scores["energy_drift"] = float(np.exp(log_drift))
        return scores

    def diagnostics(self, model: MotionField) -> Mapping[str, object]:
        """The drift of the energy that the model conserves by construction, which is due to the
        solver; geometric mean over the test motions.
        """
        y = self._solve(model, self.splits["test"].true)
        energy = model.energy(y)
        if energy is None:
            return {}
        drift = energy_drift(energy)[:, self.points :].mean(1)
        return {"own_energy_drift": float(drift.clamp(min=SMALLEST).log().mean().exp())}

    def pictures(self, model: MotionField, *, final: bool) -> Iterator[Picture]:
        if not final:
            return
        from node_repro.figures import mechanics, npz

        test = self.splits["test"]
        y = self._solve(model, test.true)
        horizon = float(self.ts[self.points - 1])
        arrays = {
            "ts": to_numpy(self.ts),
            "true": to_numpy(test.true[:SHOWN]),
            "learned": to_numpy(y[:SHOWN]),
            "error": to_numpy((y - test.true).square().mean((0, 2)).sqrt()),
            "drift": to_numpy(energy_drift(self.system.energy(y)).log().mean(0).exp()),
        }
        yield Picture("motions.png", mechanics.motions(horizon, **arrays, **self._fields(model)))
        yield Picture("motions.npz", npz(horizon=horizon, **arrays))

    def _solve(self, model: MotionField, y: Tensor) -> Tensor:
        """The learned states (B, T, D) from the first of the states y (B, T, D)."""
        return model(y[:, 0], self.ts[: y.shape[1]]).transpose(0, 1)

    def _fields(self, model: MotionField) -> dict[str, np.ndarray]:
        """The last two components of the learned and the true field on a grid of the plane."""
        reach = float(self.splits["test"].true.abs().max()) * 1.1
        grid = torch.linspace(-reach, reach, SIDE).to(self.train.true)
        points = torch.stack(torch.meshgrid(grid, grid, indexing="xy"), dim=-1).reshape(-1, 2)
        states = self.system.plane(points)
        learned, true = (f(states)[:, -2:] for f in (model.field, self.system.field))
        arrays = {"points": points, "field": learned, "true_field": true}
        return {name: to_numpy(value) for name, value in arrays.items()}


def energy_drift(energy: Tensor) -> Tensor:
    """|E(t) - E(0)| / |E(0)| for energies (B, T)."""
    return (energy / energy[:, :1] - 1).abs()
