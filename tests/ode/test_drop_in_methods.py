"""torchdiffeq's tsit5, Adams methods and scipy solvers, by closed forms and by its own results."""

import math
from typing import Any

import pytest
import torch
from chosen import leaf, real
from drop_in_cases import BOTH, errors, results, solved
from torch import Tensor, nn

from node_repro.ode import SolverError, drop_in

peer = pytest.importorskip("torchdiffeq")
ADAMS = ["explicit_adams", "implicit_adams", "fixed_adams"]
SCIPY = ["RK45", "RK23", "DOP853", "Radau", "BDF", "LSODA"]


class Turn(nn.Module):
    """y' = w cos(t) J y turns the plane by w sin(t)."""

    def __init__(self, w: float = 2.0) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w, dtype=torch.float64))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.w * torch.cos(t) * torch.stack((-y[1], y[0]))

    def at(self, y0: Tensor, t: Tensor, start: Tensor) -> Tensor:
        """The solution at the times t from y0 at the start."""
        angle = self.w * (torch.sin(t) - torch.sin(start))
        c, s = torch.cos(angle), torch.sin(angle)
        return torch.stack((c * y0[0] - s * y0[1], s * y0[0] + c * y0[1]), dim=-1)


def turned(name: str, ts: tuple[float, ...], **given: Any) -> tuple[list[Tensor], list[Tensor]]:
    """The states at ts, and a loss's gradients by y0, ts and w: as found, and exact."""
    f, y0, t = Turn(), leaf(1.0, 0.5), leaf(*ts)
    weight = real(0.3, -1.0)
    found = []
    for ys in (getattr(drop_in, name)(f, y0, t, **given), f.at(y0, t, t[0])):
        gradients = torch.autograd.grad((ys * weight).sum(), (y0, t, f.w))
        found.append([ys.detach(), *gradients])
    return found[0], found[1]


# --- tsit5, which torchdiffeq 0.2.5 lacks and its main branch has


@BOTH
@pytest.mark.parametrize("ts", [(0.0, 0.7, 2.0), (2.0, 0.5, 0.0)])
def test_tsit5_solves_both_ways_with_all_gradients(name: str, ts: tuple[float, ...]) -> None:
    found, exact = turned(name, ts, method="tsit5", rtol=1e-9, atol=1e-9)
    assert max(errors(found, exact)) < 5e-7


# --- Adams methods


@pytest.mark.parametrize("max_order", [2, 4, 5, 12])
@pytest.mark.parametrize("method", ADAMS)
@BOTH
@pytest.mark.filterwarnings("ignore:max_order:UserWarning")
def test_the_steps_of_adams_methods_are_theirs(name: str, method: str, max_order: int) -> None:
    options = {"step_size": 0.05, "max_order": max_order, "max_iters": 30}
    if method == "explicit_adams":
        del options["max_iters"]
    given = {"method": method, "options": options, "rtol": 1e-12, "atol": 1e-12}
    ours, theirs = (results(library, name, **given) for library in (drop_in, peer))
    for i in (0, 1, 3, 4, 5):  # explicit_adams of order 12 multiplies rounding errors by 1e4
        torch.testing.assert_close(ours[i], theirs[i], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", ADAMS)
def test_so_are_those_from_output_to_output(method: str) -> None:
    ts = tuple(0.1 * k for k in range(12))
    given = {"method": method, "options": {"max_order": 4}}
    ours, theirs = (results(library, "odeint", ts, **given) for library in (drop_in, peer))
    torch.testing.assert_close(ours[:2], theirs[:2], rtol=1e-12, atol=1e-12)


@BOTH
def test_adams_methods_keep_their_history_from_output_to_output(name: str) -> None:
    ts = tuple(torch.linspace(0, 2, 60).tolist())  # steps of unequal size, as float32 rounds them
    aim = solved("odeint", ts, rtol=1e-11, atol=1e-11)[0]
    for method, within in (("explicit_adams", 2e-5), ("implicit_adams", 2e-6)):
        ys = solved(name, ts, method=method)[0]
        assert float((ys - aim).abs().max()) < within


@pytest.mark.parametrize(("method", "order"), [("explicit_adams", 4), ("implicit_adams", 5)])
def test_adams_methods_converge_with_their_order_at_the_default_max_order(
    method: str, order: int
) -> None:
    # explicit_adams of torchdiffeq has max_order 12, and errs by more than 1e-2 at these steps
    options = {} if method == "explicit_adams" else {"max_iters": 30}
    found = []
    for h in (2 / 96, 2 / 192):
        given = {"rtol": 1e-12, "atol": 1e-12, "options": {"step_size": h, **options}}
        y, gy0, _, gw = errors(*turned("odeint", (0, 2), method=method, **given))
        found.append((y, gy0, gw))
    for coarse, fine in zip(*found, strict=True):
        assert coarse < 1e-4
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.2)


