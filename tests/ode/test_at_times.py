"""Fields that work out what depends on time alone for all stages of a step at once."""

from collections.abc import Callable

import pytest
import torch
from chosen import GRADIENTS, METHODS, REVERSIBLE, leaf, steps
from torch import Tensor, nn

from node_repro.ode import odeint


class Rotating(nn.Module):
    """dy/dt = tanh(W(t) y) with W(t) = sin(t) A + B; calls: how many times W was asked for at."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.linspace(-1, 1, 9, dtype=torch.float64).reshape(3, 3))
        self.b = nn.Parameter(torch.linspace(1, -0.5, 9, dtype=torch.float64).reshape(3, 3))
        self.calls: list[int] = []

    def weights(self, ts: Tensor) -> Tensor:
        self.calls.append(ts.numel())
        return torch.sin(ts).reshape(-1, 1, 1) * self.a + self.b

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(y @ self.weights(t)[0].T)


class Ahead(Rotating):
    """The same, all stages at once."""

    def at_times(self, ts: Tensor) -> list[Callable[[Tensor], Tensor]]:
        return [lambda y, w=w: torch.tanh(y @ w.T) for w in self.weights(ts)]


def gradients(f: Rotating, method: str, gradient: str) -> list[Tensor]:
    y0, ts = leaf(0.3, -0.4, 0.9), torch.tensor([0.0, 0.55, 1.3], dtype=torch.float64)
    ts.requires_grad_(GRADIENTS[gradient].__class__.__name__ != "Forward")
    ys, _ = odeint(f, y0, ts, solver=steps(method, 0.25), gradient=GRADIENTS[gradient])
    (ys * torch.arange(1.0, 4.0, dtype=torch.float64)).square().sum().backward()
    return [ys.detach(), *(p.grad for p in (y0, ts, *f.parameters()) if p.grad is not None)]


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_stages_at_once_change_neither_solution_nor_gradients(gradient: str) -> None:
    methods = REVERSIBLE if gradient == "reversible" else METHODS
    for method in methods:
        one_by_one, at_once = (gradients(f, method, gradient) for f in (Rotating(), Ahead()))
        assert len(one_by_one) == len(at_once) >= 4
        for expected, found in zip(one_by_one, at_once, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("gradient", ["direct", "adjoint"])
def test_a_step_asks_once_for_all_its_stages(gradient: str) -> None:
    f = Ahead()
    gradients(f, "dopri5", gradient)
    assert set(f.calls) == {1, 6}  # a solve's first slope, or all of a step that reuses a slope
    assert f.calls.count(6) >= 6


def test_the_evaluations_are_counted_as_ever() -> None:
    counts = []
    for f in (Rotating(), Ahead()):
        ts = torch.tensor([0.0, 1.0], dtype=torch.float64)
        y0, solver = leaf(0.3, -0.4, 0.9), steps("dopri5", 0.25)
        solution = odeint(f, y0, ts, solver=solver, gradient=GRADIENTS["adjoint"])
        solution.ys.sum().backward()
        assert solution.stats.backward is not None
        counts.append((solution.stats.nfe, solution.stats.backward.nfe))
    assert counts == [(1 + 4 * 6, 1 + 4 * 6)] * 2
