"""scipy's VODE-Adams and LSODA behind our contract: accuracy, norms, faults, gradients."""

import math
import runpy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import torch
from chosen import GRADIENTS, Calls, FieldOf, Net, adaptive, leaf, real
from torch import Tensor

from node_repro.ode import SolverError, odeint
from node_repro.ode.engines import SolveOptions, Trajectory
from node_repro.ode.field import Plain
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.methods import Slope, State
from node_repro.ode.norm import FLAT, FULL, SEMI, STATE, RmsNorm, Tolerances
from node_repro.ode.scipy.flat import Flat
from node_repro.ode.scipy.lsoda import Lsoda
from node_repro.ode.scipy.multistep import Multistep
from node_repro.ode.scipy.rates import Rates
from node_repro.ode.scipy.vode_adams import VodeAdams
from node_repro.ode.solver import Solver

HOSTS: list[type[Multistep]] = [VodeAdams, Lsoda]
every_host = pytest.mark.parametrize("host", HOSTS)
ROOT = Path(__file__).parents[2]

SPAN = real(0.0, 1.0)


def solve(
    f: Callable[[Tensor, Tensor], Any],
    y0: Tensor,
    ts: Tensor,
    solver: Multistep,
    gradient: Adjoint | None = None,
) -> Tensor:
    return odeint(f, y0, ts, solver=solver, gradient=gradient or Adjoint(), parameters=()).ys


def decay(t: Tensor, y: Tensor) -> Tensor:
    return -y


