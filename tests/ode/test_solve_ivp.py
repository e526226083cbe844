"""scipy.integrate.solve_ivp's solvers behind the solver's contract."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import torch
from chosen import Calls, Net, leaf, real
from torch import Tensor

from node_repro.ode import SolverError, odeint
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.norm import FLAT, FULL, SEMI, CallableNorm, RmsNorm
from node_repro.ode.scipy.solve_ivp import SOLVERS, ScipyMethod, SolveIvp

every_method = pytest.mark.parametrize("method", sorted(SOLVERS))


def turn(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack((y[1], -y[0]))


def solution(f: Any, y0: Tensor, ts: Tensor, solver: SolveIvp) -> Any:  # noqa: ANN401
    return odeint(f, y0, ts, solver=solver, gradient=Adjoint(), parameters=())


@every_method
@pytest.mark.parametrize("end", [3.0, -3.0])
def test_states_and_steps_are_scipys(method: ScipyMethod, end: float) -> None:
    f, ts = Calls(turn), real(0, 0.4 * end, 0.41 * end, end)
    ours = solution(f, real(1.0, 0.0), ts, SolveIvp(1e-6, 1e-8, scipy_method=method))
    theirs = scipy.integrate.solve_ivp(
        lambda t, y: [y[1], -y[0]], (0, end), [1.0, 0.0], method=method, t_eval=ts.numpy(),
        rtol=1e-6, atol=1e-8, dense_output=True,
    )  # fmt: skip
    np.testing.assert_allclose(ours.ys.numpy(), theirs.y.T, rtol=1e-10, atol=1e-12)
    assert ours.stats.accepted == len(theirs.sol.ts) - 1
    assert ours.stats.nfe == len(f.times)
    assert min(0, end) <= min(f.times) and max(f.times) <= max(0, end)


@every_method
@pytest.mark.parametrize("norm", [FULL, SEMI, FLAT])
def test_the_adjoint_solves_backwards_with_them(method: ScipyMethod, norm: RmsNorm) -> None:
    found = []
    for solver in (
        SolveIvp(1e-7, 1e-7, scipy_method=method),
        SolveIvp(1e-11, 1e-11, scipy_method="DOP853"),
    ):
        f, y0 = Net(), leaf(0.5, -0.2, 0.9)
        ys = odeint(f, y0, real(0, 0.5, 1), solver=solver, gradient=Adjoint(norm)).ys
        found.append(torch.autograd.grad(ys.square().sum(), (y0, *f.parameters())))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_stiff_problems_are_for_the_implicit_ones() -> None:
    def stiff(t: Tensor, y: Tensor) -> Tensor:
        return -1e4 * (y - torch.cos(t)) - torch.sin(t)

    for method in ("Radau", "BDF"):
        ys, stats = solution(
            stiff, real(1.0), real(0, 3), SolveIvp(1e-6, 1e-6, scipy_method=method)
        )
        assert ys[-1].item() == pytest.approx(math.cos(3), abs=1e-5) and stats.nfe < 500


@pytest.mark.parametrize("method", ["Radau", "BDF"])
def test_a_jacobian_costs_no_more_where_there_are_many_parameters(method: ScipyMethod) -> None:
    # nothing depends on the parameters' gradients, so scipy varies all of them in one evaluation
    calls = []
    for size in (1, 300):
        shift = torch.zeros(size, dtype=torch.float64, requires_grad=True)
        f = Calls(lambda t, y, shift=shift: -y + shift.sum())
        solver = SolveIvp(1e-6, 1e-6, scipy_method=method)
        ys = odeint(
            f, leaf(1.0, 2.0), real(0, 1), solver=solver, gradient=Adjoint(SEMI),
            parameters=(shift,),
        ).ys  # fmt: skip
        f.times.clear()
        ys[-1].sum().backward()
        torch.testing.assert_close(
            shift.grad, torch.full_like(shift, 2 - 2 / math.e), rtol=1e-4, atol=0
        )
        calls.append(len(f.times))
    assert calls[0] == calls[1] < 200


@every_method
@pytest.mark.parametrize("ts", [real(0, 1), real(1, 0)])
def test_the_first_and_the_longest_step_are_kept(method: ScipyMethod, ts: Tensor) -> None:
    solver = SolveIvp(1e-2, 1e-2, scipy_method=method, first_step=1e-3, max_step=0.05)
    sizes = solution(turn, real(1.0, 0.0), ts, solver).stats.sizes
    assert sizes[0] == pytest.approx(1e-3)
    assert max(sizes) == pytest.approx(0.05)


@every_method
def test_failures_are_told_and_what_f_raises_is_raised(method: ScipyMethod) -> None:
    solver = SolveIvp(1e-6, 1e-6, scipy_method=method)
    with pytest.raises(SolverError) as caught:
        solution(lambda t, y: y**2, real(1.0), real(0, 2), solver)
    assert caught.value.kind in ("dt_underflow", "non_finite_dynamics")
    with pytest.raises(SolverError) as caught:
        few = SolveIvp(1e-6, 1e-6, scipy_method=method, max_steps=3)
        solution(turn, real(1.0, 0.0), real(0, 50), few)
    assert caught.value.kind == "max_steps"

    def broken(t: Tensor, y: Tensor) -> Tensor:
        if t > 0.5:
            raise ZeroDivisionError("in f")
        return -y

    with pytest.raises(ZeroDivisionError, match="in f"):
        solution(broken, real(1.0), real(0, 1), solver)


def test_bounds_and_names_are_checked() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"scipy_method": "RK46"}, "unknown scipy_method 'RK46'"),
        ({"max_step": 0.0}, "max_step must be positive"),
        ({"max_steps": 0}, "max_steps must be at least 1"),
    ]
    for options, message in wrong:
        with pytest.raises(SolverError, match=message):
            SolveIvp(1e-6, 1e-6, **options)
    _, stats = solution(turn, real(1.0, 0.0), real(0, 3), SolveIvp(1e-3, 1e-3, max_step=0.1))
    assert stats.h_max <= 0.1 + 1e-12


def test_a_norm_of_the_users_is_refused() -> None:
    with pytest.raises(SolverError, match="norms of their own"):
        odeint(
            turn, real(1.0, 0.0), real(0, 3), solver=SolveIvp(1e-6, 1e-6), gradient=Adjoint(),
            parameters=(), norm=CallableNorm(lambda y, q: y.abs().max()),
        )  # fmt: skip
