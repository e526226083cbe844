"""Cost of the log density against the number M of hidden units: a trace against a determinant.

One evaluation, with its gradient, of three ways to follow the log density of a batch in the plane:

* trace: the planar dynamics of M units, whose trace has a closed form, O(M) (section 4 of the
  paper);
* determinant, M x M: the layer z + U tanh(W z + b) of M units, log|det(I + diag(h') W U)| of an
  M x M matrix for each point, the O(M^3) of the paper;
* determinant, D x D: the same number by Sylvester's identity, |det(I + U diag(h') W)|, O(M) for
  D = 2, which the paper does not consider.

The weights are random; the run only says on which device and in which type to measure.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from node_repro.models.planar_cnf import Constants, PlanarDynamics
from node_repro.probes import Count, Counts, Measurement, Row, TrainedRun
from node_repro.probes.solve import median_seconds

DIMENSION = 2


class Layer(nn.Module):
    """z + U tanh(W z + b) with M hidden units, and log|det| of its Jacobian.

    Args:
        width: Number M of units.
        by_units: Whether the determinant is that of an M x M matrix, else of a D x D one.
    """

    def __init__(self, width: int, *, by_units: bool) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(width, DIMENSION))
        self.u = nn.Parameter(torch.randn(DIMENSION, width) / width)
        self.b = nn.Parameter(torch.randn(width))
        self.by_units = by_units

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The image (B, D) of z (B, D), and log|det| (B,)."""
        h = torch.tanh(z @ self.w.T + self.b)
        slope = 1 - h * h
        if self.by_units:
            jacobian = slope[:, :, None] * (self.w @ self.u)
        else:
            jacobian = (self.u * slope[:, None]) @ self.w
        identity = torch.eye(jacobian.shape[-1]).to(jacobian)
        return z + h @ self.u.T, torch.linalg.slogdet(identity + jacobian).logabsdet


@dataclass(frozen=True)
class WidthCost:
    """Seconds of the log density and its gradient against the number of units.

    Args:
        widths: Numbers M of units.
        batch: Points of the batch.
        repeats: Number of evaluations over which the median time is taken.
    """

    widths: Counts
    batch: Count
    repeats: Count

    def measure(self, run: TrainedRun) -> Measurement:
        rows: list[Row] = []
        for width in self.widths:
            for name, work in self._ways(width, run).items():
                seconds = median_seconds(work, run.device, self.repeats)
                rows.append({"way": name, "width": width, "seconds": seconds})
                run.print_progress(f"M = {width}, {name}: {seconds:.2e} s")
        return Measurement({"batch": self.batch, "dimension": DIMENSION}, rows)

    def _ways(self, width: int, run: TrainedRun) -> dict[str, Callable[[], None]]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.config.seed)
            z = torch.randn(self.batch, DIMENSION).to(run.device, run.dtype)
            dynamics = PlanarDynamics(Constants(DIMENSION, width)).to(run.device, run.dtype)
            layers = {
                f"determinant, {side} x {side}": Layer(width, by_units=side == "M")
                for side in ("M", "D")
            }
        y, t = torch.cat((z, torch.zeros_like(z[:, :1])), dim=1).T, z.new_zeros(())

        def trace() -> None:
            dynamics.zero_grad(set_to_none=True)
            dynamics(t, y).sum().backward()

        def determinant(layer: nn.Module) -> Callable[[], None]:
            layer.to(run.device, run.dtype)

            def work() -> None:
                layer.zero_grad(set_to_none=True)
                x, log_det = layer(z)
                (x.sum() + log_det.sum()).backward()

            return work

        return {"trace": trace} | {name: determinant(layer) for name, layer in layers.items()}