def turn(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack((y[1], -y[0]))


def turned(ts: Tensor) -> Tensor:
    """The solution of turn from (1, 0) at 0."""
    return torch.stack((torch.cos(ts), -torch.sin(ts)), dim=1)


def expect_error(kind: str, sentence: str, run: Callable[[], Any]) -> SolverError:
    with pytest.raises(SolverError, match=sentence) as caught:
        run()
    assert caught.value.kind == kind
    return caught.value


# Accuracy


@every_host
@pytest.mark.parametrize("tol", [1e-3, 1e-5, 1e-7, 1e-9, 1e-11])
def test_the_error_at_all_times_is_in_proportion_to_the_tolerance(
    host: type[Multistep], tol: float
) -> None:
    """Measured: at most 260 tol at the end, as VODE's many short steps of high order add up."""
    ts = torch.linspace(0, 10, 23, dtype=torch.float64)
    ys = solve(turn, real(1, 0), ts, host(tol, tol))
    assert float((ys - turned(ts)).abs().max()) < 1000 * tol


@every_host
def test_a_smaller_tolerance_costs_less_than_a_method_of_order_five_would(
    host: type[Multistep],
) -> None:
    """Variable order: 1e5 times the accuracy for less than the 10 times that order 5 must pay."""
    loose, tight = (
        odeint(
            turn, real(1, 0), real(0, 20), solver=host(tol, tol), gradient=Adjoint(), parameters=()
        ).stats.nfe
        for tol in (1e-5, 1e-10)
    )
    assert tight < 5 * loose


@every_host
def test_falling_and_repeated_times_give_the_same_states(host: type[Multistep]) -> None:
    ts = real(0, 0, 0.3, 1.1, 1.1, 2, 2)
    ys = solve(turn, real(1, 0), ts, host(1e-9, 1e-9))
    assert torch.equal(ys[0], ys[1])
    assert torch.equal(ys[3], ys[4])
    torch.testing.assert_close(ys, turned(ts), rtol=0, atol=1e-6)
    back = solve(turn, turned(real(2))[0], ts.flip(0), host(1e-9, 1e-9))
    torch.testing.assert_close(back, turned(ts.flip(0)), rtol=0, atol=1e-6)


@every_host
def test_a_solve_over_no_time_evaluates_nothing(host: type[Multistep]) -> None:
    f = Calls(decay)
    ys = solve(f, real(2), real(3, 3, 3), host(1e-6, 1e-6))
    assert torch.equal(ys, real(2).expand(3, 1))
    assert not f.times


@every_host
def test_outputs_do_not_change_the_steps(host: type[Multistep]) -> None:
    few, many = (
        odeint(
            turn,
            real(1, 0),
            torch.linspace(0, 3, n, dtype=torch.float64),
            solver=host(1e-7, 1e-7),
            gradient=Adjoint(),
            parameters=(),
        )
        for n in (2, 100)
    )
    assert torch.equal(few.ys[-1], many.ys[-1])
    assert few.stats == many.stats


@every_host
@pytest.mark.parametrize("ts", [real(-0.3, 0.7), real(0.7, -0.3)])
def test_f_is_not_evaluated_outside_of_the_interval(
    host: type[Multistep], ts: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does the integrator want it, but for rounding, of which f sees nothing."""
    wanted = []
    value = Rates._value

    def recorded(rates: Rates, t: float, v: np.ndarray) -> np.ndarray:
        wanted.append(t)
        return value(rates, t, v)

    monkeypatch.setattr(Rates, "_value", recorded)
    f = Calls(decay)
    for tol in (1e-2, 1e-8):
        solve(f, real(2), ts, host(tol, tol))
    assert min(f.times) >= -0.3
    assert max(f.times) <= 0.7
    np.testing.assert_allclose(f.times, wanted, rtol=0, atol=1e-15)


@every_host
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 3)])
def test_states_of_any_shape_and_kind_come_back_as_they_were(
    host: type[Multistep], dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        assert y.dtype == dtype
        assert y.shape == shape
        assert t.dtype == dtype.to_real()
        return y * factor

    factor = 1j if dtype.is_complex else -1
    ys = solve(f, torch.ones(shape, dtype=dtype), SPAN, host(1e-5, 1e-5))
    assert ys.dtype == dtype
    expected = torch.tensor(np.exp(factor), dtype=dtype).expand(shape)
    torch.testing.assert_close(ys[-1], expected, rtol=0, atol=1e-3)


def test_lsoda_takes_the_steps_of_scipys_odeint() -> None:
    """odeint, told not to pass the end, is the same code."""

    def f(t: float, y: np.ndarray) -> np.ndarray:
        return np.array([y[1], (1 - y[0] ** 2) * y[1] - y[0]])

    ours = Calls(lambda t, y: torch.stack((y[1], (1 - y[0] ** 2) * y[1] - y[0])))
    ys = solve(ours, real(2, 0), real(0, 5), Lsoda(1e-7, 1e-8))
    theirs, report = scipy.integrate.odeint(
        f, [2, 0], [0, 5], rtol=1e-7, atol=1e-8, tcrit=[5.0], tfirst=True, full_output=True
    )
    torch.testing.assert_close(ys, torch.from_numpy(theirs), rtol=1e-12, atol=1e-12)
    assert len(ours.times) == report["nfe"][-1]


def test_vode_takes_the_steps_of_scipys_ode() -> None:
    """Alone before the last step, which scipy's takes beyond the end."""
    tol = 1e-7
    process = scipy.integrate.ode(lambda t, y: [y[1], -y[0]])
    process.set_integrator("vode", method="adams", rtol=tol, atol=tol)
    process.set_initial_value([1.0, 0.0], 0.0)
    theirs = [0.0]
    while theirs[-1] < 3:
        process.integrate(3.0, step=True)
        theirs.append(process.t)
    ours = trajectory(turn, VodeAdams(tol, tol), real(1, 0), real(0, 3)).mesh.points
    assert len(ours) > 20
    np.testing.assert_allclose(ours[:-2], theirs[: len(ours) - 2], rtol=1e-12)


def trajectory(
    f: Callable[[Tensor, Tensor], Tensor], solver: Multistep, y0: Tensor, ts: Tensor
) -> Trajectory:
    return solver.solve(Plain(f), State(y0), ts, SolveOptions(keep_starts=True))


@every_host
def test_the_mesh_is_made_of_the_real_steps(host: type[Multistep]) -> None:
    ts = real(0, 0, 0.5, 1.7, 3)
    found = trajectory(turn, host(1e-8, 1e-8), real(1, 0), ts)
    points, stats = found.mesh.points, found.stats
    assert (points[0], points[-1]) == (0.0, 3.0)
    assert (
        len(points) == stats.accepted + 1 == len(found.starts) + 1 == len(found.mesh.observed) + 1
    )
    sizes = np.diff(points)
    assert (stats.h_min, stats.h_max) == (sizes.min(), sizes.max())
    states = torch.cat([block.ys for block in found.starts])
    torch.testing.assert_close(states, turned(real(*points[:-1])), rtol=0, atol=1e-6)
    seen = [(n, i) for n, pair in enumerate(found.mesh.observed) for i in range(*pair)]
    assert [i for _, i in seen] == [2, 3]
    assert all(points[n] < ts[i] <= points[n + 1] for n, i in seen)


def test_vode_counts_its_rejected_steps() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return 1000 * torch.sign(t - 0.5) + 0 * y

    def rejected(solver: Multistep) -> int:
        return trajectory(f, solver, real(0), SPAN).stats.rejected

    assert rejected(VodeAdams(1e-6, 1e-6)) > 0
    assert rejected(Lsoda(1e-6, 1e-6)) == 0  # it does not tell


@every_host
def test_a_first_step_is_taken_as_given(host: type[Multistep]) -> None:
    for ts in (real(0, 1), real(1, 0)):
        points = trajectory(decay, host(1e-2, 1e-2, first_step=1e-3), real(1), ts).mesh.points
        assert abs(points[1] - points[0]) == pytest.approx(1e-3)


@every_host
def test_the_highest_order_is_kept(host: type[Multistep]) -> None:
    """Order one needs far more steps at a tight tolerance."""
    steps = [
        trajectory(turn, host(1e-5, 1e-5, max_order=k), real(1, 0), SPAN).stats.accepted
        for k in (1, 12)
    ]
    assert steps[0] > 3 * steps[1]


# Norms


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize(
    "norm",
    [STATE, SEMI, FULL, FLAT, RmsNorm(2, (1, 5), True), RmsNorm(2, (2, 4)), RmsNorm(2, flat=True)],
    ids=str,
)
def test_vodes_weighted_norm_bounds_the_norm_asked_for(norm: RmsNorm, dtype: torch.dtype) -> None:
    """At least the norm, at most sqrt(J) times it; the same for a flat one. With rtol = 0 a complex
    number's tolerance is that of its parts.
    """
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        scale = 10.0 ** torch.randn(shape, generator=generator, dtype=torch.float64)
        return torch.randn(shape, generator=generator, dtype=dtype) * scale

    error = State(draw(2, 2, 3), (draw(5), draw(1, 4)))
    flat = Flat(error)
    weighted = VodeAdams(0.0, 1e-3)._weighted(flat, norm)
    e = flat.vector(*error)
    vode = math.sqrt(np.mean((e / weighted.atol) ** 2))
    asked = float(norm.measure(error, Tolerances.create(0.0, 1e-3), error))
    parts = 1 if norm.flat else norm.segments * max(len(norm.parts), 1) + 2 * norm.integrals
    assert asked * (1 - 1e-12) <= vode <= math.sqrt(parts) * asked * (1 + 1e-12)


@pytest.mark.parametrize("norm", [STATE, SEMI, FULL, FLAT])
def test_lsodas_norm_is_that_of_the_largest_element(norm: RmsNorm) -> None:
    state = State(torch.ones(2, 3), (torch.ones(4),))
    weighted = Lsoda(1e-4, 1e-3)._weighted(Flat(state), norm)
    counted = np.array([True] * 6 + [norm.integrals] * 4)
    np.testing.assert_allclose(weighted.atol, np.where(counted, 1e-3, np.inf), rtol=1e-6)
    np.testing.assert_allclose(weighted.rtol, np.where(counted, 1e-4, 0), rtol=1e-6)


def test_tolerances_of_elements_reach_the_integrator() -> None:
    atol = torch.tensor([1e-3, 1e-9, 1e-6], dtype=torch.float64)
    state = State(torch.zeros(2, 3, dtype=torch.float64), (torch.zeros(2),))
    weighted = Lsoda(0.0, atol)._weighted(Flat(state), FULL)
    expected = [1e-3, 1e-9, 1e-6] * 2 + [1e-9] * 2
    np.testing.assert_allclose(weighted.atol, expected, rtol=1e-12)


def idle(zeros: int, norm: RmsNorm, solver: Multistep) -> int:
    """The steps for an oscillator beside an integral of nothing with that many elements.

    The first step is given, as VODE's own is bounded element by element, by weighted tolerances.
    """

    @FieldOf
    def f(t: Tensor, y: Tensor, *, integrands: bool) -> Slope:
        return Slope(turn(t, y), (torch.zeros(zeros),) if integrands else ())

    state = State(real(1, 0), (torch.zeros(zeros),))
    return solver.solve(f, state, real(0, 10), SolveOptions(norm)).stats.accepted


def test_idle_elements_dilute_vodes_flat_norm_and_no_other() -> None:
    vode, lsoda = (host(1e-6, 1e-6, first_step=1e-3) for host in HOSTS)
    flat, parts = RmsNorm(integrals=True, flat=True), RmsNorm(integrals=True)
    assert idle(1000, flat, vode) < 0.8 * idle(1, flat, vode)
    assert idle(1000, parts, vode) == idle(1, parts, vode)
    assert idle(1000, flat, lsoda) == idle(1, flat, lsoda)


@every_host
def test_integrals_that_do_not_count_have_no_say_in_the_steps(host: type[Multistep]) -> None:
    @FieldOf
    def f(t: Tensor, y: Tensor, *, integrands: bool) -> Slope:
        return Slope(turn(t, y), (1e6 * torch.sin(40 * t).reshape(1),) if integrands else ())

    def steps(norm: RmsNorm, integrals: tuple[Tensor, ...]) -> int:
        solver = host(1e-6, 1e-6)
        state, options = State(real(1, 0), integrals), SolveOptions(norm)
        return solver.solve(f, state, real(0, 3), options).stats.accepted

    alone = steps(STATE, ())
    assert steps(STATE, (real(0),)) == alone
    assert steps(RmsNorm(integrals=True), (real(0),)) > 1.5 * alone


@every_host
def test_integrands_are_asked_for_only_where_there_are_integrals(host: type[Multistep]) -> None:
    asked = []

    @FieldOf
    def f(t: Tensor, y: Tensor, *, integrands: bool) -> Slope:
        asked.append(integrands)
        return Slope(-y, (y,) if integrands else ())

    end = host(1e-8, 1e-8).solve(f, State(real(1)), SPAN).end
    assert not any(asked)
    asked.clear()
    end = host(1e-8, 1e-8).solve(f, State(real(1), (real(0),)), SPAN).end
    assert all(asked)
    assert float(end.integrals[0]) == pytest.approx(1 - math.exp(-1), abs=1e-6)


# Gradients


@every_host
@pytest.mark.parametrize("norm", [FULL, SEMI, FLAT])
def test_the_adjoints_gradient_is_that_of_the_ode(host: type[Multistep], norm: RmsNorm) -> None:
    """Against autograd through Runge-Kutta steps at a tolerance of 1e-11."""

    def gradients(solver: Solver, gradient: GradientMethod) -> list[Tensor]:
        net, y0, ts = Net(), leaf(0.3, -0.2, 0.5), leaf(0.0, 0.4, 1.5)
        ys = odeint(net, y0, ts, solver=solver, gradient=gradient).ys
        (ys[1:] ** 2).sum().backward()
        return [x.grad for x in (y0, ts, *net.parameters()) if x.grad is not None]

    exact = gradients(adaptive("dopri8", 1e-11), GRADIENTS["direct"])
    found = gradients(host(1e-9, 1e-9), Adjoint(norm))
    assert len(found) == 5
    for g, g_exact in zip(found, exact, strict=True):
        torch.testing.assert_close(g, g_exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["direct", "checkpointed"])
def test_autograd_through_scipy_is_refused(name: str) -> None:
    for host in HOSTS:
        expect_error(
            "bad_input",
            host.__name__,
            lambda host=host: odeint(
                Net(), leaf(1, 2, 3), SPAN, solver=host(1e-3, 1e-3), gradient=GRADIENTS[name]
            ),
        )


@pytest.mark.parametrize(
    ("contender", "scale", "least", "most"),
    [
        # the means over tolerances were, with the script's seeds 0 to 4:
        (("vode_adams", "flat"), 1e-5, 0.45, 0.65),  # 0.46 to 0.60
        (("vode_adams", "flat"), 1.0, 0.95, 1.3),  # 0.97 to 1.22
        (("vode_adams", "per tensor"), 1e-5, 0.75, 1.1),  # 0.79 to 1.02
        (("lsoda", "largest element"), 1e-5, 0.9, 1.1),  # 0.92 to 1.05
        (("dopri5, fresh start", "per tensor"), 1e-5, 0.9, 1.15),  # 0.94 to 1.11
    ],
)
def test_the_backward_pass_needs_half_the_evaluations_with_vode_a_flat_norm_and_a_small_loss(
    contender: tuple[str, str],
    scale: float,
    least: float,
    most: float,
) -> None:
    """The paper's claim (section 3.2), and what it hangs on: the mean over tolerances."""
    script = runpy.run_path(str(ROOT / "scripts" / "backward_evaluations.py"))
    chosen = [c for c in script["CONTENDERS"] if (c.name, c.norm_name) == contender]
    assert len(chosen) == 1
    counts = script["measured"](chosen, scales=[scale], tolerances=[1e-1, 1e-2, 1e-3, 1e-4, 1e-5])
    ratio = float(np.mean([count.ratio for count in counts]))
    assert least <= ratio <= most


# Faults


@every_host
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"rtol": -1.0}, "rtol must be a number >= 0, not -1"),
        ({"atol": math.nan}, "atol must be a number >= 0, not nan"),
        ({"rtol": 0.0, "atol": 0.0}, "both 0"),
        ({"max_steps": 0}, "max_steps must be at least 1, not 0"),
        ({"first_step": 0.0}, "first_step must be positive, not 0"),
        ({"max_order": 13}, r"max_order must lie in \[1, 12\], not 13"),
    ],
)
def test_numbers_out_of_range_are_refused(
    host: type[Multistep], arguments: dict[str, Any], sentence: str
) -> None:
    given: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-3} | arguments
    expect_error("bad_input", sentence, lambda: host(**given))


