"""Implicit Runge-Kutta methods: tableaus, Newton's iteration, gradients, stiff problems."""

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from chosen import ADJOINTS, GRADIENTS, IMPLICIT, METHODS, Net, adaptive, leaf, real, steps
from rooted_trees import elementary_weights, gamma, trees
from torch import Tensor, nn

from node_repro.ode import RungeKutta, SolverError, Stats, drop_in, odeint
from node_repro.ode.controllers.pi import PI
from node_repro.ode.controllers.prescribed import Prescribed
from node_repro.ode.methods import linear_system
from node_repro.ode.methods.linear_system import gmres
from node_repro.ode.tableau import ImplicitTableau

DIRECT = GRADIENTS["direct"]
COLLOCATION = ["implicit_euler", "implicit_midpoint", "trapezoid", "radauIIA3", "radauIIA5"]
COLLOCATION += ["gl4", "gl6"]
L_STABLE = ["implicit_euler", "radauIIA3", "radauIIA5", "sdirk2", "trbdf2", "esdirk54"]
ROUNDED = 1e-22  # of square roots to 40 decimals, and of esdirk54's published fractions


def tableau(name: str) -> ImplicitTableau:
    found = IMPLICIT[name].tableau
    assert isinstance(found, ImplicitTableau)
    return found


def residuals(name: str, weights: tuple[Fraction, ...], order: int) -> list[float]:
    """How far the weights are from the conditions of the trees of that order."""
    phi = elementary_weights(tableau(name).a, Fraction(1))
    sums = (sum((w * p for w, p in zip(weights, phi(tree), strict=True)), Fraction(0)) -
            Fraction(1, gamma(tree)) for tree in trees(order))  # fmt: skip
    return [abs(float(x)) for x in sums]


@pytest.mark.parametrize("name", IMPLICIT)
def test_weights_meet_the_conditions_up_to_the_order_and_not_beyond(name: str) -> None:
    t = tableau(name)
    assert max(max(residuals(name, t.b, n)) for n in range(1, t.order + 1)) < ROUNDED
    assert max(residuals(name, t.b, t.order + 1)) > 1e-6
    if t.b_hat is not None:
        orders = range(1, t.embedded_order + 1)
        assert max(max(residuals(name, t.b_hat, n)) for n in orders) < ROUNDED
        assert max(residuals(name, t.b_hat, t.embedded_order + 1)) > 1e-6


@pytest.mark.parametrize("name", IMPLICIT)
def test_dense_output_meets_the_conditions_and_ends_in_the_step(name: str) -> None:
    t = tableau(name)
    phi = elementary_weights(t.a, Fraction(1))
    for order in range(1, t.dense_order + 1):
        for tree in trees(order):
            for power, column in enumerate(zip(*t.dense, strict=True), start=1):
                found = sum((w * p for w, p in zip(column, phi(tree), strict=True)), Fraction(0))
                aim = Fraction(1, gamma(tree)) if power == order else Fraction(0)
                assert abs(float(found - aim)) < ROUNDED
    assert all(abs(sum(row) - b) < ROUNDED for row, b in zip(t.dense, t.b, strict=True))
    assert all(0 <= c <= 1 for c in t.c), "f is never evaluated outside of the step"


@pytest.mark.parametrize("name", COLLOCATION)
def test_collocation_integrates_polynomials_exactly_up_to_every_node(name: str) -> None:
    t = tableau(name)
    for k in range(t.stages):
        for row, c in zip(t.a, t.c, strict=True):
            value = sum((a * node**k for a, node in zip(row, t.c, strict=True)), Fraction(0))
            assert abs(float(value - c ** (k + 1) / (k + 1))) < ROUNDED


def growth_factor(name: str, z: float) -> float:
    """R(z) = 1 + z b^T (I - z A)^-1 1."""
    t = tableau(name)
    a, b = torch.tensor(t.rows, dtype=torch.float64), real(*t.weights)
    ones = torch.ones(t.stages, dtype=torch.float64)
    inner = torch.eye(t.stages, dtype=torch.float64) - z * a
    return float(1 + z * b @ torch.linalg.solve(inner, ones))


@pytest.mark.parametrize("name", IMPLICIT)
def test_decay_is_damped_however_fast_and_forgotten_by_l_stable_methods(name: str) -> None:
    assert all(abs(growth_factor(name, -(10.0**k))) <= 1 + 1e-9 for k in range(-2, 8))
    assert (abs(growth_factor(name, -1e8)) < 1e-3) == (name in L_STABLE)


