"""Tolerances for every element, and steps between a least and a longest one."""

import math
from typing import Any

import pytest
import torch
from chosen import ADJOINTS, GRADIENTS, TOLERANCE, Net, adaptive, controller, leaf, real
from torch import Tensor

from node_repro.ode import RungeKutta, SolverError, Stats, odeint
from node_repro.ode.methods.dopri5 import DOPRI5
from node_repro.ode.norm import Tolerances

DIRECT = GRADIENTS["direct"]
every_control = pytest.mark.parametrize("control", TOLERANCE)


def keeping(control: str, rtol: float | Tensor, atol: float | Tensor) -> RungeKutta:
    return RungeKutta(DOPRI5, controller(control, rtol=rtol, atol=atol))


def swings(t: Tensor, y: Tensor) -> Tensor:
    """Two oscillators that know nothing of each other: slow, and ten times as fast."""
    return torch.stack((y[1], -y[0], 10 * y[3], -10 * y[2]))


def swung(control: str, rtol: float | Tensor, atol: float | Tensor) -> tuple[Tensor, Stats]:
    """The errors of both at the end, and the cost."""
    ys, stats = odeint(
        swings, real(1, 0, 1, 0), real(0, 5), solver=keeping(control, rtol, atol), gradient=DIRECT
    )
    exact = real(math.cos(5), -math.sin(5), math.cos(50), -math.sin(50))
    return (ys[-1] - exact).abs(), stats


@every_control
def test_steps_follow_the_element_that_is_strict(control: str) -> None:
    loose, tight = 1e-2, 1e-9
    slow, fast = real(tight, tight, loose, loose), real(loose, loose, tight, tight)
    errors, all_strict = swung(control, 0.0, tight)
    assert errors.max() < 1e4 * tight
    errors, fast_strict = swung(control, 0.0, fast)
    assert errors.max() < 1e4 * tight, "what follows the fast one follows the slow one too"
    errors, slow_strict = swung(control, 0.0, slow)
    assert errors[:2].max() < 1e3 * tight < 1e-4 < errors[2:].max()
    # the fast one's error falls as (10 h)^6: at the same tolerance its steps are a tenth as long
    assert fast_strict.accepted > 0.8 * all_strict.accepted > 2 * slow_strict.accepted


@every_control
@pytest.mark.parametrize("which", ["rtol", "atol", "both"])
def test_equal_elements_are_the_number_bitwise(control: str, which: str) -> None:
    f, y0 = Net(), torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)
    rtol = 1e-6 if which == "atol" else torch.full((2, 3), 1e-6, dtype=torch.float64)
    atol = 1e-7 if which == "rtol" else torch.full((3,), 1e-7, dtype=torch.float64)
    found = []
    for solver in (keeping(control, 1e-6, 1e-7), keeping(control, rtol, atol)):
        with torch.no_grad():
            ys, stats = odeint(f, y0, real(0, 1, 3), solver=solver, gradient=DIRECT)
        found.append((ys, stats))
    assert torch.equal(found[0][0], found[1][0]) and found[0][1] == found[1][1]


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_every_gradient_takes_tolerances_for_elements(gradient: str) -> None:
    def of(solver: RungeKutta, name: str) -> tuple[Tensor, ...]:
        f, y0 = Net(), leaf(0.5, -0.2, 0.9)
        ys, _ = odeint(f, y0, real(0, 0.4, 1), solver=solver, gradient=GRADIENTS[name])
        return torch.autograd.grad(ys.square().sum(), (y0, *f.parameters()))

    found = of(keeping("integral", real(1e-8, 1e-9, 1e-10), real(1e-10, 1e-9, 1e-8)), gradient)
    aim = of(adaptive("dopri8", 1e-12), "direct")
    torch.testing.assert_close(found, aim, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("gradient", ADJOINTS)
def test_the_way_back_follows_the_element_that_is_strict(gradient: str) -> None:
    def back(atol: float | Tensor) -> Stats:
        y0 = leaf(1, 0, 1, 0)
        ys, stats = odeint(
            swings, y0, real(0, 5), solver=keeping("integral", 0.0, atol),
            gradient=GRADIENTS[gradient], parameters=(),
        )  # fmt: skip
        ys[-1].sum().backward()
        # as the state, its adjoint turns by the same angle
        assert y0.grad is not None
        exact = math.cos(5) - math.sin(5)
        assert y0.grad[0].item() == pytest.approx(exact, abs=1e-5)
        assert stats.backward is not None
        return stats.backward

    slow = back(real(1e-9, 1e-9, 1e-2, 1e-2))
    fast = back(real(1e-9, 1e-9, 1e-9, 1e-9))
    assert fast.accepted > 2 * slow.accepted


def test_tolerances_for_elements_fit_states_of_other_kinds() -> None:
    y0 = torch.ones(2, 3, dtype=torch.complex64)
    solver = keeping("integral", torch.full((3,), 1e-5, dtype=torch.float64), torch.tensor(1e-5))
    ys, _ = odeint(lambda t, y: 1j * y, y0, real(0, 1), solver=solver, gradient=DIRECT)
    assert ys.dtype == torch.complex64
    torch.testing.assert_close(ys[-1], y0 * complex(math.cos(1), math.sin(1)), rtol=1e-4, atol=0)


def test_integrals_are_held_to_the_strictest_element() -> None:
    found = Tolerances.create(real(1e-3, 1e-5), real(0.0, 1e-4))
    assert found.integrals == (1e-5, 0.0)


@every_control
@pytest.mark.parametrize(
    ("rtol", "atol", "sentence"),
    [
        (real(1e-3, -1e-3), 1e-3, "rtol must be a number >= 0, not a tensor with other elements"),
        (1e-3, real(1e-3, math.nan), "atol must be a number >= 0, not a tensor with other"),
        (1e-3, real(math.inf), "atol must be a number >= 0, not a tensor with other"),
        (real(), 1e-3, "rtol must be a number >= 0, not a tensor with other elements"),
        (real(0, 1), real(1, 0), "rtol and atol are both 0 somewhere: give at least one of them"),
        ("1e-3", 1e-3, "rtol must be a number >= 0, not '1e-3'"),
        (1e-3, None, "atol must be a number >= 0, not None"),
    ],
)
def test_elements_out_of_range_are_refused(
    control: str,
    rtol: Any,  # noqa: ANN401
    atol: Any,  # noqa: ANN401
    sentence: str,
) -> None:
    with pytest.raises(SolverError, match=sentence) as caught:
        controller(control, rtol=rtol, atol=atol)
    assert caught.value.kind == "bad_input"


@pytest.mark.parametrize("name", ["rtol", "atol"])
@pytest.mark.parametrize("shape", [(3,), (2, 3), (1, 2), (2, 1, 2)])
def test_elements_that_are_not_those_of_the_state_are_refused(
    name: str, shape: tuple[int, ...]
) -> None:
    given: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-3, name: torch.full(shape, 1e-3)}
    sentence = f"{name} of shape {shape} does not broadcast to a state of shape (2,)"
    with pytest.raises(SolverError) as caught:
        odeint(lambda t, y: -y, real(1, 2), real(0, 1), solver=keeping("integral", **given),
               gradient=DIRECT)  # fmt: skip
    assert str(caught.value) == f"bad_input: {sentence}"