@every_host
def test_a_tolerance_below_the_states_precision_is_refused(host: type[Multistep]) -> None:
    expect_error(
        "bad_input",
        "cannot be met in torch.float32",
        lambda: solve(decay, torch.ones(1), SPAN, host(1e-9, 1e-9)),
    )


@every_host
def test_a_blow_up_ends_in_a_message(
    host: type[Multistep], capfd: pytest.CaptureFixture[str]
) -> None:
    error = expect_error(
        "dt_underflow",
        "found no step at t = 0.9999.*stiff or blow up",
        lambda: solve(lambda t, y: y * y, real(1), real(0, 2), host(1e-6, 1e-6)),
    )
    assert error.t == pytest.approx(1, abs=1e-3)
    assert capfd.readouterr() == ("", "")


@every_host
@pytest.mark.parametrize("beyond", [-1.0, 0.5])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_end_in_a_message(
    host: type[Multistep], beyond: float, value: float, capfd: pytest.CaptureFixture[str]
) -> None:
    error = expect_error(
        "non_finite_dynamics",
        r"f is not finite at or beyond t = [\d.]+, where the state is at most [\d.]+:",
        lambda: solve(
            lambda t, y: y * value if t > beyond else -y, real(1), SPAN, host(1e-6, 1e-6)
        ),
    )
    assert error.t is not None
    assert error.t <= max(beyond, 0)
    assert capfd.readouterr() == ("", "")


