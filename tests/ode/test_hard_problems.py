"""Orbits, oscillators, stiffness, jumps, domains, flows with a density, and a point process."""

import math
from fractions import Fraction

import pytest
import torch
from chosen import ADAPTIVE, GRADIENTS, METHODS, TABLEAUS, Calls, adaptive, controller, real, steps
from problems import (
    DOMAIN,
    STIFF,
    Problem,
    arenstorf,
    energy_and_momentum,
    jump,
    kepler,
    rotation,
    vector,
)
from torch import Tensor

from node_repro.ode import RungeKutta, SolverError, odeint
from node_repro.ode.methods.reversible import Coupled

DIRECT = GRADIENTS["direct"]
# a method coupled with itself is unstable where errors decay: tests of its own say so
EXPLICIT = {name: m for name, m in ADAPTIVE.items() if not isinstance(m, Coupled)}
THIRD = [name for name, method in EXPLICIT.items() if method.order >= 3]
FIFTH = [name for name, method in EXPLICIT.items() if method.order >= 5]


def end_of(problem: Problem, solver: RungeKutta) -> Tensor:
    """y(t1) as this solver finds it."""
    span = real(problem.t0, problem.t1)
    with torch.no_grad():
        return odeint(problem.f, problem.y0, span, solver=solver, gradient=DIRECT).ys[-1]


@pytest.mark.parametrize("method", FIFTH)
@pytest.mark.parametrize("e", [0.1, 0.5, 0.9])
def test_kepler_keeps_its_invariants_and_its_place(method: str, e: float) -> None:
    problem, tol = kepler(e), 1e-9
    y1 = end_of(problem, adaptive(method, tol))
    assert problem.error(y1) < 500 * tol  # an error of the energy grows along three turns
    energy, momentum = energy_and_momentum(y1)
    assert energy == pytest.approx(-0.5, abs=200 * tol)
    assert momentum == pytest.approx(math.sqrt(1 - e * e), abs=200 * tol)


@pytest.mark.parametrize("method", FIFTH)
def test_arenstorfs_orbit_closes(method: str) -> None:
    problem = arenstorf()
    gap = (end_of(problem, adaptive(method, 1e-9)) - problem.y0).abs().max()
    assert gap < 1e-4  # the way around the moon multiplies errors by up to 2e4


def stability(name: str, z: complex) -> complex:
    """R(z) = 1 + sum_j z^j b^T A^(j-1) 1 of an explicit method, its coefficients exact (HNW II,
    IV.2).
    """
    tableau = TABLEAUS[name].tableau
    powers, value = [Fraction(1)] * tableau.stages, complex(1)
    for j in range(1, tableau.stages + 1):
        value += z**j * float(sum(b * k for b, k in zip(tableau.b, powers, strict=True)))
        powers = [
            sum((a * k for a, k in zip(row, powers, strict=False)), Fraction(0))
            for row in tableau.a
        ]
    return value


@pytest.mark.parametrize("name", TABLEAUS)
def test_an_oscillator_drifts_in_energy_and_phase_as_the_stability_function_says(name: str) -> None:
    count, h = 400, 0.1
    y, v = end_of(rotation(count * h), steps(name, h)).tolist()
    assert complex(y, v) == pytest.approx(stability(name, -1j * h) ** count, rel=1e-11)


@pytest.mark.parametrize("method", FIFTH)
def test_the_energy_of_a_controlled_oscillator_drifts_by_a_tolerance_a_radian_at_most(
    method: str,
) -> None:
    problem, tol = rotation(100.0), 1e-7
    y1 = end_of(problem, adaptive(method, tol))
    assert abs(float(y1.norm()) - 1) < 100 * tol
    assert float((y1 - problem.at(100.0)).norm()) < 100 * tol


@pytest.mark.parametrize("method", THIRD)
@pytest.mark.parametrize("problem", STIFF, ids=lambda problem: problem.name)
def test_stiffness_is_solved_or_ends_in_a_message_within_bounded_work(
    problem: Problem, method: str
) -> None:
    tol, limit = 1e-4, 150
    f = Calls(problem.f)
    solver = RungeKutta(METHODS[method], controller("integral", rtol=tol, atol=tol), limit)
    try:
        with torch.no_grad():
            ys, stats = odeint(
                f, problem.y0, real(problem.t0, problem.t1), solver=solver, gradient=DIRECT
            )
    except SolverError as error:
        # Robertson's leaves positive numbers within the tolerance, and then it does blow up
        assert error.kind in ("max_steps", "dt_underflow", "non_finite_dynamics")
        assert "may be stiff" in str(error) or "may blow up" in str(error)
        assert error.t is not None and problem.t0 <= error.t < problem.t1
    else:
        assert stats.accepted + stats.rejected <= limit
        if problem.exact is not None:
            assert problem.error(ys[-1]) < 20 * tol
    assert len(f.times) <= 2 + 28 * limit  # two steps of a method of 14 stages


