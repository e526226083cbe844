"""Prescribed steps: they end where they are told to, repeat a mesh, and lead nowhere else."""

import math
from itertools import pairwise

import pytest
import torch
from chosen import GRADIENTS, METHODS, Net, adaptive, leaf, real
from torch import Tensor

from node_repro.ode import RungeKutta, SolverError, odeint
from node_repro.ode.controllers.prescribed import Prescribed
from node_repro.ode.engines import Mesh
from node_repro.ode.field import Plain
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.methods import State

DIRECT = GRADIENTS["direct"]
MANY = 10**9
POINTS = (0.0, 0.1, 0.35, 1.0, 1.7)


def prescribed(name: str, points: tuple[float, ...]) -> RungeKutta:
    return RungeKutta(METHODS[name], Prescribed(points), max_steps=MANY)


def decay(t: Tensor, y: Tensor) -> Tensor:
    return -y * torch.cos(3 * t)


@pytest.mark.parametrize("points", [POINTS, POINTS[::-1], (-3.0, -1.0, 1e-3, 5.0)])
def test_steps_end_at_the_given_times(points: tuple[float, ...]) -> None:
    solver = prescribed("rk4", points)
    mesh = solver.solve(Plain(decay), State(real(1.0)), real(points[0], points[-1])).mesh
    assert mesh.points == pytest.approx(points, rel=1e-15, abs=1e-15)
    assert mesh.points[-1] == points[-1]


def test_euler_on_a_grid_is_the_product_of_its_steps() -> None:
    ys, stats = odeint(
        lambda t, y: y, real(1.0), real(*POINTS), solver=prescribed("euler", POINTS),
        gradient=DIRECT,
    )  # fmt: skip
    factors = [1.0 + b - a for a, b in pairwise(POINTS)]
    products = [math.prod(factors[:n]) for n in range(len(POINTS))]
    assert ys[:, 0].tolist() == pytest.approx(products, rel=1e-14)
    assert (stats.accepted, stats.rejected) == (4, 0)


def mesh_of(solver: RungeKutta, y0: Tensor) -> Mesh:
    with torch.no_grad():
        return solver.solve(Plain(Net()), State(y0), real(0.0, 2.0)).mesh


def test_a_mesh_repeats_the_solution_of_controlled_steps_to_rounding() -> None:
    controlled = adaptive("dopri5", 1e-6)
    y0, f, ts = real(0.5, -0.2, 0.9), Net(), real(0.0, 0.7, 2.0)
    points = mesh_of(controlled, y0).points
    assert len(points) > 4
    aim = odeint(f, y0, ts, solver=controlled, gradient=DIRECT).ys
    again = odeint(f, y0, ts, solver=prescribed("dopri5", points), gradient=DIRECT).ys
    torch.testing.assert_close(again, aim, rtol=1e-14, atol=1e-14)


def test_differences_over_a_repeated_mesh_are_the_direct_gradient() -> None:
    # over controlled steps, a difference would see the steps change
    controlled = adaptive("dopri5", 1e-3)
    f, y0 = Net(), leaf(0.5, -0.2, 0.9)
    ys = odeint(f, y0, real(0.0, 2.0), solver=controlled, gradient=DIRECT).ys
    (aim,) = torch.autograd.grad(ys[-1].sum(), y0)
    frozen = prescribed("dopri5", mesh_of(controlled, y0.detach()).points)
    for i in range(3):
        eps = 1e-6 * torch.eye(3, dtype=torch.float64)[i]
        ends = [
            odeint(f, y0.detach() + sign * eps, real(0.0, 2.0), solver=frozen, gradient=DIRECT)
            .ys[-1].sum().item()
            for sign in (1, -1)
        ]  # fmt: skip
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(aim[i].item(), rel=1e-8)


@pytest.mark.parametrize("gradient", ["checkpointed", "direct"])
def test_gradients_of_the_discrete_solution_take_prescribed_steps(gradient: str) -> None:
    y0 = leaf(0.5, -0.2, 0.9)
    solver = prescribed("rk4", POINTS)
    ys = odeint(Net(), y0, real(0.0, 1.7), solver=solver, gradient=GRADIENTS[gradient]).ys
    (g,) = torch.autograd.grad(ys[-1].sum(), y0)
    assert torch.isfinite(g).all() and g.abs().min() > 0


def test_the_adjoint_takes_another_solver_back() -> None:
    f, y0 = Net(), leaf(0.5, -0.2, 0.9)
    solver, ts = prescribed("rk4", POINTS), real(0.0, 1.7)
    ys = odeint(f, y0, ts, solver=solver, gradient=Adjoint()).ys
    with pytest.raises(SolverError, match="pass a separate solver to Adjoint"):
        ys[-1].sum().backward()
    back = Adjoint(solver=prescribed("rk4", POINTS[::-1]))
    odeint(f, y0, ts, solver=solver, gradient=back).ys[-1].sum().backward()
    assert y0.grad is not None


@pytest.mark.parametrize("span", [(0.0, 1.0), (1.7, 0.0), (0.1, 1.7)])
def test_another_span_is_refused(span: tuple[float, float]) -> None:
    with pytest.raises(SolverError, match="is not among the prescribed steps") as caught:
        odeint(decay, real(1.0), real(*span), solver=prescribed("rk4", POINTS), gradient=DIRECT)
    assert caught.value.kind == "bad_input"


@pytest.mark.parametrize(
    "points", [(), (1.0,), (0.0, 0.0), (0.0, 1.0, 0.5), (0.0, math.inf), (0.0, math.nan)]
)
def test_points_that_lead_nowhere_are_refused(points: tuple[float, ...]) -> None:
    with pytest.raises(SolverError, match="at least two finite times"):
        Prescribed(points)
