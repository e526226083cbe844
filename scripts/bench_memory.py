"""Bytes that one solve keeps for its backward pass, against the number of steps.

ODE-Net's field on one batch, dopri5 with constant steps, every gradient method. Counted by
saved-tensor hooks, every storage once, parameters left out, so that it needs no GPU: what the
forward pass holds when it ends, and the most held at any moment, the backward pass included.
"""

import argparse

import torch

from node_repro.models.odenet import ConvField
from node_repro.ode import RungeKutta, odeint
from node_repro.ode.controllers.constant import Constant
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.gradients.checkpointed import Checkpointed
from node_repro.ode.gradients.direct import Direct
from node_repro.ode.methods.dopri5 import DOPRI5
from node_repro.record.meters import SavedBytes

METHODS: dict[str, GradientMethod] = {
    "direct": Direct(),
    "checkpointed": Checkpointed(),
    "adjoint": Adjoint(),
}
MIB = 2**20


def saved(gradient: GradientMethod, steps: int, batch: int) -> tuple[float, float]:
    """MiB held after the forward pass, and at most."""
    torch.manual_seed(0)
    f = ConvField(64)
    y0 = torch.randn(batch, 64, 7, 7, requires_grad=True)
    solver = RungeKutta(DOPRI5, Constant(1 / steps))
    with SavedBytes(exclude=f.parameters()) as meter:
        ts = torch.tensor([0.0, 1.0])
        solution = odeint(f, y0, ts, solver=solver, gradient=gradient)
        held = meter.held_bytes
        solution.ys[-1].square().mean().backward()
    return held / MIB, meter.peak_bytes / MIB


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="saved bytes against the number of steps")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--batch", type=int, default=16)
    chosen = parser.parse_args()
    print(f"MiB held for backward after forward / at most; batch {chosen.batch}, state 64x7x7")
    print(f"{'steps':<14}" + "".join(f"{n:>16}" for n in chosen.steps))
    for name, gradient in METHODS.items():
        cells = [saved(gradient, steps, chosen.batch) for steps in chosen.steps]
        print(f"{name:<14}" + "".join(f"{held:>8.2f} /{peak:>6.1f}" for held, peak in cells))


if __name__ == "__main__":
    main()
