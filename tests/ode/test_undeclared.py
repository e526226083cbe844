"""What f uses besides t, y and its declared parameters must not lose its gradient in silence."""

import pytest
import torch
from chosen import GRADIENTS, METHODS, REAL_ONLY
from torch import Tensor, nn
from torch.func import functional_call

from node_repro.ode import ODEBlock, RungeKutta, SolverError, odeint
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


@pytest.mark.parametrize("gradient", sorted(set(REPLAYING) - set(REAL_ONLY)))
def test_weights_swapped_by_functional_call_are_refused_and_not_forgotten(gradient: str) -> None:
    block = ODEBlock(Conditioned(), solver=SOLVER, gradient=GRADIENTS[gradient])
    swapped = {n: (2 * p).detach().requires_grad_() for n, p in block.named_parameters()}
    y = functional_call(block, swapped, (torch.ones(2, dtype=torch.float64),))
    with pytest.raises(SolverError, match="is not among its parameters"):
        y.sum().backward()


@pytest.mark.parametrize("gradient", REAL_ONLY)
def test_sensitivities_of_swapped_weights_are_found_while_they_are_there(gradient: str) -> None:
    found = []
    for name in (gradient, "direct"):
        torch.manual_seed(0)
        block = ODEBlock(Conditioned(), solver=SOLVER, gradient=GRADIENTS[name])
        swapped = {n: (2 * p).detach().requires_grad_() for n, p in block.named_parameters()}
        y = functional_call(block, swapped, (torch.ones(2, dtype=torch.float64),))
        found.append(torch.autograd.grad(y.sum(), tuple(swapped.values())))
    torch.testing.assert_close(found[0], found[1], rtol=1e-13, atol=0)
