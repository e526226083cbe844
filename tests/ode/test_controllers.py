"""Step sizes: what a decision is, the automatic first step, the norms, and what tolerances give."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from chosen import (
    ADAPTIVE,
    GRADIENTS,
    METHODS,
    STABLE,
    TOLERANCE,
    adaptive,
    controller,
    real,
    steps,
)
from scipy.integrate._ivp.common import select_initial_step
from torch import Tensor

from node_repro.ode import odeint
from node_repro.ode.controllers import SolveStart, StepDecision
from node_repro.ode.controllers.adaptive import StepHistory
from node_repro.ode.controllers.constant import Constant
from node_repro.ode.controllers.pi import PI
from node_repro.ode.controllers.prescribed import Prescribed
from node_repro.ode.field import Plain
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.methods import Carry, State, Step
from node_repro.ode.norm import FULL, SEMI, STATE, Tolerances, error_ratio
from node_repro.ode.solution import SolverError
from node_repro.ode.solver import RungeKutta

DOPRI5, BOSH3 = METHODS["dopri5"], METHODS["bosh3"]


def decision(
    control: str, error: float, h: float = 0.1, state: StepHistory | None = None
) -> StepDecision[Any]:
    """On a step of dopri5 whose error is so many times the tolerance."""
    return controller(control, rtol=1e-6, atol=1e-3).judge(error, h, DOPRI5.error_order, state)


@pytest.mark.parametrize("control", TOLERANCE)
@pytest.mark.parametrize("h", [0.1, -0.1])
def test_a_step_is_accepted_when_its_error_is_within_the_tolerance(control: str, h: float) -> None:
    for ratio in (0.0, 1e-9, 0.5, 0.999):
        assert decision(control, ratio, h).accept
    for ratio in (1.001, 2.0, 1e9, math.inf, math.nan):
        assert not decision(control, ratio, h).accept


@pytest.mark.parametrize("control", TOLERANCE)
@pytest.mark.parametrize("h", [0.1, -0.1])
def test_the_next_step_keeps_its_sign_and_its_bounds(control: str, h: float) -> None:
    for ratio in (0.0, 1e-12, 0.3, 1.0, 3.0, 1e12, math.inf, math.nan):
        factor = decision(control, ratio, h).h / h
        assert 0.2 * (1 - 1e-12) <= factor <= 10 * (1 + 1e-12)
        assert ratio <= 1 or factor < 1
    for ratio in (math.inf, math.nan, 1e12):
        assert decision(control, ratio, h).h == pytest.approx(0.2 * h)
    assert decision(control, 0.0, h).h / h > 2


@pytest.mark.parametrize("control", TOLERANCE)
def test_no_step_grows_right_after_a_rejection(control: str) -> None:
    rejected = decision(control, 5.0)
    assert decision(control, 1e-6, state=rejected.state).h == pytest.approx(0.1)
    accepted = decision(control, 1e-6, state=rejected.state)
    assert decision(control, 1e-6, state=accepted.state).h > 0.1


def test_the_elementary_rule_is_that_of_hairer_norsett_wanner() -> None:
    assert decision("integral", 0.0).h == pytest.approx(1.0)  # as much as it may
    for ratio in (0.01, 0.5, 1.0, 2.0, 30.0):
        assert decision("integral", ratio).h == pytest.approx(0.1 * 0.9 * ratio ** (-1 / 5))


def test_the_pi_rule_damps_by_the_error_before() -> None:
    rule = controller("pi", rtol=1e-6, atol=1e-3)
    assert isinstance(rule, PI)
    total, proportional = rule.integral + rule.proportional, rule.proportional
    first = decision("pi", 0.5)
    assert first.accept
    for ratio in (0.1, 0.5, 0.9):
        factor = 0.9 * ratio ** (-total / 5) * 0.5 ** (proportional / 5)
        assert decision("pi", ratio, state=first.state).h == pytest.approx(0.1 * factor)
    # after a rejection it is the elementary rule, and the error before it is not forgotten
    rejected = decision("pi", 3.0, state=first.state)
    assert rejected.h == pytest.approx(0.1 * 0.9 * 3.0 ** (-1 / 5))
    again = decision("pi", 0.9, state=rejected.state)
    assert again.h == pytest.approx(0.1 * 0.9 * 0.9 ** (-total / 5) * 0.5 ** (proportional / 5))


def test_constant_steps_are_always_accepted_and_never_change() -> None:
    for h in (0.1, -0.1, 0.03, -0.03):
        found = Constant(0.1).judge(0.0, h, 5, None)
        assert found.accept and found.h == math.copysign(0.1, h)


def growth(t: Tensor, y: Tensor) -> Tensor:
    return y * torch.cos(3 * t)


@pytest.mark.parametrize("method", ADAPTIVE)
@pytest.mark.parametrize(
    ("t0", "t1", "y0"),
    [(0.0, 1.0, [1.0, 2.0]), (1.0, -3.0, [1e3, 1e-3]), (0.2, 0.2003, [1.0]), (0.0, 1.0, [0.0])],
)
def test_the_automatic_first_step_is_that_of_scipy(
    method: str, t0: float, t1: float, y0: list[float]
) -> None:
    rtol, atol = 1e-4, 1e-6
    y = real(*y0)
    slope = growth(real(t0)[0], y)
    f = Plain(growth)
    at_start = f(real(t0)[0], y, integrands=False)
    start = SolveStart(f, t0, State(y), at_start, t1, METHODS[method].error_order, STATE)
    ours = controller("integral", rtol=rtol, atol=atol).first(start)

    def theirs(t: float, y: np.ndarray) -> np.ndarray:
        return y * np.cos(3 * t)

    aim = select_initial_step(
        theirs, t0, y.numpy(), t1, np.inf, slope.numpy(), np.sign(t1 - t0),
        METHODS[method].error_order - 1, rtol, atol,
    )  # fmt: skip
    assert ours == pytest.approx(math.copysign(aim, t1 - t0), rel=1e-12)


@pytest.mark.parametrize("control", TOLERANCE)
def test_a_first_step_that_is_given_is_taken_and_cut_to_the_span(control: str) -> None:
    for first, taken in ((0.01, 0.01), (5.0, 0.5)):
        solver = adaptive(control=control, first_step=first)
        f = Plain(lambda t, y: torch.ones_like(y))
        trajectory = solver.solve(f, State(real(1.0)), real(1.0, 0.5))
        assert trajectory.mesh.points[1] == pytest.approx(1.0 - taken)
        stats = trajectory.stats
        assert stats.rejected == 0 and stats.nfe == 1 + 6 * stats.accepted


@pytest.mark.parametrize("control", TOLERANCE)
def test_no_change_at_all_is_crossed_in_growing_steps(control: str) -> None:
    for f in (lambda t, y: torch.zeros_like(y), lambda t, y: torch.full_like(y, 3.0)):
        ys, stats = odeint(
            f, real(0.0, 2.0), real(0, 1e6), solver=adaptive(control=control),
            gradient=GRADIENTS["direct"],
        )  # fmt: skip
        assert stats.rejected == 0 and stats.accepted < 80
        torch.testing.assert_close(ys[-1], ys[0] + 1e6 * f(ys[0], ys[0]), rtol=1e-12, atol=0)


def test_other_tolerances_leave_all_else() -> None:
    before = PI(rtol=1e-3, atol=1e-4, safety=0.8, first_step=0.1)
    after = before.with_tolerance(1e-5, 1e-6)
    assert after == controller("pi", rtol=1e-5, atol=1e-6, safety=0.8, first_step=0.1)
    solver = RungeKutta(DOPRI5, before, max_steps=7)
    assert solver.with_tolerance(1e-5, 1e-6) == RungeKutta(DOPRI5, after, max_steps=7)


@pytest.mark.parametrize("steps", [Constant(0.1), Prescribed((0.0, 0.4, 1.0))], ids=str)
@pytest.mark.parametrize("tolerances", [(1e-5, None), (None, 1e-6), (1e-5, 1e-6)])
def test_steps_without_an_error_control_refuse_tolerances(
    steps: Constant | Prescribed, tolerances: tuple[float | None, float | None]
) -> None:
    solver = RungeKutta(DOPRI5, steps)
    assert solver.with_tolerance(None, None) == solver
    with pytest.raises(SolverError, match="remove rtol and atol") as caught:
        solver.with_tolerance(*tolerances)
    assert caught.value.kind == "bad_input" and type(steps).__name__ in str(caught.value)


def test_an_adjoint_with_tolerances_refuses_to_go_back_in_constant_steps() -> None:
    def solved(gradient: Adjoint) -> Tensor:
        solver = RungeKutta(DOPRI5, Constant(0.1))
        f = lambda t, y: -y  # noqa: E731
        return odeint(f, real(1.0), real(0, 1), solver=solver, gradient=gradient, parameters=()).ys[
            -1
        ]

    with pytest.raises(SolverError, match="remove rtol and atol"):
        solved(Adjoint(rtol=1e-3))
    own = adaptive(control="integral")
    torch.testing.assert_close(solved(Adjoint(solver=own, rtol=1e-3)), solved(Adjoint()))


PROBLEMS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], float, float, float]] = {
    "quadratic decay": (lambda t, y: -y * y, 5.0, 10.0, 5 / 51),
    "growth with time": (lambda t, y: y * torch.cos(t), 1.0, 10.0, math.exp(math.sin(10.0))),
    "logistic": (lambda t, y: y / 4 * (1 - y / 20), 1.0, 20.0, 20 / (1 + 19 * math.exp(-5))),
    "cubic decay": (lambda t, y: -(y**3) / 2, 1.0, 20.0, 21**-0.5),
}


@pytest.mark.parametrize("control", TOLERANCE)
@pytest.mark.parametrize("method", [name for name, m in STABLE.items() if m.order >= 3])
def test_the_error_of_a_solve_is_in_proportion_to_the_tolerance(method: str, control: str) -> None:
    tolerances = [10.0**-k for k in range(3, 10 if METHODS[method].order > 3 else 9)]
    errors = np.empty((len(PROBLEMS), len(tolerances)))
    for i, (f, y0, t1, y1) in enumerate(PROBLEMS.values()):
        for j, tol in enumerate(tolerances):
            ys, _ = odeint(
                f, real(y0), real(0, t1), solver=adaptive(method, tol, control),
                gradient=GRADIENTS["direct"],
            )  # fmt: skip
            errors[i, j] = abs(ys[-1].item() - y1) / (1 + y1)
    worst = errors.max(0)
    assert (worst < 20 * np.array(tolerances)).all(), worst
    assert 0.8 < np.polyfit(np.log(tolerances), np.log(worst), 1)[0] < 1.2, worst


def test_both_pairs_of_order_five_take_about_as_many_steps_as_those_of_scipy() -> None:
    from scipy.integrate import solve_ivp

    aim = solve_ivp(lambda t, y: y * np.cos(t), (0, 10), [1.0], rtol=1e-6, atol=1e-6)
    for method in ("dopri5", "tsit5"):
        _, stats = odeint(
            lambda t, y: y * torch.cos(t), real(1.0), real(0, 10), solver=adaptive(method),
            gradient=GRADIENTS["direct"],
        )  # fmt: skip
        assert stats.nfe < 1.25 * aim.nfev


def test_norms_are_the_largest_root_mean_square_of_a_segment() -> None:
    y = torch.stack((real(3, 4, 0, 0), real(1, 1, 1, 1)))
    integrals = (real(6.0), real(2, 2))
    ones = State(torch.ones_like(y), (real(1.0), real(1, 1)))

    def scaled(norm) -> float:  # noqa: ANN001
        return float(norm.measure(State(y, integrals), Tolerances.create(0.0, 1.0), ones))

    assert scaled(STATE) == pytest.approx(math.sqrt(29 / 8))
    assert scaled(SEMI) == pytest.approx(math.sqrt(25 / 4))
    assert scaled(FULL) == pytest.approx(6.0)


def test_norms_measure_in_units_of_the_larger_of_both_ends() -> None:
    before, end = State(real(1.0, -10.0)), State(real(-5.0, 2.0))
    step = Step(end, State(real(0.51, -1.01)), Carry(), ())
    # 0.01 + 0.1 * (5, 10)
    assert float(error_ratio(before, step, Tolerances.create(0.1, 0.01), STATE)) == pytest.approx(
        1.0
    )


def test_norms_take_complex_numbers_by_their_size() -> None:
    y = torch.tensor([3 + 4j, 0], dtype=torch.complex128)
    found = STATE.measure(State(y), Tolerances.create(0.0, 1.0), State(y))
    assert found.dtype == torch.float64 and float(found) == pytest.approx(5 / math.sqrt(2))


def test_a_zero_of_the_state_without_an_absolute_tolerance_is_no_trouble() -> None:
    zero = State(real(0.0, 1.0))
    assert (
        float(
            error_ratio(
                zero,
                Step(zero, State(real(0, 1e-3)), Carry(), ()),
                Tolerances.create(1e-3, 0.0),
                STATE,
            )
        )
        < 1
    )
    ys, _ = odeint(
        lambda t, y: torch.stack((0 * y[0], y[1])), real(0.0, 1.0), real(0, 1),
        solver=RungeKutta(DOPRI5, controller("integral", rtol=1e-6, atol=0.0)),
        gradient=GRADIENTS["direct"],
    )  # fmt: skip
    torch.testing.assert_close(ys[-1], real(0, math.e), rtol=1e-5, atol=0)


def test_an_error_estimate_is_wanted_where_there_is_none() -> None:
    state = State(real(1.0))
    with pytest.raises(ValueError, match="gives no error estimate"):
        error_ratio(state, Step(state, None, Carry(), ()), Tolerances.create(1e-3, 1e-3), STATE)


def test_adaptive_methods_run_with_constant_steps_too() -> None:
    for method in ADAPTIVE:
        _, stats = odeint(
            growth, real(1.0), real(0, 1), solver=steps(method, 0.25), gradient=GRADIENTS["direct"]
        )
        assert stats.accepted == 4
