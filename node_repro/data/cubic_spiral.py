"""One trajectory of a known field, y' = y^3 A: the demo of torchdiffeq's and autograd's odeint.

A = ((-0.1, 2), (-2, -0.1)), y(0) = (2, 0), 1,000 times over [0, 25]; the cube is taken of each
element. The trajectory is computed by scipy's DOP853 at a tolerance of 1e-12.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from node_repro.data import DataError
from node_repro.data.series import digest, generator

A = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]], dtype=torch.float64)
START = (2.0, 0.0)
END = 25.0
TOLERANCE = 1e-12


def field(y: Tensor) -> Tensor:
    """dy/dt at y, (..., 2)."""
    return y**3 @ A.to(y)


@dataclass(frozen=True, kw_only=True)
class TrajectoryData:
    """ts: (T,) float64. clean, noisy: (T, 2); training sees the noisy points."""

    name: str
    ts: Tensor
    clean: Tensor
    noisy: Tensor
    sha256: str
    notice: str | None = None

    @property
    def description(self) -> str:
        return f"{len(self.ts)} points of one trajectory over [0, {END:g}], by scipy's DOP853"

    @property
    def facts(self) -> Mapping[str, bool | int | float | str | None]:
        return {"sha256": self.sha256}


@dataclass(frozen=True, kw_only=True)
class CubicSpiral:
    """points: how many times. noise_sd: standard deviation of what is added to each. seed: its."""

    points: int
    noise_sd: float
    seed: int

    def load(self) -> TrajectoryData:
        """The trajectory. Raises DataError for too few points."""
        if self.points < 3:
            raise DataError(f"data.points={self.points} are too few to learn from: take >= 3.")
        ts = torch.linspace(0, END, self.points, dtype=torch.float64)

        def slope(t: float, y: object) -> object:
            return field(torch.as_tensor(y, dtype=torch.float64)).numpy()

        solved = solve_ivp(
            slope, (0, END), START, "DOP853", ts.numpy(), rtol=TOLERANCE, atol=TOLERANCE
        )
        clean = torch.from_numpy(solved.y.T.copy())
        noise = torch.randn(clean.shape, generator=generator(self.seed, "noise")).double()
        noisy = clean + self.noise_sd * noise
        return TrajectoryData(
            name="cubic_spiral",
            ts=ts,
            clean=clean,
            noisy=noisy,
            sha256=digest(noisy),
        )
