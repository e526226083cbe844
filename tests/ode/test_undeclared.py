"""What f uses besides t, y and its declared parameters must not lose its gradient in silence."""

import pytest
import torch
from chosen import GRADIENTS, METHODS
from torch import Tensor, nn

from node_repro.ode import RungeKutta, SolverError, odeint
from node_repro.ode.controllers.constant import Constant

SOLVER = RungeKutta(METHODS["rk4"], Constant(0.25))
REPLAYING = sorted(set(GRADIENTS) - {"direct"})


class Conditioned(nn.Module):
    """dy/dt = tanh(W y) + context, where the context comes from another network."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2, dtype=torch.float64)
        self.context = torch.zeros(2, dtype=torch.float64)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(self.layer(y)) + self.context


@pytest.mark.parametrize("gradient", REPLAYING)
def test_a_context_that_was_not_declared_is_refused(gradient: str) -> None:
    f, encoder = Conditioned(), nn.Linear(1, 2, dtype=torch.float64)
    f.context = encoder(torch.ones(1, dtype=torch.float64))
    y0, ts = torch.ones(2, dtype=torch.float64), torch.tensor([0.0, 1.0])
    with pytest.raises(SolverError, match=r"f depends on a tensor .* is not among its parameters"):
        ys = odeint(f, y0, ts, solver=SOLVER, gradient=GRADIENTS[gradient]).ys
        ys[-1].sum().backward()


@pytest.mark.parametrize("gradient", REPLAYING)
def test_a_declared_context_gets_the_gradient_that_direct_gives(gradient: str) -> None:
    torch.manual_seed(0)
    f, encoder = Conditioned(), nn.Linear(1, 2, dtype=torch.float64)
    y0, ts = torch.ones(2, dtype=torch.float64), torch.tensor([0.0, 1.0])
    found = []
    for name in (gradient, "direct"):
        encoder.zero_grad()
        f.context = encoder(torch.ones(1, dtype=torch.float64))
        known = (*f.parameters(), f.context)
        method = RungeKutta(METHODS["rk4"], Constant(0.01))
        gm = GRADIENTS[name]
        ys = odeint(f, y0, ts, solver=method, gradient=gm, parameters=known).ys
        ys[-1].square().sum().backward()
        assert encoder.weight.grad is not None
        found.append(encoder.weight.grad.clone())
    torch.testing.assert_close(found[0], found[1], rtol=1e-7, atol=0)


@pytest.mark.parametrize("gradient", REPLAYING)
def test_an_undeclared_tensor_is_refused_where_nothing_declared_wants_a_gradient(
    gradient: str,
) -> None:
    f = Conditioned().requires_grad_(False)
    f.context = torch.ones(2, dtype=torch.float64, requires_grad=True)  # and no nn.Parameter
    y0, ts = torch.ones(2, dtype=torch.float64), torch.tensor([0.0, 1.0])
    with pytest.raises(SolverError, match="is not among its parameters"):
        odeint(f, y0, ts, solver=SOLVER, gradient=GRADIENTS[gradient])
    with torch.no_grad():
        assert odeint(f, y0, ts, solver=SOLVER, gradient=GRADIENTS[gradient]).ys.isfinite().all()
