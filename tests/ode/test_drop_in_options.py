"""Options of torchdiffeq's adaptive methods, and arguments of its adjoint."""

import math
from typing import Any

import pytest
import torch
from chosen import Calls, Net, leaf, real
from drop_in_cases import ADAPTIVE, BOTH, WAYS, errors, exact, fall, results, solved
from torch import Tensor

from node_repro.ode import SolverError, drop_in

peer = pytest.importorskip("torchdiffeq")


def test_steps_are_told_as_theirs_are() -> None:
    options = {
        "first_step": 0.01, "safety": 0.8, "ifactor": 2.0, "dfactor": 0.5,
        "min_step": 1e-9, "max_step": 0.1, "max_num_steps": 1000, "dtype": torch.float64,
    }  # fmt: skip
    f = Calls(lambda t, y: -y)
    ys = drop_in.odeint(f, real(1.0), real(0, 1), method="dopri5", options=options)
    theirs = Calls(lambda t, y: -y)
    aim = peer.odeint(theirs, real(1.0), real(0, 1), method="dopri5", options=options)
    torch.testing.assert_close(ys, aim, rtol=1e-9, atol=1e-9)
    # 0.01, 0.02, 0.04, 0.08, then ten of at most 0.1; they go on to 1.05
    assert len(f.times) == pytest.approx(len(theirs.times), abs=6)


def test_too_many_steps_from_output_to_output_are_refused() -> None:
    f, options = lambda t, y: -1000 * y, {"max_num_steps": 20}
    with pytest.raises(SolverError) as caught:
        drop_in.odeint(f, real(1.0), real(0, 1), options=options)
    assert caught.value.kind == "max_steps"
    assert isinstance(caught.value, AssertionError)
    assert str(caught.value).startswith("max_num_steps exceeded: 20 steps were not enough")
    assert str(caught.value).endswith("or raise max_num_steps")
    with pytest.raises(AssertionError):
        peer.odeint(f, real(1.0), real(0, 1), options=options)
    many = torch.linspace(0, 1, 100, dtype=torch.float64)  # their count begins anew at each
    drop_in.odeint(f, real(1.0), many, options=options)


def jump(t: Tensor, y: Tensor) -> Tensor:
    """-y before t = 1, and 2 from then on."""
    return torch.where(t < 1, -y, 2.0)


@pytest.mark.parametrize("method", [*ADAPTIVE, "tsit5"])
@BOTH
def test_a_solve_restarts_at_a_jump(name: str, method: str) -> None:
    given = {"method": method, "rtol": 1e-6, "atol": 1e-6}
    if name == "odeint_adjoint":
        given["adjoint_params"] = ()
    with_jump, without = Calls(jump), Calls(jump)
    y0 = leaf(1.0, 3.0)
    options = {"jump_t": real(1.0)}
    ys = getattr(drop_in, name)(with_jump, y0, real(0, 0.5, 2), options=options, **given)
    getattr(drop_in, name)(without, y0, real(0, 0.5, 2), **given)
    within = 2e-4 if method == "fehlberg2" else 1e-5
    torch.testing.assert_close(ys[-1], y0 / math.e + 2, rtol=within, atol=0)
    assert 1.0 not in with_jump.times
    assert len(with_jump.times) < len(without.times)
    (g,) = torch.autograd.grad(ys[-1].sum(), y0)
    torch.testing.assert_close(g, real(1 / math.e, 1 / math.e), rtol=within, atol=0)


def test_the_time_of_a_jump_has_a_gradient() -> None:
    # y(2) = y0 e^-s + 2 (2 - s) for a jump at s
    s = leaf(1.0)
    ys = drop_in.odeint(jump, real(1.0), real(0, 2), rtol=1e-9, options={"jump_t": s})
    (g,) = torch.autograd.grad(ys[-1, 0], s)
    assert g.item() == pytest.approx(-math.exp(-1) - 2, rel=1e-7)