def test_elements_on_another_device_are_refused() -> None:
    tolerances = Tolerances(torch.ones(2, device="meta"), 1e-3, (1.0, 1e-3), False)
    with pytest.raises(SolverError, match="rtol is on meta and y on cpu: move one") as caught:
        tolerances.check(real(1, 2))
    assert caught.value.kind == "bad_input"


@every_control
@pytest.mark.parametrize("t0", [0.0, 0.1, -3.7])
def test_no_step_is_longer_than_the_longest(control: str, t0: float) -> None:
    for tol, longest in ((1e-1, 0.1), (1e-6, 0.05)):
        ys, stats = odeint(
            lambda t, y: -y, real(1.0), real(t0, t0 + 3), gradient=DIRECT,
            solver=adaptive(tol=tol, control=control, max_step=longest),
        )  # fmt: skip
        assert stats.h_max <= 1.1 * longest * (1 + 1e-9)
        assert stats.accepted >= 3 / (1.1 * longest) - 1
        assert abs(ys[-1].item() - math.exp(-3)) < tol


@every_control
@pytest.mark.parametrize("t0", [0.0, 0.1, -3.7, 1e6])
def test_the_least_step_is_taken_whatever_its_error(control: str, t0: float) -> None:
    # the rounding of t makes steps a little longer or shorter than the least one
    _, stats = odeint(
        lambda t, y: 20 * (torch.cos(t) - y), real(1.0), real(t0, t0 + 3.008), gradient=DIRECT,
        solver=adaptive(tol=1e-12, control=control, min_step=0.1),
    )  # fmt: skip
    assert stats.accepted == 30 and stats.rejected <= 1
    assert stats.h_min == pytest.approx(0.1) and stats.h_max < 0.1126


@every_control
def test_a_least_step_between_others_shortens_none_of_them(control: str) -> None:
    f = Net(seed=1, gain=3.0)
    with torch.no_grad():
        found = [
            odeint(
                f, real(0.5, -0.2, 0.9), real(0, 5), gradient=DIRECT,
                solver=adaptive(tol=1e-5, control=control, first_step=0.01, min_step=least),
            )
            for least in (None, 1e-4)
        ]  # fmt: skip
    assert torch.equal(found[0].ys, found[1].ys) and found[0].stats == found[1].stats


@every_control
@pytest.mark.parametrize("least", [0.01, 0.013, 0.3])
@pytest.mark.parametrize("t1", [1.0, 0.55, 0.504])
def test_a_least_step_that_is_not_finite_ends_the_solve(
    control: str, least: float, t1: float
) -> None:
    with pytest.raises(SolverError, match="f is not finite beyond t = 0") as caught:
        odeint(
            lambda t, y: torch.where(t < 0.5, -y, y * math.nan), real(1.0), real(0.1, t1),
            solver=adaptive(tol=1e-6, control=control, min_step=least), gradient=DIRECT,
        )  # fmt: skip
    assert caught.value.kind == "non_finite_dynamics"


@every_control
@pytest.mark.parametrize("name", ["min_step", "max_step"])
@pytest.mark.parametrize("bad", [0.0, -0.1, math.nan, math.inf])
def test_steps_that_are_none_are_refused(control: str, name: str, bad: float) -> None:
    with pytest.raises(SolverError, match=f"{name} must be positive, not {bad}") as caught:
        adaptive(control=control, **{name: bad})  # pyright: ignore[reportArgumentType]
    assert caught.value.kind == "bad_input"


@every_control
def test_a_least_step_above_the_longest_is_refused(control: str) -> None:
    sentence = r"min_step = 0\.2 is longer than max_step = 0\.1"
    with pytest.raises(SolverError, match=sentence) as caught:
        adaptive(control=control, min_step=0.2, max_step=0.1)
    assert caught.value.kind == "bad_input"
