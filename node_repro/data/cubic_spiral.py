"""One trajectory of a known vector field, dy/dt = y^3 A, as in torchdiffeq's demo.

A = ((-0.1, 2), (-2, -0.1)), y(0) = (2, 0), t in [0, 25]; the cube is elementwise. The trajectory is
computed by scipy's DOP853 at a tolerance of 1e-12.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge
from scipy.integrate import solve_ivp
from torch import Tensor

from node_repro.data import DataError, GeneratedData
from node_repro.data.generated import content_hash, seeded_generator

A = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]], dtype=torch.float64)
START = (2.0, 0.0)
END = 25.0
TOLERANCE = 1e-12


def field(y: Tensor) -> Tensor:
    """dy/dt at y (..., 2)."""
    return y**3 @ A.to(y)


@dataclass(frozen=True, kw_only=True)
class TrajectoryData(GeneratedData):
    """Times ts (T,), float64, and the trajectory without and with noise, (T, 2) each.

    The noisy points are the training data.
    """

    ts: Tensor
    clean: Tensor
    noisy: Tensor

    @property
    def description(self) -> str:
        return f"{len(self.ts)} points of one trajectory over [0, {END:g}], by scipy's DOP853"


@dataclass(frozen=True, kw_only=True)
class CubicSpiral:
    """Evenly spaced points of the trajectory, with Gaussian noise.

    Args:
        points: Number of points.
        noise_sd: Standard deviation of the noise.
        seed: Seed of the noise; null is the seed of the run.
    """

    points: Annotated[int, Ge(3)]
    noise_sd: Annotated[float, Ge(0)]
    seed: Annotated[int, Ge(0)] | None

    def load(self) -> TrajectoryData:
        """Solve for the trajectory. Raises DataError for fewer than three points."""
        if self.points < 3:
            raise DataError(f"data.points={self.points} is too few to train on: use at least 3.")
        ts = torch.linspace(0, END, self.points, dtype=torch.float64)

        def slope(t: float, y: np.ndarray) -> np.ndarray:
            return field(torch.from_numpy(y)).numpy()

        solution = solve_ivp(
            slope, (0, END), START, "DOP853", ts.numpy(), rtol=TOLERANCE, atol=TOLERANCE
        )
        clean = torch.from_numpy(solution.y.T.copy())
        noise = torch.randn(clean.shape, generator=seeded_generator(self.seed, "noise")).double()
        noisy = clean + self.noise_sd * noise
        return TrajectoryData(
            name="cubic_spiral", ts=ts, clean=clean, noisy=noisy, sha256=content_hash(noisy)
        )