@pytest.mark.parametrize("method", THIRD)
@pytest.mark.parametrize("tol", [1e-4, 1e-7])
def test_a_jump_of_f_costs_rejections_and_two_digits_at_most(method: str, tol: float) -> None:
    problem = jump()
    with torch.no_grad():
        ys, stats = odeint(
            problem.f, problem.y0, real(problem.t0, problem.t1), solver=adaptive(method, tol),
            gradient=DIRECT,
        )  # fmt: skip
    # y^2 multiplies an error at the jump by 20, and an estimate cannot see all of a jump
    assert problem.error(ys[-1]) < 1000 * tol
    assert 0 < stats.rejected < 60


@pytest.mark.parametrize("method", EXPLICIT)
@pytest.mark.parametrize("problem", DOMAIN, ids=lambda problem: problem.name)
def test_trials_outside_of_the_domain_of_f_only_shorten_the_step(
    problem: Problem, method: str
) -> None:
    tol = 1e-6
    found = end_of(problem, adaptive(method, tol, first_step=problem.t1))
    assert problem.error(found) < 1000 * tol  # the logarithm multiplies the first errors by 16


def with_log_density(a: Tensor) -> Problem:
    """z' = A z with d log p / dt = -tr A beside it: the trace is taken of the full Jacobian."""
    n = len(a)

    def f(t: Tensor, y: Tensor) -> Tensor:
        jacobian = torch.autograd.functional.jacobian(lambda z: a @ z, y[:n])
        assert isinstance(jacobian, Tensor)
        return torch.cat((a @ y[:n], -torch.trace(jacobian)[None]))

    z0 = torch.linspace(-1, 1, n, dtype=torch.float64)
    return Problem("linear flow", f, torch.cat((z0, vector(0.0))), 1.5)


@pytest.mark.parametrize("method", ["dopri5", "dopri8"])
def test_the_log_density_of_a_linear_flow_is_the_trace_to_rounding(method: str) -> None:
    generator = torch.Generator().manual_seed(4)
    a = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    problem, tol = with_log_density(a), 1e-6
    y1 = end_of(problem, adaptive(method, tol))
    assert y1[-1].item() == pytest.approx(-1.5 * float(torch.trace(a)), rel=1e-13)
    exact = torch.linalg.matrix_exp(1.5 * a) @ problem.y0[:-1]
    assert float((y1[:-1] - exact).abs().max()) < 20 * tol * (1 + float(exact.abs().max()))


def test_a_rotation_keeps_the_density() -> None:
    y1 = end_of(with_log_density(torch.stack((vector(0, 2), vector(-2, 0)))), adaptive())
    assert y1[-1].item() == 0.0


def flow(t: Tensor, y: Tensor) -> Tensor:
    """z' = W tanh(V z + t) in the plane and d log p / dt = -tr df/dz, for a batch: (n, 3)."""
    w = torch.stack((vector(0.8, -0.5), vector(0.3, 0.6)))
    v = torch.stack((vector(1.0, 0.4), vector(-0.7, 0.9)))
    inner = torch.tanh(y[:, :2] @ v.T + t)
    trace = ((1 - inner**2) * torch.einsum("ij,ji->i", v, w)).sum(1)
    return torch.cat((inner @ w.T, -trace[:, None]), dim=1)


def test_the_trace_of_the_flow_is_that_of_its_full_jacobian() -> None:
    t, z = vector(0.3)[0], vector(0.2, -0.5, 0.0)
    jacobian = torch.autograd.functional.jacobian(lambda y: flow(t, y[None])[0], z)
    assert isinstance(jacobian, Tensor)
    trace = float(jacobian[0, 0] + jacobian[1, 1])
    assert -float(flow(t, z[None])[0, 2]) == pytest.approx(trace, rel=1e-12)


@pytest.mark.parametrize("method", ["tsit5", "dopri8"])
def test_the_density_of_a_flow_integrates_to_one_and_its_points_return(method: str) -> None:
    tol, grid = 1e-7, torch.linspace(-9, 9, 121, dtype=torch.float64)
    x = torch.cartesian_prod(grid, grid)
    start = torch.cat((x, torch.zeros(len(x), 1, dtype=torch.float64)), dim=1)
    solver = adaptive(method, tol)
    with torch.no_grad():
        # from the data back to the base, a normal distribution; then there again
        base = odeint(flow, start, real(1.0, 0.0), solver=solver, gradient=DIRECT).ys[-1]
        again = odeint(flow, base, real(0.0, 1.0), solver=solver, gradient=DIRECT).ys[-1]
    log_base = -base[:, :2].square().sum(1) / 2 - math.log(2 * math.pi)
    density = torch.exp(log_base - base[:, 2])
    cell = float(grid[1] - grid[0]) ** 2
    assert float(density.sum()) * cell == pytest.approx(1.0, abs=1e-6)
    assert float((again - start).abs().max()) < 10 * tol * float(1 + start.abs().max())


@pytest.mark.parametrize("method", THIRD)
def test_the_integral_of_a_rate_that_follows_the_state_is_the_closed_form(method: str) -> None:
    # a Poisson process with the rate h^2 of a state h' = -h: its integral is (1 - exp(-2t)) / 2
    tol = 1e-7
    problem = Problem(
        "Poisson", lambda t, y: torch.stack((-y[0], y[0] ** 2)), vector(1, 0), 3.0,
        exact=lambda t: vector(math.exp(-t), (1 - math.exp(-2 * t)) / 2),
    )  # fmt: skip
    assert problem.error(end_of(problem, adaptive(method, tol))) < 20 * tol
