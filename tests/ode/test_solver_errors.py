"""What a solve refuses and how it fails: the kind, and a sentence that says what to do."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from chosen import (
    ADAPTIVE,
    GRADIENTS,
    IMPLICIT,
    METHODS,
    STABLE,
    TOLERANCE,
    adaptive,
    controller,
    leaf,
    real,
    steps,
)
from torch import Tensor

from node_repro.ode import RungeKutta, SolverError, odeint
from node_repro.ode.controllers.constant import Constant

DIRECT = GRADIENTS["direct"]
every_gradient = pytest.mark.parametrize("gradient", GRADIENTS)


def solve(
    f: Callable[[Tensor, Tensor], Any] = lambda t, y: -y,
    y0: Tensor | None = None,
    ts: Tensor | None = None,
    *,
    solver: RungeKutta | None = None,
    gradient: str = "direct",
) -> Tensor:
    return odeint(
        f,
        real(1.0) if y0 is None else y0,
        real(0, 1) if ts is None else ts,
        solver=solver or adaptive(),
        gradient=GRADIENTS[gradient],
        parameters=(),
    ).ys


def expect_error(kind: str, sentence: str, call: Callable[[], object]) -> SolverError:
    """The error of a call, of that kind and with that in its one-line message."""
    with pytest.raises(SolverError, match=sentence) as error:
        call()
    assert error.value.kind == kind and str(error.value).startswith(f"{kind}: ")
    assert "\n" not in str(error.value) and "tensor(" not in str(error.value)
    assert error.value.exit_code == 4
    return error.value


@pytest.mark.parametrize("control", TOLERANCE)
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rtol": -1e-3}, r"rtol must be a number >= 0, not -0\.001"),
        ({"atol": -1e-3}, r"atol must be a number >= 0, not -0\.001"),
        ({"rtol": math.nan}, "rtol must be a number >= 0, not nan"),
        ({"atol": math.inf}, "atol must be a number >= 0, not inf"),
        ({"rtol": 0.0, "atol": 0.0}, "rtol and atol are both 0"),
        ({"safety": 1.0}, r"safety and factor_min must lie in \(0, 1\), factor_max above 1"),
        ({"safety": 0.0}, "safety"),
        ({"factor_min": 1.0}, "factor_min"),
        ({"factor_min": 0.0}, "factor_min"),
        ({"factor_max": 1.0}, "factor_max"),
        ({"factor_max": math.nan}, "factor_max"),
        ({"safety": math.nan}, "safety"),
        ({"first_step": 0.0}, r"first_step must be positive, not 0\.0"),
        ({"first_step": -0.1}, "first_step must be positive"),
        ({"first_step": math.nan}, "first_step must be positive"),
    ],
)
def test_tolerances_and_factors_out_of_range_are_refused(
    control: str, changes: dict[str, float], sentence: str
) -> None:
    numbers = {"rtol": 1e-3, "atol": 1e-3} | changes
    expect_error("bad_input", sentence, lambda: controller(control, **numbers))
    if "rtol" in changes or "atol" in changes:
        good = RungeKutta(METHODS["dopri5"], controller(control, rtol=1e-3, atol=1e-3))
        expect_error(
            "bad_input", sentence, lambda: good.with_tolerance(numbers["rtol"], numbers["atol"])
        )


@pytest.mark.parametrize(
    "change",
    [{"integral": 0.0}, {"integral": 1.5}, {"proportional": -0.1}, {"proportional": 1.1}],
    ids=str,
)
def test_gains_of_the_pi_controller_out_of_range_are_refused(change: dict[str, float]) -> None:
    expect_error(
        "bad_input",
        r"integral must lie in \(0, 1\] and proportional in \[0, 1\]",
        lambda: controller("pi", rtol=1e-3, atol=1e-3, **change),
    )


@pytest.mark.parametrize("size", [0.0, -0.1, math.nan, math.inf])
def test_step_sizes_that_are_none_are_refused(size: float) -> None:
    expect_error(
        "bad_input", f"step_size must be a positive number, not {size}", lambda: Constant(size)
    )


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ADAPTIVE])
@pytest.mark.parametrize("control", TOLERANCE)
def test_a_method_without_an_error_estimate_is_not_controlled_by_one(
    method: str, control: str
) -> None:
    expect_error(
        "bad_input",
        f"{method} estimates no error.*use constant steps, or an adaptive method",
        lambda: adaptive(method, control=control),
    )


@pytest.mark.parametrize("count", [0, -3, 2.5, math.nan])
def test_a_solver_is_allowed_at_least_one_step(count: int) -> None:
    expect_error(
        "bad_input",
        f"max_steps must be at least 1, a whole number, not {count}",
        lambda: RungeKutta(METHODS["rk4"], Constant(0.1), max_steps=count),
    )


@pytest.mark.parametrize(
    ("dtype", "smallest"),
    [
        (torch.float32, r"4\.77e-07"),
        (torch.complex64, r"4\.77e-07"),
        (torch.float64, r"8\.88e-16"),
        (torch.complex128, r"8\.88e-16"),
    ],
)
def test_tolerances_below_the_rounding_of_the_state_are_refused(
    dtype: torch.dtype, smallest: str
) -> None:
    below = 4e-7 if dtype in (torch.float32, torch.complex64) else 8e-16
    y0 = torch.ones(2, dtype=dtype)
    expect_error(
        "bad_input",
        rf"rtol = .* cannot be met in {dtype}: the smallest allowed is {smallest}; use a larger",
        lambda: solve(y0=y0, solver=adaptive(tol=below)),
    )
    if dtype == torch.float32:
        solve(y0=y0, solver=adaptive(tol=5e-7))


@every_gradient
@pytest.mark.parametrize(
    ("y0", "ts", "sentence"),
    [
        (torch.tensor([1]), None, r"y0 is torch\.int64; a state is .*: convert it"),
        (torch.tensor([True]), None, r"y0 is torch\.bool"),
        (torch.ones(1, dtype=torch.float16), None, r"y0 is torch\.float16"),
        (None, torch.tensor([0, 1]), r"ts is torch\.int64; times are floating point"),
        (None, real(), "at least one time"),
        (None, torch.tensor(1.0), r"a vector of at least one time, not of shape \(\)"),
        (None, real(0, 1)[None], r"not of shape \(1, 2\)"),
        (None, real(0, math.nan), "finite times"),
        (None, real(0, math.inf), "finite times"),
        (None, real(0, 2, 1), r"ts\[1\] = 2 and ts\[2\] = 1 are"),
        (None, real(2, 0, 1), r"ts\[1\] = 0 and ts\[2\] = 1 are"),
        (None, real(0, 1, 0), r"ts must be sorted.*ts\[1\] = 1 and ts\[2\] = 0"),
    ],
)
def test_states_and_times_that_make_no_sense_are_refused(
    gradient: str, y0: Tensor | None, ts: Tensor | None, sentence: str
) -> None:
    expect_error("bad_input", sentence, lambda: solve(y0=y0, ts=ts, gradient=gradient))


@every_gradient
@pytest.mark.parametrize(
    ("f", "sentence"),
    [
        (lambda t, y: None, "f must return a tensor like y, not NoneType"),
        (lambda t, y: (y,), "f must return a tensor like y, not tuple"),
        (lambda t, y: 1.0, "f must return a tensor like y, not float"),
        (lambda t, y: y[:1], r"y has shape \(2,\).*and f returned shape \(1,\)"),
        (lambda t, y: y[None], r"f returned shape \(1, 2\)"),
        (lambda t, y: y.sum(), r"f returned shape \(\)"),
        (
            lambda t, y: y.float(),
            r"torch\.float64 on cpu, and f returned shape \(2,\), torch\.float32",
        ),
        (lambda t, y: y * 1j, r"torch\.complex128"),
        (lambda t, y: torch.empty_like(y, device="meta"), r"on cpu.*on meta"),
    ],
    ids=["none", "tuple", "float", "short", "long", "sum", "single", "complex", "elsewhere"],
)
def test_a_field_that_returns_something_else_is_refused(
    gradient: str, f: Callable[[Tensor, Tensor], Any], sentence: str
) -> None:
    expect_error("bad_input", sentence, lambda: solve(f, real(1.0, 2.0), gradient=gradient))


@every_gradient
def test_an_error_in_the_field_is_told_with_its_time(gradient: str) -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        if float(t) > 0.5:
            raise ZeroDivisionError("mine")
        return -y

    with pytest.raises(ZeroDivisionError, match="mine") as error:
        solve(f, real(1.0, 2.0), solver=steps("rk4", 0.25), gradient=gradient)
    assert error.value.__notes__[0].startswith("in the vector field at t = 0.625, y of shape ")
    assert error.value.__notes__[1] == (
        "in step 3, from t = 0.5 with h = 0.25, at its evaluation 2 of f"
    )


@pytest.mark.parametrize("control", TOLERANCE)
@pytest.mark.parametrize("first", [None, 0.1])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_start_that_is_not_finite_is_refused(
    control: str, first: float | None, bad: float
) -> None:
    solver = adaptive(control=control, first_step=first)
    error = expect_error(
        "non_finite_dynamics",
        r"f is not finite .*t = 2",
        lambda: solve(lambda t, y: y * bad, real(1.0, 2.0, 3.0), real(2, 3), solver=solver),
    )
    assert error.t == 2.0
    expect_error(
        r"non_finite_dynamics",
        r"2 of 3 elements of its value and 1 of 3 elements of the state are NaN or infinite",
        lambda: solve(
            lambda t, y: y * real(1.0, bad, 1.0), real(1.0, 2.0, bad), real(2, 3),
            solver=adaptive(control=control),
        ),
    )  # fmt: skip


@pytest.mark.parametrize("method", IMPLICIT)
def test_constant_implicit_steps_into_the_infinite_end_where_no_stage_is_found(method: str) -> None:
    with pytest.raises(SolverError, match="take smaller steps") as caught:
        solve(lambda t, y: y * y, real(1.0, 0.0), real(0, 60), solver=steps(method, 0.5))
    assert caught.value.kind == "no_convergence" and caught.value.t is not None
    assert caught.value.t < 2


@pytest.mark.parametrize("method", [name for name in METHODS if name not in IMPLICIT])
def test_constant_steps_into_the_infinite_end_in_a_named_error(method: str) -> None:
    error = expect_error(
        "non_finite_state",
        "1 of 2 elements of the state at t = 60 are NaN or infinite; take smaller steps or an "
        "adaptive solver, and check the parameters",
        lambda: solve(lambda t, y: y * y, real(1.0, 0.0), real(0, 60), solver=steps(method, 0.5)),
    )
    assert error.t == 60.0


@every_gradient
@pytest.mark.parametrize("method", [name for name, m in STABLE.items() if m.order >= 3])
@pytest.mark.parametrize("control", TOLERANCE)
def test_a_blow_up_is_named_with_the_last_good_time(
    method: str, control: str, gradient: str
) -> None:
    with pytest.raises(SolverError, match="blow up") as error:
        solve(
            lambda t, y: y * y, ts=real(0, 2), solver=adaptive(method, control=control),
            gradient=gradient,
        )  # fmt: skip
    assert error.value.kind in ("dt_underflow", "non_finite_dynamics")
    assert error.value.t == pytest.approx(1.0, abs=1e-4)
    assert error.value.h is not None and error.value.h < 1e-10


def test_a_field_that_ends_before_the_span_does_is_named() -> None:
    error = expect_error(
        "non_finite_dynamics",
        r"f is not finite beyond t = 0\.5.*leave the domain of f",
        lambda: solve(lambda t, y: torch.log(0.5 - t) * torch.ones_like(y)),
    )
    assert error.t == pytest.approx(0.5, abs=1e-6)


@every_gradient
def test_steps_without_end_are_stopped(gradient: str) -> None:
    tight = controller("pi", rtol=1e-12, atol=1e-12)
    error = expect_error(
        "max_steps",
        r"7 steps were not enough: t = .* of 1, step .*: raise rtol and atol, or raise max_steps",
        lambda: solve(solver=RungeKutta(METHODS["dopri5"], tight, max_steps=7), gradient=gradient),
    )
    assert error.t is not None and 0 < error.t < 1 and error.h is not None


def test_too_many_constant_steps_are_refused_before_the_first() -> None:
    for count in (4, 5):
        solve(solver=RungeKutta(METHODS["rk4"], Constant(0.25), max_steps=count))
    expect_error(
        "max_steps",
        r"a span of 1 needs 4 steps of 0.25, more than max_steps = 3: increase step_size",
        lambda: solve(solver=RungeKutta(METHODS["rk4"], Constant(0.25), max_steps=3)),
    )


def test_infinity_in_the_state_is_refused_at_the_start_where_f_stays_finite() -> None:
    calls = []

    def bounded(t: Tensor, y: Tensor) -> Tensor:
        calls.append(t)
        return torch.tanh(y)

    expect_error(
        "non_finite_dynamics",
        r"f is not finite or too large at the start t = 0: 0 of 2 .* and 1 of 2 .* of the state",
        lambda: solve(bounded, y0=torch.tensor([1.0, float("inf")], dtype=torch.float64)),
    )
    assert len(calls) == 1


@pytest.mark.parametrize("gradient", ["adjoint", "adjoint_seminorm"])
def test_a_gradient_of_the_loss_that_is_not_finite_is_named_before_the_backward_solve(
    gradient: str,
) -> None:
    y0 = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    ys = solve(lambda t, y: -y, y0=y0, gradient=gradient)
    expect_error(
        "non_finite_state",
        r"the loss's gradient is not finite: \d+ of \d+ elements of dL/dy",
        lambda: ys[-1].sqrt().sum().backward(),
    )


def test_autocast_around_a_solve_is_refused() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expect_error("bad_input", "autocast is on around the solve", solve)


def test_the_error_of_the_last_step_is_told_beside_the_tolerance() -> None:
    expect_error(
        "max_steps",
        r"the error is largest in element \(0,\) of the state, \S+ times the \S+ that rtol and "
        "atol allow",
        lambda: solve(
            lambda t, y: -1e4 * (y - torch.cos(t)),
            solver=RungeKutta(METHODS["dopri5"], controller("pi", rtol=1e-6, atol=1e-6), 50),
        ),
    )


def test_stiffness_ends_in_a_message_and_not_in_a_hang() -> None:
    expect_error(
        "max_steps",
        "the problem may be stiff or the tolerance too small",
        lambda: solve(
            lambda t, y: -1e6 * (y - torch.cos(t)),
            ts=real(0, 100),
            solver=RungeKutta(METHODS["dopri5"], controller("integral", rtol=1e-6, atol=1e-6), 500),
        ),
    )


@pytest.mark.parametrize(
    "gradient", [name for name in GRADIENTS if name not in ("direct", "forward")]
)
def test_an_error_of_the_backward_solve_is_named_too(gradient: str) -> None:
    broken = False

    def f(t: Tensor, y: Tensor) -> Tensor:
        return y[:0] if broken else -y

    ys = solve(f, leaf(1.0), leaf(0, 1), solver=steps("euler", 0.2), gradient=gradient)
    broken = True
    expect_error("bad_input", "f must return a tensor like y", lambda: ys[-1].sum().backward())
