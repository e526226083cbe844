"""The adjoint method's own matters: its norms, its solver for the way back, and the way itself."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
import torch
from chosen import ADJOINTS, GRADIENTS, Net, adaptive, leaf, real, steps
from torch import Tensor, nn

from node_repro.ode import RungeKutta, Stats, odeint
from node_repro.ode.engines import DEFAULT_OPTIONS, SolveOptions, Trajectory, solve_with_jumps
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.methods import Field, State
from node_repro.ode.norm import FLAT, FULL, SEMI, Tolerances

Y0 = (0.5, -0.2, 0.9)


def test_the_flat_norm_is_one_mean_over_all_that_is_integrated() -> None:
    errors = State(real(3, -4, 1, 2).reshape(2, 2), (real(6.0), real(2, 2, 2).reshape(3, 1)))
    sizes = State(real(1, 2, 3, -4).reshape(2, 2), (real(5.0), real(6, 7, 8).reshape(3, 1)))
    rtol, atol = 0.5, 0.25
    values = torch.cat([errors.y.flatten(), *(q.flatten() for q in errors.integrals)])
    scales = torch.cat([sizes.y.flatten(), *(q.flatten() for q in sizes.integrals)])
    by_hand = ((values / (atol + rtol * scales.abs())) ** 2).mean().sqrt()
    found = FLAT.measure(errors, Tolerances.create(rtol, atol), sizes)
    torch.testing.assert_close(found, by_hand, rtol=1e-15, atol=0)
    in_parts = replace(FLAT, parts=(1, 1)).measure(errors, Tolerances.create(rtol, atol), sizes)
    torch.testing.assert_close(in_parts, by_hand, rtol=1e-15, atol=0)


def test_the_norms_stand_in_their_order() -> None:
    errors = State(real(3, -4, 1, 2).reshape(2, 2), (real(6.0), real(2, 2, 2)))
    sizes = State(torch.ones(2, 2, dtype=torch.float64), (real(1.0), real(1, 1, 1)))
    flat, semi, full = (
        float(norm.measure(errors, Tolerances.create(0.0, 1.0), sizes))
        for norm in (FLAT, SEMI, FULL)
    )
    assert semi == pytest.approx(math.sqrt(25 / 2)) and full == 6.0
    assert flat == pytest.approx(math.sqrt((25 + 5 + 36 + 12) / 8))


def solved(gradient: Adjoint, solver: RungeKutta, ts: Tensor) -> tuple[list[Tensor], Stats]:
    """The gradients of a loss on all outputs, and what the way back cost."""
    f, y0 = Net(), leaf(*Y0)
    ys, stats = odeint(f, y0, ts, solver=solver, gradient=gradient)
    found = torch.autograd.grad(ys.square().sum(), (y0, *f.parameters()))
    assert stats.backward is not None
    return list(found), stats.backward


@pytest.mark.parametrize("gradient", ADJOINTS.values(), ids=ADJOINTS.keys())
def test_the_way_back_may_have_a_solver_of_its_own(gradient: Adjoint) -> None:
    ts, forward = real(0, 1), adaptive("dopri8", 1e-10)
    usual, cost = solved(replace(gradient, solver=None), forward, ts)
    for other in (steps("rk4", 0.02), adaptive("tsit5", 1e-9), adaptive("bosh3", 1e-9, "pi")):
        found, back = solved(replace(gradient, solver=other), forward, ts)
        torch.testing.assert_close(found, usual, rtol=1e-6, atol=1e-7)
        assert back.h_max != cost.h_max
    _, back = solved(replace(gradient, solver=steps("rk4", 0.02)), forward, ts)
    assert (back.accepted, back.rejected, back.nfe) == (50, 0, 200)


@pytest.mark.parametrize("gradient", ADJOINTS.values(), ids=ADJOINTS.keys())
def test_tolerances_of_the_way_back_are_those_of_its_solver(gradient: Adjoint) -> None:
    forward, ts = adaptive("dopri5", 1e-3), real(0, 1)
    own = replace(gradient, solver=adaptive("dopri5", 1e-10))
    tight = replace(gradient, solver=adaptive("dopri5", 1e-3), rtol=1e-10, atol=1e-10)
    (one, cost), (same, other) = solved(own, forward, ts), solved(tight, forward, ts)
    assert cost == other and all(torch.equal(a, b) for a, b in zip(one, same, strict=True))


@dataclass(frozen=True)
class Forgetful:
    """A solver that starts every leg with an automatic first step."""

    solver: RungeKutta
    differentiable: bool = True
    controls_error: bool = True

    def solve(
        self, f: Field, state: State, ts: Tensor, options: SolveOptions = DEFAULT_OPTIONS
    ) -> Trajectory:
        def leg(state: State, ts: Tensor, options: SolveOptions) -> Trajectory:
            return self.solver.solve(f, state, ts, SolveOptions(options.norm))

        if options.jump is None:
            return leg(state, ts, options)
        return solve_with_jumps(leg, state, ts, options, options.jump)

    def with_tolerance(
        self, rtol: float | Tensor | None, atol: float | Tensor | None
    ) -> "Forgetful":
        return replace(self, solver=self.solver.with_tolerance(rtol, atol))


@pytest.mark.parametrize("gradient", ADJOINTS.values(), ids=ADJOINTS.keys())
def test_the_step_size_is_carried_over_the_observations(gradient: Adjoint) -> None:
    count = 50
    ts = torch.linspace(0, 2, count + 1, dtype=torch.float64)
    solver = adaptive(tol=1e-6)
    carried, cost = solved(gradient, solver, ts)
    fresh, other = solved(replace(gradient, solver=Forgetful(solver)), solver, ts)
    torch.testing.assert_close(carried, fresh, rtol=1e-4, atol=1e-5)
    # an observation ends a step: one slope and six stages each, and no search for a first step
    assert cost.rejected == 0 and cost.accepted == count and cost.nfe == 7 * count
    assert other.nfe > 1.5 * cost.nfe


@pytest.mark.parametrize("gradient", ADJOINTS.values(), ids=ADJOINTS.keys())
def test_the_state_found_on_the_way_back_is_as_good_as_the_tolerance(gradient: Adjoint) -> None:
    def strayed(tol: float) -> float:
        _, back = solved(gradient, adaptive(tol=tol), real(0, 3, 6))
        assert back.reconstruction is not None
        return back.reconstruction

    errors = [strayed(10.0**-k) for k in (3, 5, 7, 9)]
    assert all(later < earlier / 10 for earlier, later in pairwise(errors))
    assert all(error < 20 * 10.0**-k for error, k in zip(errors, (3, 5, 7, 9), strict=True))


@pytest.mark.parametrize("gradient", ADJOINTS.values(), ids=ADJOINTS.keys())
def test_a_way_back_that_meets_another_state_is_told_with_its_number(gradient: Adjoint) -> None:
    # what forward decays to 2e-9 grows backwards by 5e8, errors and all
    y0 = leaf(1.0, 2.0)
    ys, stats = odeint(
        lambda t, y: -4 * y, y0, real(0, 5), solver=adaptive(tol=1e-3), gradient=gradient,
        parameters=(),
    )  # fmt: skip
    with pytest.warns(UserWarning, match="the backward solve drifted") as caught:
        ys[-1].sum().backward()
    assert stats.backward is not None and stats.backward.reconstruction is not None
    assert stats.backward.reconstruction > 1.0
    assert f"{stats.backward.reconstruction:.0e}" in str(caught[0].message)


class Timed(nn.Module):
    """Grows at the rate cos t between two times that are trained."""

    def __init__(self, gradient: str, t0: float, t1: float) -> None:
        super().__init__()
        self.t0, self.t1 = nn.Parameter(torch.tensor(t0)), nn.Parameter(torch.tensor(t1))
        self.gradient = GRADIENTS[gradient]

    def forward(self) -> Tensor:
        ys, _ = odeint(
            lambda t, y: y * torch.cos(t), real(1.0), torch.stack((self.t0, self.t1)),
            solver=adaptive(tol=1e-8), gradient=self.gradient, parameters=(),
        )  # fmt: skip
        return ys[-1]


@pytest.mark.parametrize("end", ["t1", "t0"])
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_times_are_fitted_by_gradient_descent(gradient: str, end: str) -> None:
    module = Timed(gradient, 0.2, 0.9)
    aim = {"t1": math.exp(math.sin(1.2) - math.sin(0.2)), "t0": math.exp(math.sin(0.9))}[end]
    optimizer = torch.optim.SGD([getattr(module, end)], lr={"t1": 0.6, "t0": 0.1}[end])
    losses = []
    for _ in range(40):
        loss = (module() - aim).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    # times of single precision, as a module's parameters usually are
    assert getattr(module, end).item() == pytest.approx({"t1": 1.2, "t0": 0.0}[end], abs=1e-5)
    assert losses[-1] < 1e-10 < losses[0]
