"""Captured CUDA graphs on a CUDA device; test_captured.py has the same arithmetic elsewhere."""

import warnings

import pytest
import torch
from devices import NEEDS_CUDA
from torch import Tensor

from node_repro.models.odenet import ConvField
from node_repro.ode import RungeKutta, odeint
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.engines import Engine
from node_repro.ode.engines.compiled import Compiled
from node_repro.ode.engines.eager import Eager
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.gradients.checkpointed import Checkpointed
from node_repro.ode.gradients.direct import Direct
from node_repro.ode.methods.dopri5 import DOPRI5

pytestmark = NEEDS_CUDA
GRAPHS = Compiled(backend="graphs")
METHODS = [Direct(), Checkpointed(), Adjoint()]


def trained(method: GradientMethod, engine: Engine) -> list[Tensor]:
    """The losses of four iterations and the weights after them."""
    torch.manual_seed(0)
    f = ConvField(8).double()
    y0 = torch.randn(2, 8, 5, 5, dtype=torch.float64).cuda()
    f = f.cuda()
    optimizer = torch.optim.SGD(f.parameters(), lr=1e-2)
    ts = torch.tensor([0.0, 0.3, 0.31, 1.0])
    solver = RungeKutta(DOPRI5, Integral(rtol=1e-6, atol=1e-6), engine=engine)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = odeint(f, y0, ts, solver=solver, gradient=method).ys[1:].square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return [x.detach().cpu() for x in (*losses, *f.parameters())]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_captured_graphs_train_as_the_eager_engine_does(method: GradientMethod) -> None:
    ours, theirs = (trained(method, engine) for engine in (GRAPHS, Eager()))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_a_captured_solve_waits_for_the_device_once() -> None:
    f, ts = ConvField(8).cuda(), torch.tensor([0.0, 0.3, 1.0])
    y0 = torch.randn(2, 8, 5, 5, device="cuda")
    solver = RungeKutta(DOPRI5, Integral(rtol=1e-3, atol=1e-3), engine=GRAPHS)
    waits = []
    for _ in range(2):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            odeint(f, y0, ts, solver=solver, gradient=Checkpointed())
            torch.cuda.set_sync_debug_mode("default")
        waits = [w for w in told if "called a synchronizing" in str(w.message)]
    assert len(waits) == 1