@pytest.mark.parametrize(
    ("a", "sentence"),
    [
        ([["1/2"], ["1/2", "1/2"]], "every row of a must have 2 entries"),
        ([["1/4", 0], ["1/4", "1/2"]], "the diagonal of a must hold one number other than 0"),
    ],
)
def test_a_wrong_implicit_tableau_is_refused_with_a_sentence(a: list, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^mine: .*{sentence}"):
        ImplicitTableau.from_numbers(
            "mine", order=1, a=a, b=["1/2", "1/2"], c=[sum(map(Fraction, row)) for row in a],
            dense=[["1/2"], ["1/2"]], dense_order=1,
        )  # fmt: skip


# Gradients


def derivatives(gradient: str, solver: RungeKutta, *, ts: Tensor) -> tuple[Tensor, ...]:
    """Of a weighted sum of outputs by y0, the times and the parameters."""
    f, y0, ts = Net(), leaf(0.5, -0.2, 0.9), ts.clone().requires_grad_()
    ys = odeint(f, y0, ts, solver=solver, gradient=GRADIENTS[gradient]).ys
    weights = torch.linspace(0.3, 1.7, ys.numel(), dtype=ys.dtype).reshape(ys.shape)
    return torch.autograd.grad((ys * weights).sum(), (y0, ts, *f.parameters()))


@pytest.mark.parametrize("name", IMPLICIT)
@pytest.mark.parametrize("gradient", ["direct", "checkpointed"])
def test_gradients_are_those_of_finite_differences_to_1e_8(name: str, gradient: str) -> None:
    net = Net()
    points = (0.0, 0.4, 0.7, 1.0)

    def solve(y0: Tensor, ts: Tensor, outer: Tensor) -> Tensor:
        times = (float(ts[0].detach()), *points[1:-1], float(ts[-1].detach()))
        solver = RungeKutta(IMPLICIT[name], Prescribed(times))

        def f(t: Tensor, y: Tensor) -> Tensor:
            ty = torch.cat((t.reshape(1), y))
            return outer @ torch.tanh(net.inner.detach() @ ty + net.bias.detach())

        return odeint(
            f, y0, ts, solver=solver, gradient=GRADIENTS[gradient], parameters=(outer,)
        ).ys  # fmt: skip

    inputs = (leaf(0.5, -0.2, 0.9), leaf(0.0, 0.25, 0.8, 1.0), net.outer)
    assert torch.autograd.gradcheck(solve, inputs, eps=1e-4, atol=2e-8, rtol=1e-8)


def test_stages_found_to_a_tolerance_are_redone_as_they_are() -> None:
    solver = adaptive("esdirk54", 1e-3, "pi")
    ts = real(0.2, 0.3, 0.9, 1.4)
    direct, redone = (derivatives(name, solver, ts=ts) for name in ("direct", "checkpointed"))
    for a, b in zip(direct, redone, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("gradient", [name for name in GRADIENTS if name != "reversible"])
@pytest.mark.parametrize("name", ["gl4", "trbdf2", "esdirk54"])
def test_large_systems_are_solved_without_a_matrix_to_the_same_result(
    name: str, gradient: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ts = real(0, 0.4, 1)
    dense = derivatives(gradient, steps(name, 0.25), ts=ts)
    monkeypatch.setattr(linear_system, "LARGEST_DENSE", 0)
    free = derivatives(gradient, steps(name, 0.25), ts=ts)
    for a, b in zip(dense, free, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11)


def test_gmres_restarts_until_it_is_accurate() -> None:
    random = torch.Generator().manual_seed(0)
    n = 100
    matrix = torch.eye(n, dtype=torch.float64) + 0.08 * torch.randn(
        n, n, generator=random, dtype=torch.float64
    )
    r = torch.randn(n, generator=random, dtype=torch.float64)
    x = gmres(lambda v: matrix @ v, r, 1e-12)
    torch.testing.assert_close(matrix @ x, r, rtol=1e-10, atol=1e-10)


def test_second_derivatives_through_an_implicit_step_are_refused() -> None:
    y0 = leaf(0.5, -0.2, 0.9)
    ys = odeint(Net(), y0, real(0, 1), solver=steps("gl4", 0.5), gradient=DIRECT).ys
    with pytest.raises(SolverError, match="create_graph"):
        torch.autograd.grad(ys[-1].sum(), y0, create_graph=True)


def test_steps_of_implicit_methods_are_not_undone() -> None:
    with pytest.raises(SolverError, match="gradient=checkpointed"):
        odeint(
            Net(), leaf(0.5, -0.2, 0.9), real(0, 1), solver=steps("gl4", 0.5),
            gradient=GRADIENTS["reversible"].gradient,  # type: ignore[attr-defined]
        )  # fmt: skip


class Relaxing(nn.Module):
    """y' = -10^4 (y - cos wt) - w sin wt, and a slow part that feeds it."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(1e4, dtype=torch.float64))
        self.w = nn.Parameter(torch.tensor(1.3, dtype=torch.float64))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        w, fast = self.w, self.rate * (y[0] - torch.cos(self.w * t))
        return torch.stack((y[1] - fast - w * torch.sin(w * t), -w * y[1]))


@pytest.mark.parametrize("gradient", ADJOINTS)
def test_the_adjoint_of_a_stiff_problem_is_solved_back_by_an_implicit_method(gradient: str) -> None:
    def run(gradient: str, solver: RungeKutta) -> tuple[Tensor, ...]:
        f, y0 = Relaxing(), leaf(1.3, 0.7)
        ys = odeint(f, y0, real(0, 0.5, 1), solver=solver, gradient=GRADIENTS[gradient]).ys
        return torch.autograd.grad(ys[-1] @ real(1, 2), (y0, *f.parameters()))

    expected = run("direct", adaptive("esdirk54", 1e-9, "pi"))
    found = run(gradient, steps("radauIIA5", 0.01))
    for a, b in zip(found, expected, strict=True):
        assert float((a - b).abs().max() / b.abs().max()) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128])
@pytest.mark.parametrize("shape", [(), (3,), (4, 3), (2, 1, 3)])
def test_states_of_any_shape_and_dtype_are_solved(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    y0 = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    ys = odeint(
        lambda t, y: -2 * y, y0, real(0, 1), solver=steps("radauIIA5", 0.1), gradient=DIRECT
    ).ys
    allowed = 1e-5 if dtype in (torch.float32, torch.complex64) else 1e-8
    torch.testing.assert_close(ys[-1], y0 * math.exp(-2), rtol=allowed, atol=allowed)


# Newton's iteration


def test_a_linear_problem_takes_one_jacobian_and_a_matrix_for_every_step_size() -> None:
    with torch.no_grad():
        _, stats = odeint(
            lambda t, y: -y, real(1.0), real(0, 1), solver=steps("gl4", 0.125), gradient=DIRECT
        )
    assert (stats.accepted, stats.jacobians, stats.factorizations) == (8, 1, 1)


def van_der_pol(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack((y[1], 1e3 * (1 - y[0] ** 2) * y[1] - y[0]))


def robertson(t: Tensor, y: Tensor) -> Tensor:
    a, b, c = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
    return torch.stack((b - a, a - b - c, c))


@pytest.mark.parametrize(
    ("f", "y0", "t1", "expected"),
    [
        (van_der_pol, (2.0, 0.0), 2000.0, (1.706167732170483, -0.8928097010247975e-3)),
        (robertson, (1.0, 0.0, 0.0), 1e11,
         (0.2083340149701255e-7, 0.8333360770334713e-13, 0.9999999791665050)),
    ],
)  # fmt: skip
def test_the_usual_stiff_problems_are_solved_to_the_tolerance_with_few_jacobians(
    f: Callable[[Tensor, Tensor], Tensor],
    y0: tuple[float, ...],
    t1: float,
    expected: tuple[float, ...],
) -> None:
    # end values: E. Hairer, G. Wanner, test set for stiff problems
    tol, scale = 1e-5, real(*(abs(x) / 2 for x in expected))
    solver = RungeKutta(IMPLICIT["esdirk54"], PI(rtol=tol, atol=tol * scale))
    with torch.no_grad():
        ys, stats = odeint(f, real(*y0), real(0, t1), solver=solver, gradient=DIRECT)
    torch.testing.assert_close(ys[-1], real(*expected), rtol=10 * tol, atol=0)
    assert stats.accepted < 700 and stats.jacobians < stats.accepted
    assert stats.nfe < 20 * (stats.accepted + stats.rejected)


@pytest.mark.parametrize("rate", [-1.0, -1e3, -1e6])
def test_prothero_and_robinsons_problem_is_solved_to_the_tolerance(rate: float) -> None:
    for tol in (1e-3, 1e-6, 1e-9):
        with torch.no_grad():
            ys, stats = odeint(
                lambda t, y: rate * (y - torch.cos(t)) - torch.sin(t), real(1.0), real(0, 1, 3),
                solver=adaptive("esdirk54", tol, "pi"), gradient=DIRECT,
            )  # fmt: skip
        torch.testing.assert_close(ys[:, 0], real(0, 1, 3).cos(), rtol=0, atol=5 * tol)
        assert stats.jacobians == 1


class Kinked(nn.Module):
    """No slope of its own beyond y = 0.3: Newton's iteration jumps to and fro."""

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return 1e3 * torch.sign(0.3 - y)


def test_newtons_failure_is_told_with_where_and_what_to_change() -> None:
    with pytest.raises(SolverError, match="take smaller steps") as caught:
        odeint(Kinked(), real(0.0), real(0, 1), solver=steps("gl4", 0.25), gradient=DIRECT)
    error = caught.value
    assert error.kind == "no_convergence" and error.t is not None and error.h == 0.25
    assert "t = 0" in str(error) and "h = 0.25" in str(error)


def test_a_step_for_which_newton_fails_is_taken_again_shorter() -> None:
    # y' = y^2 with 100 times the first step that would do
    solver = RungeKutta(IMPLICIT["esdirk54"], PI(rtol=1e-6, atol=1e-6, first_step=2.0))
    with torch.no_grad():
        ys, stats = odeint(lambda t, y: y * y, real(1.0), real(0, 0.9), solver=solver,
                           gradient=DIRECT)  # fmt: skip
    assert stats.rejected > 0
    torch.testing.assert_close(ys[-1], real(10.0), rtol=1e-4, atol=0)


def test_counts_of_several_solves_add_up() -> None:
    total = Stats(jacobians=1, factorizations=2)
    total.add(Stats(jacobians=3, factorizations=5))
    assert (total.jacobians, total.factorizations) == (4, 7)


# A stiff neural ODE


def test_unknown_rates_of_a_stiff_reaction_are_learned() -> None:
    ts = torch.cat((torch.zeros(1), torch.logspace(-3, 2, 10))).double()
    y0, true = real(1, 0, 0), real(0.04, 3e7, 1e4).log()
    scale = real(1, 3e-5, 0.3)
    solver = RungeKutta(IMPLICIT["esdirk54"], PI(rtol=1e-3, atol=1e-4 * scale))

    def solve(theta: Tensor, solver: RungeKutta) -> Tensor:
        def f(t: Tensor, y: Tensor) -> Tensor:
            k = theta.exp()
            a, b, c = k[0] * y[0], k[1] * y[1] ** 2, k[2] * y[1] * y[2]
            return torch.stack((c - a, a - b - c, b))

        return odeint(
            f, y0, ts, solver=solver, gradient=GRADIENTS["checkpointed"], parameters=(theta,)
        ).ys  # fmt: skip

    with torch.no_grad():
        target = solve(true, replace(solver, controller=PI(rtol=1e-6, atol=1e-7 * scale)))
    theta = (true + real(0.7, -0.5, 0.4)).requires_grad_()
    optimizer = torch.optim.Adam([theta], lr=0.1)
    losses = []
    for _ in range(10):
        loss = ((solve(theta, solver) - target) / scale).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.2 * losses[0]
    with pytest.raises(SolverError, match="max_steps"), torch.no_grad():
        solve(theta, replace(solver, method=METHODS["dopri5"], max_steps=500))


@pytest.mark.parametrize("options", [{"step_size": 0.1}, {"step_size": 0.1, "perturb": True}])
@pytest.mark.parametrize("name", [name for name in IMPLICIT if name != "esdirk54"])
def test_torchdiffeqs_names_run_with_gradients_both_ways(
    name: str, options: dict[str, float]
) -> None:
    net, y0, ts = Net(), leaf(0.5, -0.2, 0.9), real(0, 0.5, 1)
    expected = odeint(net, y0, ts, solver=adaptive("dopri8", 1e-10), gradient=DIRECT).ys[-1]
    (gradient,) = torch.autograd.grad(expected.sum(), y0)
    within = {1: 0.1, 2: 5e-3, 3: 2e-4}.get(IMPLICIT[name].order, 1e-4)
    for solve in (drop_in.odeint, drop_in.odeint_adjoint):
        end = solve(net, y0, ts, method=name, options=options)[-1]
        torch.testing.assert_close(end, expected, rtol=within, atol=within)
        (found,) = torch.autograd.grad(end.sum(), y0)
        torch.testing.assert_close(found, gradient, rtol=within, atol=within)
