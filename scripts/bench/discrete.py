"""Discrete gradients against autograd through the steps of the eager solver, in float64.

A small network with five output times, dopri5 and tsit5 at 1e-6 and rk4 with constant steps;
reversible gradients with each of them coupled. The number is the largest difference of any gradient
(with respect to y0 and all parameters; eager also to the times, which the compiled engine leaves to
the eager one), relative to the largest element of that gradient. `without_times` is the same where
no time is differentiated: differentiated times are tensors, whose rounding moves the steps that an
adaptive solver chooses. What the compiled engine could not compile is recorded. Nothing is timed.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from bench.setting import Record, Setting, engine_of, warned
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


class Field(nn.Module):
    """tanh of an affine map of (cos t, y), y of 3 numbers, and a second one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.inner, self.outer = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        clock = torch.cos(3 * t).expand(1)
        return self.outer(torch.tanh(2 * self.inner(torch.cat((clock, y)))))


def gradients(by: ode.RungeKutta, gradient: GradientMethod, *, times: bool) -> list[Tensor]:
    """With respect to y0, all parameters and the times."""
    f = Field().double()
    y0 = torch.tensor([0.5, -0.2, 0.9], dtype=torch.float64, requires_grad=True)
    ts = torch.tensor([0.0, 0.3, 0.8, 1.5, 2.0], dtype=torch.float64, requires_grad=times)
    ys = ode.odeint(f, y0, ts, solver=by, gradient=gradient).ys
    generator = torch.Generator().manual_seed(1)
    cotangent = torch.randn(ys.shape, generator=generator, dtype=ys.dtype)
    wanted = (y0, *f.parameters(), *((ts,) if times else ()))
    return list(torch.autograd.grad(ys, wanted, cotangent))


def row(engine: str, gradient: str, method: str) -> dict[str, Any]:
    found: dict[str, Any] = {"engine": engine, "gradient": gradient, "method": method}
    steps, controller = METHODS[method]
    if gradient == "reversible":
        steps = ode.Coupled(steps)
    by = ode.RungeKutta(steps, controller, engine=engine_of(engine))
    eager = replace(by, engine=engine_of("eager"))

    def difference(*, times: bool) -> float:
        ours = gradients(by, GRADIENTS[gradient], times=times)
        pairs = zip(ours, gradients(eager, ode.Direct(), times=times), strict=True)
        return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)

    try:
        with warned() as texts:
            found["without_times"] = difference(times=False)
            found["difference"] = difference(times=engine == "eager")
    except Exception as error:
        return found | {"not_run": f"{type(error).__name__}: {error}".splitlines()[0]}
    return found | {"warnings": texts}


def measured(setting: Setting) -> Record:
    """A row for every engine, gradient method and method; one pair of methods where it compiles."""
    compiled = ("dopri5", "rk4, constant steps")
    chosen = [("eager", g, m) for g in ("checkpointed", "reversible") for m in METHODS]
    chosen += [("compiled", g, m) for g in ("checkpointed", "reversible") for m in compiled]
    return {"rows": [row(*one) for one in (*chosen, ("compiled", "direct", "dopri5"))]}
