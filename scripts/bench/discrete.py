"""Discrete gradients against autograd through the steps of the eager solver, in float64.

A network of 3 states with five output times, dopri5 and tsit5 at 1e-6 and rk4 with constant steps;
reversible gradients with each of them coupled. The number is the largest difference of any gradient
(with respect to y0, the times and all parameters), relative to the largest element of that
gradient. Nothing is timed.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "ode"))

import chosen  # pyright: ignore[reportMissingImports]

from bench.setting import Record, Setting, engine_of
from node_repro import ode
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.gradients import GradientMethod

METHODS = {
    "dopri5": (ode.DOPRI5, Integral(rtol=1e-6, atol=1e-6)),
    "tsit5": (ode.TSIT5, Integral(rtol=1e-6, atol=1e-6)),
    "rk4, constant steps": (ode.RK4, ode.Constant(0.05)),
}
GRADIENTS: dict[str, GradientMethod] = {
    "direct": ode.Direct(),
    "checkpointed": ode.Checkpointed(),
    "reversible": ode.Reversible(),
}


def gradients(by: ode.RungeKutta, gradient: GradientMethod) -> list[Tensor]:
    """With respect to y0, the times and all parameters."""
    f = chosen.Net(seed=1, gain=1.5)
    y0, ts = chosen.leaf(0.5, -0.2, 0.9), chosen.leaf(0.0, 0.3, 0.8, 1.5, 2.0)
    ys = ode.odeint(f, y0, ts, solver=by, gradient=gradient).ys
    generator = torch.Generator().manual_seed(1)
    cotangent = torch.randn(ys.shape, generator=generator, dtype=ys.dtype)
    return list(torch.autograd.grad(ys, (y0, ts, *f.parameters()), cotangent))


def row(engine: str, gradient: str, method: str) -> dict[str, Any]:
    found: dict[str, Any] = {"engine": engine, "gradient": gradient, "method": method}
    steps, controller = METHODS[method]
    if gradient == "reversible":
        steps = ode.Coupled(steps)
    try:
        by = ode.RungeKutta(steps, controller, engine=engine_of(engine))
        aim = gradients(replace(by, engine=engine_of("eager")), ode.Direct())
        pairs = zip(gradients(by, GRADIENTS[gradient]), aim, strict=True)
        difference = max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
        return found | {"difference": difference}
    except Exception as error:
        return found | {"not_run": f"{type(error).__name__}: {error}".splitlines()[0]}


def measured(setting: Setting) -> Record:
    """A row for every engine, gradient method and method."""
    return {
        "rows": [
            row(engine, gradient, method)
            for engine in ("eager", "compiled")
            for gradient in GRADIENTS
            for method in METHODS
            if (engine, gradient) != ("eager", "direct")
        ]
    }