@pytest.mark.parametrize("ends", [(0.0, 0.9, 2.0), (2.0, 1.1, 0.0)])
def test_stops_are_met_in_any_order_both_ways(ends: tuple[float, ...]) -> None:
    f = Calls(lambda t, y: -y * torch.cos(t))
    options = {"step_t": real(1.3, 0.4, 7.0), "jump_t": real(1.0, -3.0)}
    ys = drop_in.odeint(f, real(1.0), real(*ends), options=options)
    plain = drop_in.odeint(f, real(1.0), real(*ends))
    torch.testing.assert_close(ys, plain, rtol=1e-7, atol=1e-8)
    for stop in (0.4, 1.0, 1.3):
        assert min(abs(time - stop) for time in f.times) < 1e-15


# --- the adjoint's arguments


@pytest.mark.parametrize(
    "given",
    [
        {"adjoint_options": {"norm": "seminorm"}},
        {"adjoint_rtol": 1e-9, "adjoint_atol": 1e-10},
        {"method": "rk4", "options": {"step_size": 0.02}, "adjoint_rtol": 1e-9},
        {"adjoint_method": "dopri8"},
        {"adjoint_method": "rk4", "adjoint_options": {"step_size": 0.02}},
        {"options": {"first_step": 0.1}, "adjoint_options": {"max_step": 0.3}},
        {"options": {"jump_t": torch.tensor([0.7])}, "adjoint_options": {"norm": "seminorm"}},
        {"adjoint_options": {"jump_t": torch.tensor([0.7]), "norm": "seminorm"}},
        {"method": "rk4", "options": {"step_size": 0.02}, "adjoint_method": "dopri5",
         "adjoint_options": {}},
    ],
)  # fmt: skip
def test_the_backward_solve_is_told_apart(given: dict[str, Any]) -> None:
    given = {"rtol": 1e-7, "atol": 1e-7, "method": "dopri5"} | given
    aim = exact()
    ours = errors(results(drop_in, "odeint_adjoint", **given), aim)
    theirs = errors(results(peer, "odeint_adjoint", **given), aim)
    assert max(theirs) < 1e-4
    assert all(a <= max(2 * b, 1e-5) for a, b in zip(ours, theirs, strict=True))


def test_the_seminorm_leaves_the_parameters_out() -> None:
    calls = []
    for norm in ({}, {"norm": "seminorm"}):
        f = Net(gain=3.0)
        ys = drop_in.odeint_adjoint(
            f, leaf(0.5, -0.2, 0.9), real(0, 5), rtol=1e-6, atol=1e-6, adjoint_options=norm
        )
        counted = 0

        def count(*_: Any) -> None:
            nonlocal counted
            counted += 1

        f.register_forward_hook(count)
        ys[-1].sum().backward()
        calls.append(counted)
    assert calls[1] < calls[0]


def test_only_the_parameters_that_are_given_get_a_gradient() -> None:
    for library in (drop_in, peer):
        f, y0 = Net(), leaf(0.5, -0.2, 0.9)
        library.odeint_adjoint(f, y0, real(0, 1), adjoint_params=(f.bias,))[-1].sum().backward()
        assert f.bias.grad is not None and f.inner.grad is None and f.outer.grad is None
        f, y0 = Net(), leaf(0.5, -0.2, 0.9)
        library.odeint_adjoint(f, y0, real(0, 1), adjoint_params=())[-1].sum().backward()
        assert y0.grad is not None and f.bias.grad is None


def test_parameters_may_be_the_result_of_another_network() -> None:
    found = []
    for library in (drop_in, peer):
        code = leaf(0.3, -0.4)
        rates = torch.tanh(code) * 2
        ys = library.odeint_adjoint(
            lambda t, y, rates=rates: rates * y, real(1.0, 2.0), real(0, 1), adjoint_params=[rates]
        )
        found += torch.autograd.grad(ys[-1].sum(), code)
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-7)


def test_a_closure_over_an_undeclared_parameter_is_refused() -> None:
    rate = leaf(0.3)
    ys = drop_in.odeint_adjoint(lambda t, y: rate * y, leaf(1.0), real(0, 1), adjoint_params=())
    with pytest.raises(SolverError, match="not among its parameters"):
        ys[-1].sum().backward()


