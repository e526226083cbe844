"""Adams methods: their weights, their order, and what depends on their history."""

import math
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from chosen import Net, leaf, real
from torch import Tensor

from node_repro.ode import RungeKutta, SolverError, odeint, odeint_dense, odeint_event
from node_repro.ode.controllers.constant import Constant
from node_repro.ode.controllers.prescribed import Prescribed
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.gradients.checkpointed import Checkpointed
from node_repro.ode.gradients.direct import Direct
from node_repro.ode.methods.adams import MAX_POINTS, Adams, Corrector, formula
from node_repro.ode.methods.dopri8 import DOPRI8

SOLVED = Corrector(30, 1e-14, 1e-14)
METHODS = [Adams(3), Adams(4), Adams(5), Adams(3, SOLVED), Adams(4, SOLVED), Adams(2)]
IDS = [f"{m.name}-{m.points}" for m in METHODS]


def swing(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack((y[1] * torch.cos(t), -y[0] - 0.1 * y[1]))


def test_weights_are_those_of_the_tables() -> None:
    # Hairer, Norsett, Wanner: Solving ODEs I, III.1, (1.5) and (1.9)
    assert formula((0,)) == (1,)
    assert formula((0, -1, -2, -3)) == tuple(Fraction(n, 24) for n in (55, -59, 37, -9))
    assert formula((1, 0)) == (Fraction(1, 2), Fraction(1, 2))
    assert formula((1, 0, -1, -2)) == tuple(Fraction(n, 24) for n in (9, 19, -5, 1))


@pytest.mark.parametrize("points", range(1, MAX_POINTS + 1))
def test_a_formula_integrates_polynomials_exactly(points: int) -> None:
    for nodes in (tuple(-j for j in range(points)), tuple(1 - j for j in range(points + 1))):
        for degree in range(len(nodes)):
            value = sum(
                w * Fraction(x) ** degree for w, x in zip(formula(nodes), nodes, strict=True)
            )
            assert value == Fraction(1, degree + 1)


def errors(method: Adams, meshes: list[tuple[float, ...]]) -> list[Tensor]:
    """At an output within a step, and at the end."""
    ts, y0 = real(0, 0.77, 2), real(1.0, 0.5)
    solvers = [RungeKutta(method, Prescribed(points)) for points in meshes]
    fine = RungeKutta(DOPRI8, Constant(0.02))
    aim, *found = (
        odeint(swing, y0, ts, solver=solver, gradient=Direct()).ys for solver in (fine, *solvers)
    )
    return [(ys - aim).abs().amax(1)[1:] for ys in found]


@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_the_error_falls_with_the_order_for_equal_and_unequal_steps(
    method: Adams, equal: bool
) -> None:
    def stretched(x: float) -> float:
        return x if equal else x + 0.06 * math.sin(5 * x) * x * (2 - x)

    meshes = [tuple(stretched(2 * i / n) for i in range(n + 1)) for n in (40, 80, 160)]
    for coarse, fine in pairwise(errors(method, meshes)):
        assert torch.log2(coarse / fine).min() > method.order - (0.35 if equal else 0.6)


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_the_adjoint_integrates_parameters_by_the_same_formulas(method: Adams) -> None:
    found = []
    for solver, gradient in (
        (RungeKutta(method, Constant(0.01)), Adjoint()),
        (RungeKutta(Adams(4, SOLVED), Constant(0.005)), Direct()),
    ):
        f, y0 = Net(), leaf(0.5, -0.2, 0.9)
        ys = odeint(f, y0, real(0, 0.3, 1), solver=solver, gradient=gradient).ys
        found.append(torch.autograd.grad(ys.square().sum(), (y0, *f.parameters())))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", [Adams(4), Adams(3, Corrector(8, 1e-3, 1e-3))], ids=["ab", "am"])
def test_direct_gradients_are_those_of_the_discrete_solution(method: Adams) -> None:
    def states(y0: Tensor, rate: Tensor) -> Tensor:
        solver = RungeKutta(method, Constant(0.1))
        return odeint(
            lambda t, y: rate * swing(t, y), y0, real(0, 0.33, 1), solver=solver, gradient=Direct()
        ).ys

    assert torch.autograd.gradcheck(states, (leaf(1.0, 0.5), leaf(1.2)))


@pytest.mark.parametrize("method", [Adams(4), Adams(4, SOLVED)], ids=["ab", "am"])
def test_times_have_gradients(method: Adams) -> None:
    ts = leaf(0.0, 0.77, 2.0)
    solver = RungeKutta(method, Constant(0.02))
    ys = odeint(swing, real(1.0, 0.5), ts, solver=solver, gradient=Direct()).ys
    (gts,) = torch.autograd.grad(ys[1:].sum(), ts)
    rates = [swing(t, y).sum() for t, y in zip(ts[1:], ys[1:], strict=True)]
    torch.testing.assert_close(gts[1:], torch.stack(rates).detach(), rtol=1e-5, atol=0)
    # all that is solved moves with the start: as if the start stood still and the field moved
    shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
    moved = odeint(
        lambda t, y: swing(t + shift, y),
        real(1.0, 0.5),
        ts.detach(),
        solver=solver,
        gradient=Direct(),
    ).ys
    (whole,) = torch.autograd.grad(moved[1:].sum(), shift)
    assert gts.sum().item() == pytest.approx(whole.item(), rel=1e-4)


def test_events_and_dense_solutions_use_the_same_polynomials() -> None:
    solver = RungeKutta(Adams(5), Constant(0.01))
    found = odeint_event(
        lambda t, y: -y, real(1.0), 0.0, lambda t, y: y[0] - 0.5, solver=solver,
        gradient=Direct(), limit=2.0,
    )  # fmt: skip
    assert found.t.item() == pytest.approx(math.log(2), abs=1e-8)
    dense = odeint_dense(lambda t, y: -y, real(1.0), 0.0, 1.0, solver=solver)
    for t in (0.0, 0.004, 0.0163, 0.5, 0.777, 1.0):
        assert dense(t).item() == pytest.approx(math.exp(-t), abs=1e-8)
        assert dense.derivative(t).item() == pytest.approx(-math.exp(-t), abs=1e-6)


def test_redoing_single_steps_is_refused() -> None:
    with pytest.raises(SolverError, match="depends on the steps before it: use gradient=direct"):
        odeint(
            Net(), leaf(0.5, -0.2, 0.9), real(0, 1), gradient=Checkpointed(),
            solver=RungeKutta(Adams(4), Constant(0.1)),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("points", "corrector", "message"),
    [(12, None, "points must lie in"), (4, Corrector(0), "iterations must be at least 1")],
)
def test_numbers_out_of_range_are_refused(
    points: int, corrector: Corrector | None, message: str
) -> None:
    with pytest.raises(SolverError, match=message):
        Adams(points, corrector)
