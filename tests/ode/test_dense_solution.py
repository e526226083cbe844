"""Solutions as functions of time."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from chosen import ADAPTIVE, GRADIENTS, METHODS, Net, adaptive, leaf, real, steps
from torch import Tensor

from node_repro.ode import RungeKutta, SolverError, odeint, odeint_dense
from node_repro.ode.methods.reversible_heun import ReversibleHeun
from node_repro.ode.scipy.lsoda import Lsoda
from node_repro.runs.meters import SavedBytes

TIGHT = adaptive("dopri8", 1e-12)
SOLVERS = {f"{name}, constant": steps(name, 0.17) for name in METHODS} | {
    f"{name}, controlled": adaptive(name, 1e-5) for name in ADAPTIVE
}


def growth(t: Tensor, y: Tensor) -> Tensor:
    return y * torch.cos(t)


def exact(t: Tensor) -> Tensor:
    """Of growth from 2 at t = 0.3."""
    return 2 * torch.exp(torch.sin(t) - math.sin(0.3)).unsqueeze(-1)


@pytest.mark.parametrize("span", [(0.2, 2.1), (1.3, -0.9)], ids=["rising", "falling"])
@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())
def test_states_are_those_that_odeint_gives(solver: RungeKutta, span: tuple[float, float]) -> None:
    f, y0 = Net(), real(0.5, -0.2, 0.9)
    ts = torch.linspace(*span, 40, dtype=torch.float64)
    with torch.no_grad():
        ys, stats = odeint(f, y0, ts, solver=solver, gradient=GRADIENTS["direct"])
        solution = odeint_dense(f, y0, *span, solver=solver)
        # a step begins where another ends: the same state, by another formula
        torch.testing.assert_close(solution(ts), ys, rtol=1e-13, atol=1e-13)
    assert solution.stats == stats
    assert solution.points[0] == span[0] and solution.points[-1] == span[1]
    assert len(solution.points) == stats.accepted + 1


@pytest.mark.parametrize("name", METHODS)
def test_states_and_slopes_between_steps_have_the_dense_order(name: str) -> None:
    method = METHODS[name]
    order = min(method.order, method.dense_order + 1)
    counts = [8, 12, 16, 24, 32] if order < 6 else [6, 8, 10, 12]
    ts = torch.linspace(0.3, 2.3, 201, dtype=torch.float64)
    errors, slopes = [], []
    for n in counts:
        solution = odeint_dense(growth, real(2.0), 0.3, 2.3, solver=steps(name, 2 / n))
        aim = exact(ts)
        errors.append(float((solution(ts) - aim).abs().max()))
        rate = solution.derivative(ts) - aim * torch.cos(ts).unsqueeze(-1)
        slopes.append(float(rate.abs().max()))
    found = [-np.polyfit(np.log(counts), np.log(e), 1)[0] for e in (errors, slopes)]
    assert found[0] > order - 0.3, (found, errors)
    assert found[1] > min(order, method.dense_order) - 0.4, (found, slopes)


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())
def test_the_derivative_is_that_of_the_states(solver: RungeKutta) -> None:
    solution = odeint_dense(growth, real(2.0), 0.3, 2.3, solver=solver)
    ts = torch.linspace(0.3, 2.3, 17, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(solution(ts).sum(), ts)
    torch.testing.assert_close(solution.derivative(ts)[:, 0], slope, rtol=1e-10, atol=1e-10)


def test_times_may_come_in_any_order_and_shape() -> None:
    solution = odeint_dense(growth, real(2.0, 1.0), 0.3, 2.3, solver=adaptive())
    ts = torch.linspace(0.3, 2.3, 24, dtype=torch.float64)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    ys = solution(ts)
    assert ys.shape == (24, 2)
    torch.testing.assert_close(solution(ts[order]), ys[order], rtol=1e-15, atol=0)
    torch.testing.assert_close(solution(ts.reshape(4, 6)), ys.reshape(4, 6, 2), rtol=1e-15, atol=0)
    torch.testing.assert_close(solution(ts[5]), ys[5], rtol=1e-15, atol=0)
    torch.testing.assert_close(solution(float(ts[5])), ys[5], rtol=1e-15, atol=0)
    torch.testing.assert_close(solution(ts[[5, 5, 3]]), ys[[5, 5, 3]], rtol=1e-15, atol=0)
    assert solution(ts[:0]).shape == (0, 2) and solution.derivative(ts[:0]).shape == (0, 2)
    assert solution(1).shape == (2,) and solution.derivative(1.5).shape == (2,)
    assert solution(ts.float().clamp(0.3, 2.3)[1:-1]).dtype == torch.float64


@pytest.mark.parametrize("method", METHODS)
def test_the_solution_goes_through_the_ends_of_its_steps(method: str) -> None:
    solution = odeint_dense(growth, real(2.0), 0.3, 2.3, solver=steps(method, 0.25))
    for i, t in enumerate(solution.points[1:-1], start=1):
        beside = [math.nextafter(t, -9), t, math.nextafter(t, 9)]
        ys = solution(real(*beside))
        torch.testing.assert_close(ys, ys[1].expand(3, 1), rtol=1e-13, atol=0, msg=str(i))


@pytest.mark.parametrize("span", [(0.3, 2.3), (0.3, -1.0)], ids=["rising", "falling"])
def test_gradients_are_those_of_the_closed_form(span: tuple[float, float]) -> None:
    y0, theta, t0, t1 = leaf(1.7), leaf(-0.6), leaf(span[0]), leaf(span[1])
    t = leaf(*(span[0] + x * (span[1] - span[0]) for x in (0.31, 0.77, 1.0, 0.0)))
    solution = odeint_dense(lambda t, y: theta * y, y0, t0[0], t1[0], solver=TIGHT)
    weights = real(0.3, -1.0, 2.0, 0.7)
    found = torch.autograd.grad((solution(t)[:, 0] * weights).sum(), (y0, theta, t0, t))
    aim = torch.autograd.grad(((y0 * torch.exp(theta * (t - t0))) * weights).sum(),
                              (y0, theta, t0, t))  # fmt: skip
    # a step of dopri8 at 1e-12 is long, and its dense output has order 7
    torch.testing.assert_close(found, aim, rtol=1e-7, atol=1e-7)


def test_no_state_but_the_last_moves_with_the_end() -> None:
    t1 = leaf(2.3)
    solution = odeint_dense(growth, real(2.0), 0.3, t1[0], solver=adaptive(tol=1e-9))
    (found,) = torch.autograd.grad(solution(real(0.5, 1.0, 2.25)).sum(), t1)
    # to the accuracy of the dense output: the last step's moves with its end
    assert abs(found.item()) < 1e-6


def test_gradients_go_through_a_solution_to_the_network() -> None:
    f, y0 = Net(), leaf(0.5, -0.2, 0.9)
    ts = real(0.2, 0.5, 1.1, 2.0)
    ys, _ = odeint(f, y0, ts, solver=adaptive(), gradient=GRADIENTS["direct"])
    aim = torch.autograd.grad(ys.square().sum(), (y0, *f.parameters()))
    solution = odeint_dense(f, y0, 0.2, 2.0, solver=adaptive())
    found = torch.autograd.grad(solution(ts).square().sum(), (y0, *f.parameters()))
    torch.testing.assert_close(found, aim, rtol=1e-12, atol=1e-13)


def test_a_tuple_is_read_as_a_tuple() -> None:
    solution = odeint_dense(
        lambda t, y: (y[1], -y[0]), (real(1, 0), real(0, 1)), 0.0, 1.0, solver=TIGHT
    )
    ts = real(0.9, 0.1)
    first, second = solution(ts)
    torch.testing.assert_close(first, torch.stack((ts.cos(), ts.sin()), dim=1), rtol=1e-8, atol=0)
    assert second.shape == (2, 2) and solution(0.4)[1].shape == (2,)
    slope, _ = solution.derivative(ts)
    torch.testing.assert_close(slope, second, rtol=1e-6, atol=1e-7)


def test_other_kinds_of_states_are_read_as_they_are() -> None:
    for dtype in (torch.float32, torch.complex64, torch.complex128):
        y0 = torch.ones(2, 3, dtype=dtype)
        solution = odeint_dense(lambda t, y: -y, y0, 0.0, 1.0, solver=adaptive(tol=1e-5))
        assert solution(0.5).dtype == dtype and solution(real(0.1, 0.2)).shape == (2, 2, 3)
        assert solution.derivative(0.5).dtype == dtype
        torch.testing.assert_close(solution(0.5), y0 * math.exp(-0.5), rtol=1e-4, atol=0)


def test_without_gradients_nothing_is_held_for_them() -> None:
    with torch.no_grad(), SavedBytes() as saved:
        solution = odeint_dense(Net(), real(0.5, -0.2, 0.9), 0.0, 1.0, solver=adaptive())
        assert not solution(0.5).requires_grad
    assert saved.total_bytes == 0


@pytest.mark.parametrize("span", [(0.3, 2.3), (2.3, 0.3)], ids=["rising", "falling"])
@pytest.mark.parametrize("t", [0.29, 2.31, math.nan, math.inf])
def test_times_outside_are_refused(span: tuple[float, float], t: float) -> None:
    solution = odeint_dense(growth, real(2.0), *span, solver=adaptive())
    sentence = f"t = {t:g} lies outside of the solution, which goes from {span[0]} to {span[1]}"
    for read in (solution, solution.derivative):
        for times in (t, real(1.0, t)):
            with pytest.raises(SolverError) as caught:
                read(times)
            assert str(caught.value) == f"bad_input: {sentence}"


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "no span": ({"t1": 0.3}, r"t0 = t1 = 0\.3"),
    "no end": ({"t1": math.inf}, r"from 0\.3 to inf: give finite times"),
    "NaN": ({"t0": math.nan}, r"from nan to 2"),
    "a list": ({"y0": [real(1.0)]}, "y0 must be a tensor, not list"),
    "integers": ({"y0": torch.tensor([1])}, "y0 is torch.int64; a state is float32"),
    "scipy's": (
        {"solver": Lsoda(rtol=1e-6, atol=1e-6)},
        "Lsoda gives no access to its steps.*: use a Runge-Kutta method",
    ),
}


@pytest.mark.parametrize(("change", "sentence"), REFUSALS.values(), ids=REFUSALS.keys())
def test_what_makes_no_solution_is_refused(change: dict[str, Any], sentence: str) -> None:
    given = {"y0": real(1.0), "t0": 0.3, "t1": 2.0, "solver": adaptive()} | change
    solver = given.pop("solver")
    with pytest.raises(SolverError, match=sentence) as caught:
        odeint_dense(growth, **given, solver=solver)
    assert caught.value.kind == "bad_input"


def test_every_method_tells_the_order_of_its_dense_output() -> None:
    assert all(1 <= method.dense_order <= method.order for method in METHODS.values())
    assert ReversibleHeun().dense_order == 2