@WAYS
def test_the_way_back_may_have_a_grid_of_its_own(ends: tuple[float, ...]) -> None:
    asked = []

    def tenths(func: Any, y0: Tensor, t: Tensor) -> Tensor:  # noqa: ANN401
        asked.append(t.tolist())
        assert y0.shape == (3,) and t.dtype is torch.float64
        return torch.linspace(0, 1, 11, dtype=t.dtype) * (t[-1] - t[0]) + t[0]

    given = {
        "method": "rk4", "options": {"step_size": 0.05},
        "adjoint_options": {"grid_constructor": tenths},
    }  # fmt: skip
    ours = solved("odeint_adjoint", ends, **given)
    assert asked == [[ends[2], ends[1]], [ends[1], ends[0]]]
    theirs = solved("odeint_adjoint", ends, peer, **given | {"adjoint_options": {
        "grid_constructor": lambda f, y, t: torch.linspace(0, 1, 11).to(t) * (t[-1] - t[0]) + t[0]
    }})  # fmt: skip
    for a, b in zip(ours[1:], theirs[1:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_jumps_may_be_met_on_the_way_back_alone() -> None:
    f = Calls(lambda t, y: torch.where(t < 0.73, -1.0, 2.0) * y)
    y0 = leaf(1.0)
    ys = drop_in.odeint_adjoint(
        f, y0, real(0, 0.73, 2), method="rk4", options={"step_size": 0.0073}, adjoint_params=(),
        adjoint_method="dopri5", adjoint_options={"jump_t": real(0.73)},
    )  # fmt: skip
    f.times.clear()
    (g,) = torch.autograd.grad(ys[-1].sum(), y0)
    assert g.item() == pytest.approx(math.exp(-0.73 + 2 * 1.27), rel=1e-2)


def test_perturbed_steps_of_the_adjoint_stay_within_their_own_side() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.where(t < 0.5, -1.0, 2.0) * y if t not in (0.0, 0.5, 1.0) else y * math.nan

    y0 = leaf(1.0)
    ys = drop_in.odeint_adjoint(
        f, y0, real(0, 1), method="rk4", options={"step_size": 0.05, "perturb": True},
        adjoint_params=(),
    )  # fmt: skip
    (g,) = torch.autograd.grad(ys[-1].sum(), y0)
    assert g.item() == pytest.approx(math.exp(0.5), rel=1e-4)


def test_an_events_time_has_its_gradient_with_the_adjoint() -> None:
    y0 = leaf(1.0)
    event_t, _ = drop_in.odeint_adjoint(
        fall, y0, real(0, 1), event_fn=lambda t, y: y[0] - 0.5, adjoint_params=()
    )
    (g,) = torch.autograd.grad(event_t, y0)
    assert g.item() == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize(
    "given", [{}, {"method": "tsit5"}, {"method": "rk4", "options": {"step_size": 0.01}},
              {"method": "implicit_adams", "options": {"step_size": 0.01}}],
)  # fmt: skip
@pytest.mark.parametrize("ends", [(0.0, 2.0), (2.0, 0.0)])
def test_a_solution_is_a_function_of_time(given: dict[str, Any], ends: tuple[float, float]) -> None:
    f = drop_in.odeint_dense(lambda t, y: y * torch.cos(t), real(1.0, 2.0), *ends, **given)
    for t in (0.0, 0.013, 0.8, 1.999, 2.0):
        aim = real(1.0, 2.0) * math.exp(math.sin(t) - math.sin(ends[0]))
        torch.testing.assert_close(f(torch.tensor(t)), aim, rtol=1e-5, atol=0)
    if not given and ends[0] < ends[1]:  # theirs rounds times that are numbers to whole ones
        theirs = peer.odeint_dense if hasattr(peer, "odeint_dense") else None
        if theirs is not None:
            other = theirs(lambda t, y: y * torch.cos(t), real(1.0, 2.0), *real(*ends))
            torch.testing.assert_close(f(0.8), other(real(0.8)[0]), rtol=1e-5, atol=0)


def test_times_of_any_type_are_accepted_and_stay_float64() -> None:
    ys = drop_in.odeint(fall, real(1.0), real(0, 1), options={"dtype": torch.float32})
    assert ys[-1].item() == pytest.approx(1 / math.e, rel=1e-6)
    with pytest.raises(SolverError, match="'dtype' must be"):
        drop_in.odeint(fall, real(1.0), real(0, 1), options={"dtype": torch.int32})