@every_host
def test_too_many_steps_end_in_a_message(host: type[Multistep]) -> None:
    expect_error(
        "max_steps",
        "50 steps were not enough: t = .* of 100",
        lambda: solve(
            lambda t, y: -1e6 * (y - torch.cos(t)),
            real(2),
            real(0, 100),
            host(1e-6, 1e-6, max_steps=50),
        ),
    )


@every_host
def test_a_state_that_its_dtype_cannot_hold_is_named(host: type[Multistep]) -> None:
    expect_error(
        "non_finite_dynamics",
        "at most 3.4e\\+38",
        lambda: solve(lambda t, y: y, torch.tensor([1e38]), real(0, 5), host(1e-4, 1e-4)),
    )


@every_host
def test_a_tolerance_that_float64_cannot_meet_is_named(host: type[Multistep]) -> None:
    expect_error(
        "dt_underflow",
        "raise rtol",
        lambda: solve(decay, real(1e6), SPAN, host(0.0, 1e-30)),
    )


@every_host
def test_times_that_cannot_be_told_apart_are_refused(host: type[Multistep]) -> None:
    ts = real(1, math.nextafter(1, 2))
    expect_error("bad_input", "apart", lambda: solve(decay, real(1), ts, host(1e-3, 1e-3)))


@every_host
@pytest.mark.parametrize("kind", [KeyError, KeyboardInterrupt])
@pytest.mark.parametrize("call", [1, 2, 9])
def test_an_exception_in_f_comes_out_as_it_is(
    host: type[Multistep], kind: type[BaseException], call: int
) -> None:
    calls = 0

    def f(t: Tensor, y: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == call:
            raise kind("mine")
        return -y

    with pytest.raises(kind, match="mine") as caught:
        solve(f, real(1), SPAN, host(1e-6, 1e-6))
    assert calls == call, "f was called after it had failed"
    if kind is KeyError:
        assert "in the vector field at t = " in caught.value.__notes__[0]
    assert solve(decay, real(1), SPAN, host(1e-6, 1e-6)).isfinite().all()


@every_host
def test_warnings_of_f_are_not_swallowed(host: type[Multistep]) -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        warnings.warn("mine", stacklevel=1)
        return -y

    with pytest.warns(UserWarning, match="mine"):
        solve(f, real(1), SPAN, host(1e-3, 1e-3))


@every_host
def test_a_solve_within_a_solve_of_the_same_integrator_is_refused(host: type[Multistep]) -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return -solve(decay, y, SPAN, host(1e-3, 1e-3))[-1]

    expect_error(
        "bad_input",
        "is already running",
        lambda: solve(f, real(1), SPAN, host(1e-3, 1e-3)),
    )
    assert solve(decay, real(1), SPAN, host(1e-3, 1e-3)).isfinite().all()


@pytest.mark.parametrize(("outer", "inner"), [HOSTS, HOSTS[::-1]])
def test_a_solve_within_a_solve_of_another_integrator_is_right(
    outer: type[Multistep], inner: type[Multistep]
) -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return -math.e * solve(decay, y, SPAN, inner(1e-10, 1e-10))[-1]

    y1 = solve(f, real(1), SPAN, outer(1e-8, 1e-8))[-1]
    assert float(y1) == pytest.approx(math.exp(-1), abs=1e-6)


def test_lsoda_refuses_a_state_that_its_jacobian_has_no_room_for() -> None:
    expect_error(
        "bad_input",
        "50000 elements .* use VodeAdams",
        lambda: solve(decay, torch.ones(50_000), SPAN, Lsoda(1e-3, 1e-3)),
    )


@every_host
def test_events_are_refused(host: type[Multistep]) -> None:
    expect_error(
        "bad_input",
        "finds no events",
        lambda: host(1e-3, 1e-3).solve(
            Plain(decay), State(real(1)), SPAN, SolveOptions(watch=lambda leg: True)
        ),
    )