def test_an_order_below_four_is_told_to_be_runge_kutta() -> None:
    given = {"method": "explicit_adams", "options": {"step_size": 0.1, "max_order": 3}}
    with pytest.warns(UserWarning, match=r"max_order=3.*Runge-Kutta"):
        found, _ = turned("odeint", (0, 2), **given)
    rk4, _ = turned("odeint", (0, 2), method="rk4", options={"step_size": 0.1})
    torch.testing.assert_close(found[0], rk4[0], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("library", [drop_in, peer])
def test_a_corrector_that_does_not_converge_warns(library: Any) -> None:  # noqa: ANN401
    with pytest.warns(UserWarning, match="did not converge|not converge"):
        library.odeint(
            lambda t, y: -8 * y, real(1.0), real(0, 2), method="implicit_adams",
            rtol=1e-12, atol=1e-12, options={"step_size": 0.1, "max_iters": 1},
        )  # fmt: skip


@pytest.mark.parametrize("max_order", [0, 13])
def test_an_order_that_adams_methods_lack_is_refused(max_order: int) -> None:
    with pytest.raises(SolverError, match=rf"max_order must lie in \[1, 12\], not {max_order}"):
        drop_in.odeint(
            lambda t, y: -y, real(1.0), real(0, 1), method="implicit_adams",
            options={"max_order": max_order},
        )  # fmt: skip


# --- implicit methods, which torchdiffeq 0.2.5 lacks and its main branch has


@pytest.mark.parametrize(
    ("method", "order", "count"),
    [
        ("implicit_euler", 1, 40), ("implicit_midpoint", 2, 20), ("trapezoid", 2, 20),
        ("sdirk2", 2, 20), ("trbdf2", 2, 20), ("radauIIA3", 3, 20), ("gl4", 4, 10),
        ("radauIIA5", 5, 10), ("gl6", 6, 8),
    ],
)  # fmt: skip
def test_implicit_methods_converge_with_their_order(method: str, order: int, count: int) -> None:
    # a problem that depends on time: torchdiffeq's gl4 repeats a node, and has a lower order there
    found = []
    for steps in (count, 2 * count):
        given = {"method": method, "options": {"step_size": 2.0 / steps}}
        y, gy0, _, gw = errors(*turned("odeint", (0, 2), **given))
        found.append((y, gy0, gw))
    for coarse, fine in zip(*found, strict=True):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.4)


@pytest.mark.parametrize("method", ["trapezoid", "gl4", "trbdf2"])
@pytest.mark.parametrize("perturb", [True, False])
def test_the_adjoint_solves_backwards_by_implicit_methods(method: str, perturb: bool) -> None:
    options = {"step_size": 0.05, "perturb": perturb}
    found, exact = turned("odeint_adjoint", (0, 0.5, 2), method=method, options=options)
    assert max(errors(found, exact)) < (1e-4 if method == "gl4" else 0.02)


@pytest.mark.parametrize("method", ["implicit_euler", "radauIIA5", "trbdf2"])
def test_implicit_methods_take_long_steps_on_a_stiff_problem(method: str) -> None:
    # y' = -1e5 (y - cos t) - sin t, y(0) = 1: y = cos t
    y0, rate = leaf(1.0), leaf(1e5)
    ys = drop_in.odeint(
        lambda t, y: -rate * (y - torch.cos(t)) - torch.sin(t), y0, real(0, 2), method=method,
        options={"step_size": 0.05},
    )  # fmt: skip
    assert ys[-1].item() == pytest.approx(math.cos(2), abs=1e-4)
    (g,) = torch.autograd.grad(ys[-1].sum(), y0)
    assert abs(g.item()) < 1e-6  # the start is forgotten


def test_the_iterations_of_implicit_methods_are_not_counted_by_the_user() -> None:
    with pytest.warns(UserWarning, match="no option 'max_iters'"):
        ys = drop_in.odeint(
            lambda t, y: -y, real(1.0), real(0, 1), method="gl6", options={"max_iters": 1}
        )
    assert ys[-1].item() == pytest.approx(math.exp(-1), rel=1e-4)


# --- scipy's solvers


@pytest.mark.parametrize("solver", SCIPY)
@pytest.mark.parametrize("ts", [(0.0, 0.7, 2.0), (2.0, 0.5, 0.0)])
def test_scipys_solvers_solve_both_ways_with_all_gradients(
    solver: str, ts: tuple[float, ...]
) -> None:
    tolerance = 1e-6 if solver in ("RK23", "BDF") else 1e-8
    given = {"rtol": tolerance, "atol": tolerance, "options": {"solver": solver}}
    found, exact = turned("odeint_adjoint", ts, method="scipy_solver", **given)
    assert max(errors(found, exact)) < 100 * tolerance


@pytest.mark.parametrize("solver", ["Radau", "BDF", "LSODA"])
def test_scipys_implicit_solvers_solve_a_stiff_problem_with_its_gradient(solver: str) -> None:
    # y' = -1e5 (y - cos t) - sin t, y(0) = 1: y = cos t
    rate = leaf(1e5)
    calls = 0

    def f(t: Tensor, y: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return -rate * (y - torch.cos(t)) - torch.sin(t)

    y0 = leaf(1.0)
    ys = drop_in.odeint_adjoint(
        f, y0, real(0, 2), method="scipy_solver", options={"solver": solver}, rtol=1e-6, atol=1e-8,
        adjoint_params=(rate,),
    )  # fmt: skip
    assert ys[-1].item() == pytest.approx(math.cos(2), abs=1e-5)
    assert calls < 1000
    with torch.no_grad():
        explicit = drop_in.odeint(f, y0, real(0, 2e-3), method="dopri5", rtol=1e-6, atol=1e-8)
    assert explicit[-1].item() == pytest.approx(math.cos(2e-3), abs=1e-5)


def test_the_longest_step_reaches_scipy() -> None:
    calls = []
    for most in (0.01, 1.0):
        count = 0

        def f(t: Tensor, y: Tensor) -> Tensor:
            nonlocal count
            count += 1
            return -y

        options = {"solver": "RK45", "max_step": most}
        drop_in.odeint(f, real(1.0), real(0, 1), method="scipy_solver", options=options, rtol=1e-4)
        calls.append(count)
    assert calls[0] >= 600 > 100 > calls[1]


def test_an_unknown_solver_of_scipy_is_refused_by_name() -> None:
    with pytest.raises(SolverError, match="unknown solver 'RK44' of scipy; there are LSODA, RK45"):
        drop_in.odeint(
            lambda t, y: -y, real(1.0), real(0, 1), method="scipy_solver",
            options={"solver": "RK44"},
        )  # fmt: skip
