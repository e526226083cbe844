"""How accurate the states between two steps are, at a tolerance of 1e-9."""

import pytest
import torch
from chosen import METHODS

from node_repro.ode import RungeKutta, odeint
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.gradients.direct import Direct

TOLERANCE = 1e-9
ROTATION = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if m.adaptive and m.order > 3])
def test_states_between_steps_are_as_good_as_their_order_allows(name: str) -> None:
    method = METHODS[name]
    ts = torch.linspace(0, 10, 41, dtype=torch.float64)
    solver = RungeKutta(method, Integral(rtol=TOLERANCE, atol=TOLERANCE))
    y0 = torch.tensor([1.0, 0.0], dtype=torch.float64)
    ys = odeint(lambda t, y: ROTATION @ y, y0, ts, solver=solver, gradient=Direct()).ys
    errors = (ys - torch.stack((ts.cos(), -ts.sin()), dim=1)).abs().amax(1)
    assert errors[-1] < 20 * TOLERANCE
    # the steps are chosen for the ends: a dense output of a lower order cannot keep up
    allowed = 20 if method.dense_order + 1 >= method.order else 100
    assert errors.max() < allowed * TOLERANCE
