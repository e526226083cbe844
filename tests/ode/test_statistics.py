"""What a solve cost, as the solver counts it, against what f and its backward pass see."""

import math

import pytest
import torch
from chosen import (
    ADAPTIVE,
    ADJOINTS,
    DISCRETE,
    GRADIENTS,
    METHODS,
    REAL_ONLY,
    TOLERANCE,
    Calls,
    Net,
    WithCoupling,
    adaptive,
    leaf,
    real,
    steps,
)
from torch import Tensor

from node_repro.ode import RungeKutta, Stats, odeint
from node_repro.ode.methods import Method
from node_repro.ode.methods.implicit import ImplicitRungeKutta
from node_repro.ode.methods.reversible import Coupled
from node_repro.ode.methods.reversible_heun import ReversibleHeun
from node_repro.ode.methods.runge_kutta import ExplicitRungeKutta

SOLVERS = {f"{name}, constant": steps(name, 0.07) for name in METHODS} | {
    f"{name}, {control}": adaptive(name, 1e-4, control)
    for name in ADAPTIVE
    for control in TOLERANCE
}
EXPLICIT = {
    name: solver
    for name, solver in SOLVERS.items()
    if not isinstance(solver.method, ImplicitRungeKutta)
}
Y0 = (0.5, -0.2, 0.9)


class Counting(Net):
    """A field that counts its own evaluations and the vector-Jacobian products through them."""

    def __init__(self) -> None:
        super().__init__()
        self.evaluations = 0
        self.products = 0

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        self.evaluations += 1
        dy = super().forward(t, y)
        if dy.requires_grad:
            dy.register_hook(self.count)
        return dy

    def count(self, cotangent: Tensor) -> None:
        self.products += 1


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_the_counts_are_what_the_field_sees(solver: RungeKutta, gradient: str) -> None:
    f = Counting()
    ts = leaf(0, 0.3, 0.31, 1.5)
    ys, stats = odeint(f, leaf(*Y0), ts, solver=solver, gradient=GRADIENTS[gradient])
    # the sensitivities take a product for every element of the state, in one call, except for the
    # rates at the outputs; a Jacobian for Newton's iteration is one call, too
    calls = stats.nfe - len(ts) - stats.jacobians if gradient in REAL_ONLY else 0
    assert stats.nfe == f.evaluations
    assert stats.nvjp == len(Y0) * calls
    assert f.products == calls + stats.jacobians
    f.products = 0
    f.evaluations = 0
    ys.square().sum().backward()
    assert stats.backward is not None
    assert stats.backward.nfe == f.evaluations
    assert stats.backward.nvjp + stats.backward.jacobians == f.products


def evaluations(method: Method) -> tuple[int, bool]:
    """Of a step whose first slope is known, and whether it tells the first slope of the next."""
    if isinstance(method, ExplicitRungeKutta):
        return method.tableau.stages - 1, method.tableau.fsal
    if isinstance(method, Coupled):
        there, _ = evaluations(method.method)
        return there + method.method.tableau.essential, False
    assert isinstance(method, ReversibleHeun)
    return 1, True


@pytest.mark.parametrize("solver", EXPLICIT.values(), ids=EXPLICIT.keys())
def test_evaluations_follow_from_the_steps(solver: RungeKutta) -> None:
    f = Calls(lambda t, y: -y * torch.cos(20 * t) * 5)
    _, stats = odeint(f, real(1.0), real(0, 1), solver=solver, gradient=GRADIENTS["direct"])
    each, shared = evaluations(solver.method)
    tries = stats.accepted + stats.rejected
    start = 2 if solver.controls_error else 1
    again = 0 if shared else stats.accepted - 1
    assert stats.nfe == len(f.times) == start + each * tries + again


@pytest.mark.parametrize("control", TOLERANCE)
@pytest.mark.parametrize(("method", "each"), [("dopri5", 6), ("tsit5", 6), ("bosh3", 3)])
def test_known_pairs_cost_two_evaluations_and_so_many_a_step(
    method: str, each: int, control: str
) -> None:
    _, stats = odeint(
        lambda t, y: -y * torch.cos(20 * t) * 5, real(1.0), real(0, 3),
        solver=adaptive(method, 1e-6, control), gradient=GRADIENTS["direct"],
    )  # fmt: skip
    assert stats.rejected > 0
    assert stats.nfe == 2 + each * (stats.accepted + stats.rejected)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_an_evaluation_without_gradients_counts_nothing_backward(gradient: str) -> None:
    f = Net()
    with torch.no_grad():
        ys, stats = odeint(
            f, real(*Y0), real(0, 1), solver=adaptive(), gradient=GRADIENTS[gradient]
        )
    assert stats.backward is None and not ys.requires_grad


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_backward_is_counted_when_it_has_run_and_added_up_when_it_runs_again(gradient: str) -> None:
    ys, stats = odeint(
        Net(), real(*Y0), real(0, 1), solver=adaptive(), gradient=GRADIENTS[gradient]
    )
    assert stats.backward in (None, Stats()), "nothing before the first"
    loss = ys[-1].sum()
    loss.backward(retain_graph=True)
    assert stats.backward is not None
    forward, nfe, nvjp = stats.nfe, stats.backward.nfe, stats.backward.nvjp
    assert nvjp > 0 or gradient in REAL_ONLY
    loss.backward()
    assert (stats.backward.nfe, stats.backward.nvjp) == (2 * nfe, 2 * nvjp)
    assert stats.nfe == forward


@pytest.mark.parametrize("gradient", ADJOINTS)
def test_the_adjoint_needs_one_product_an_evaluation(gradient: str) -> None:
    ys, stats = odeint(
        Net(), real(*Y0), real(0, 1), solver=adaptive(), gradient=GRADIENTS[gradient]
    )
    ys[-1].sum().backward()
    backward = stats.backward
    assert backward is not None and backward.nvjp == backward.nfe
    # no automatic first step: it goes on with the forward one
    assert backward.nfe == 1 + 6 * (backward.accepted + backward.rejected)


@pytest.mark.parametrize("gradient", [name for name in DISCRETE if name != "direct"])
def test_what_is_redone_is_only_what_the_states_need(gradient: str) -> None:
    ys, stats = odeint(
        Net(), real(*Y0), real(0, 1), solver=adaptive(), gradient=GRADIENTS[gradient]
    )
    ys[-1].sum().backward()
    backward, taken = stats.backward, stats.accepted
    assert backward is not None and backward.accepted == taken
    if isinstance(GRADIENTS[gradient], WithCoupling):
        # twice six there and back, and as many to undo it; nothing comes from the last twin
        assert (backward.nfe, backward.nvjp) == (24 * taken, 12 * taken - 6)
    else:
        assert backward.nfe == backward.nvjp == 6 * taken


def test_step_sizes_are_reported_without_their_sign() -> None:
    for ts in (real(0, 1), real(1, 0)):
        _, stats = odeint(
            lambda t, y: y, real(1.0), ts, solver=steps("rk4", 0.3), gradient=GRADIENTS["direct"]
        )
        assert stats.accepted == 4 and stats.rejected == 0
        assert stats.h_min == pytest.approx(0.1) and stats.h_max == pytest.approx(0.3)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_solve_of_no_length_costs_nothing(gradient: str) -> None:
    _, stats = odeint(
        Net(), real(*Y0), real(1, 1, 1), solver=adaptive(), gradient=GRADIENTS[gradient]
    )
    assert (stats.nfe, stats.accepted, stats.rejected, stats.h_max) == (0, 0, 0, 0.0)
    assert stats.h_min == math.inf
