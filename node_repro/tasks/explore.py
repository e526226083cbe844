"""Arrays of a trained model for the report's interactive page, which evaluates it without torch.

`node_repro/report/explore.py` reads them from the run's pictures/explore.npz.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from node_repro.data.spirals import SpiralSplit
from node_repro.models import ExportsWeights, Posterior
from node_repro.tasks import Picture
from node_repro.tasks.arrays import to_numpy

FILE = "explore.npz"
SERIES = 40  # test series with their observations
POINTS = 500  # samples of a flow, and as many points of the data
BLOCK = 2  # cells of the pictures' density grid that make one of the page's, per side


def latent_picture(model: ExportsWeights, posterior: Posterior, test: SpiralSplit) -> Picture:
    """The weights, the posterior means of all test spirals, and the first spirals' observations."""
    observed = test.observed
    return _picture(
        model,
        {
            "ts": observed.grid,
            "mean": posterior.mean,
            "direction": test.direction,
            "seen": observed.x[:SERIES],
            "side": test.noisy.abs().max(),
        },
    )


def flow_picture(
    model: ExportsWeights, density: np.ndarray, base: Tensor, points: Tensor, side: float
) -> Picture:
    """The weights, points to be solved in the page, and densities.

    Args:
        model: A continuous flow.
        density: Densities (T, n, n) on [-side, side]^2 at equally spaced times from 0 to the end.
        base: Points (N, 2) of the base.
        points: Points (N, 2) of the data.
        side: Half the side of the square.
    """
    times, cells, _ = density.shape
    blocks = density.reshape(times, cells // BLOCK, BLOCK, cells // BLOCK, BLOCK)
    return _picture(
        model,
        {
            "density": torch.from_numpy(blocks.mean((2, 4))),
            "base": base[:POINTS],
            "points": points[:POINTS],
            "side": torch.tensor(side),
        },
    )


def _picture(model: ExportsWeights, arrays: Mapping[str, Tensor]) -> Picture:
    from node_repro.figures import npz

    content = {**model.export_weights(), **arrays}
    return Picture(FILE, npz(**{name: to_numpy(x.float()) for name, x in content.items()}))
