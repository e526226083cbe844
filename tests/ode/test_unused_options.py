"""Options that would have no effect are refused, or mean what they say."""

import pytest
import torch
from chosen import GRADIENTS, Net, adaptive, leaf, real, steps
from torch import Tensor

from node_repro import ode

DIRECT = GRADIENTS["direct"]


@pytest.mark.parametrize("norm", [ode.SEMI, ode.FLAT, ode.CallableNorm(lambda y, _: y.abs().max())])
def test_a_norm_of_an_adjoint_in_constant_steps_is_refused(norm: ode.Norm) -> None:
    def solved(solver: ode.Solver, gradient: ode.Adjoint) -> Tensor:
        return ode.odeint(
            Net(), leaf(0.1, 0.2, 0.3), real(0, 1), solver=solver, gradient=gradient
        ).ys

    with pytest.raises(ode.SolverError, match="norm of Adjoint") as caught:
        solved(steps("rk4", 0.25), ode.Adjoint(norm))
    assert caught.value.kind == "bad_input"
    with pytest.raises(ode.SolverError, match="norm of Adjoint"):
        solved(adaptive(), ode.Adjoint(norm, steps("rk4", 0.25)))
    solved(steps("rk4", 0.25), ode.Adjoint())
    solved(steps("rk4", 0.25), ode.Adjoint(norm, adaptive()))


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_norm_of_constant_steps_is_refused(gradient: str) -> None:
    with pytest.raises(ode.SolverError, match="leave out norm=") as caught:
        ode.odeint(
            Net(), leaf(0.1, 0.2, 0.3), real(0, 1), solver=steps("rk4", 0.25),
            gradient=GRADIENTS[gradient], norm=ode.RmsNorm(flat=True),
        )  # fmt: skip
    assert caught.value.kind == "bad_input"


def test_a_norm_of_dense_solutions_and_events_in_constant_steps_is_refused() -> None:
    solver, norm = steps("rk4", 0.25), ode.RmsNorm()
    with pytest.raises(ode.SolverError, match="leave out norm="):
        ode.odeint_dense(lambda t, y: -y, real(1.0), 0.0, 1.0, solver=solver, norm=norm)
    with pytest.raises(ode.SolverError, match="leave out norm="):
        ode.odeint_event(
            lambda t, y: -y, real(1.0), 0.0, lambda t, y: y[0] - 0.5, solver=solver,
            gradient=DIRECT, limit=2.0, norm=norm,
        )  # fmt: skip


def test_parameters_of_a_direct_solve_are_all_that_f_may_depend_on() -> None:
    theta, other = leaf(0.7), leaf(0.2)
    f = lambda t, y: theta * y - other  # noqa: E731

    def solved(parameters: tuple[Tensor, ...] | None) -> Tensor:
        return ode.odeint(
            f, real(1.0), real(0, 1), solver=adaptive(), gradient=DIRECT, parameters=parameters
        ).ys[-1]

    for some in ((), (theta,), (other,)):
        with pytest.raises(ode.SolverError, match="not among its parameters") as caught:
            solved(some)
        assert caught.value.kind == "bad_input"
    aim = torch.autograd.grad(solved(None), (theta, other))
    for found in (solved((theta, other)), solved((other, theta))):
        assert all(map(torch.equal, torch.autograd.grad(found, (theta, other)), aim))
    with torch.no_grad():
        solved(())


def test_frozen_tensors_of_a_direct_solve_are_among_those_that_f_may_depend_on() -> None:
    theta, other = leaf(0.7), leaf(0.2)

    def solved(frozen: tuple[Tensor, ...]) -> Tensor:
        return ode.odeint(
            lambda t, y: theta * y - other, real(1.0), real(0, 1), solver=adaptive(),
            gradient=DIRECT, parameters=(theta,), frozen=frozen,
        ).ys[-1]  # fmt: skip

    with pytest.raises(ode.SolverError, match="not among its parameters"):
        solved(())
    assert solved((other,)).requires_grad


def test_the_order_of_lsodas_stiff_formulas_is_bounded_too() -> None:
    def steps_of(max_order: int) -> int:
        return ode.odeint(
            lambda t, y: -1000 * (y - torch.cos(t)) - torch.sin(t), real(1.5), real(0, 10),
            solver=ode.Lsoda(1e-7, 1e-7, max_steps=100_000, max_order=max_order),
            gradient=ode.Adjoint(), parameters=(),
        ).stats.accepted  # fmt: skip

    assert steps_of(12) < 0.5 * steps_of(2)
