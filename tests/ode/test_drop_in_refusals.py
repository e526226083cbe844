"""Arguments of torchdiffeq's that make no sense here are refused by name, saying what to do."""

import math
from typing import Any

import pytest
import torch
from chosen import leaf, real
from torch import Tensor

from node_repro.ode import SolverError, drop_in

peer = pytest.importorskip("torchdiffeq")


def fall(t: Tensor, y: Tensor) -> Tensor:
    return -y


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"method": "dopri6"}, "unknown method 'dopri6'; there are dopri8, dopri5"),
    ({"options": {"first_step": "small"}}, "first_step' must be a number"),
    ({"options": {"first_step": -1.0}}, "first_step must be positive"),
    ({"method": "rk4", "options": {"interp": "quintic"}}, "interp='quintic' is unknown"),
    (
        {"method": "rk4", "options": {"step_size": 0.1, "grid_constructor": lambda f, y, t: t}},
        "exclude each other",
    ),
    (
        {"method": "rk4", "options": {"grid_constructor": lambda f, y, t: t[:-1]}},
        r"begin with t\[0\] and end with t\[-1\]",
    ),
    ({"method": "rk4", "options": {"step_size": 0.0}}, "step_size must be a positive number"),
    ({"rtol": (1e-3, 1e-4, 1e-5)}, "does not broadcast"),
    ({"rtol": -1.0}, "rtol must be a number >= 0"),
    ({"y0": [real(1.0)]}, "y0 must be a tensor or a tuple of tensors, not list"),
    ({"y0": torch.tensor([1])}, "y0 is torch.int64"),
    ({"t": torch.tensor([0, 1])}, "ts is torch.int64"),
    ({"t": real(0, 2, 1)}, "must be sorted"),
    ({"event_fn": fall, "t": real(0, 1, 2)}, "two different times"),
    ({"event_fn": fall, "method": "rk4"}, "need the option step_size"),
    ({"event_fn": fall, "method": "scipy_solver"}, "finds no events"),
]
REFUSALS_OF_THE_ADJOINT: list[tuple[dict[str, Any], str]] = [
    ({"adjoint_params": None}, "make it an nn.Module, or pass adjoint_params"),
    (
        {"method": "dopri5", "options": {"safety": 0.8}, "adjoint_method": "bosh3"},
        "give adjoint_options for adjoint_method='bosh3'",
    ),
]


@pytest.mark.parametrize(("given", "message"), REFUSALS)
def test_what_makes_no_sense_is_refused_by_name(given: dict[str, Any], message: str) -> None:
    given = {"func": fall, "y0": real(1.0, 2.0), "t": real(0, 1)} | given
    with pytest.raises(SolverError, match=message) as caught:
        drop_in.odeint(**given)
    assert caught.value.kind == "bad_input"


@pytest.mark.parametrize(("given", "message"), REFUSALS_OF_THE_ADJOINT)
def test_so_is_what_the_adjoint_cannot_do(given: dict[str, Any], message: str) -> None:
    given = {"func": fall, "y0": real(1.0, 2.0), "t": real(0, 1), "adjoint_params": ()} | given
    with pytest.raises(SolverError, match=message) as caught:
        drop_in.odeint_adjoint(**given)
    assert caught.value.kind == "bad_input"


WARNINGS: list[tuple[dict[str, Any], str]] = [
    ({"options": {"step_size": 0.1}}, "step_size"),
    ({"method": "rk4", "options": {"first_step": 1}}, "first_step"),
    ({"options": {"frist_step": 1}}, "frist_step"),
    ({"method": "rk4", "options": {"norm": torch.max}}, "'rk4' has no option 'norm'"),
    ({"method": "scipy_solver", "options": {"norm": torch.max}}, "no option 'norm'"),
    ({"method": "scipy_solver", "options": {"min_step": 0.1}}, "no option 'min_step'"),
    ({"method": "scipy_solver", "y0": leaf(1.0, 2.0)}, "use odeint_adjoint"),
]


@pytest.mark.parametrize(("given", "message"), WARNINGS)
def test_what_has_no_effect_is_warned_of(given: dict[str, Any], message: str) -> None:
    given = {"func": fall, "y0": real(1.0, 2.0), "t": real(0, 1)} | given
    with pytest.warns(UserWarning, match=message):
        found = drop_in.odeint(**given)
    rtol = 0.02 if given.get("method") == "rk4" else 1e-5  # one step of rk4
    torch.testing.assert_close(found[-1].detach(), real(1, 2) / math.e, rtol=rtol, atol=0)


def test_an_adjoint_by_scipy_takes_no_function_for_a_norm() -> None:
    y0 = leaf(1.0, 2.0)
    with pytest.warns(UserWarning, match="'scipy_solver' has no option 'norm'"):
        ys = drop_in.odeint_adjoint(
            fall, y0, real(0, 1), adjoint_method="scipy_solver",
            adjoint_options={"norm": lambda parts: parts[1].abs().max()}, adjoint_params=(),
        )  # fmt: skip
    (g,) = torch.autograd.grad(ys[-1].sum(), y0)
    torch.testing.assert_close(g, real(1, 1) / math.e, rtol=1e-5, atol=0)


def test_events_of_another_interface_are_refused() -> None:
    with pytest.raises(SolverError, match="odeint_interface must lead to"):
        drop_in.odeint_event(
            fall, real(1.0), real(0.0)[0], event_fn=lambda t, y: y[0] - 0.5,
            odeint_interface=peer.odeint,
        )  # fmt: skip


def test_an_interface_may_lead_to_ours() -> None:
    def interface(func: Any, y0: Tensor, t: Tensor, **given: Any) -> Any:  # noqa: ANN401
        return drop_in.odeint_adjoint(func, y0, t, adjoint_params=(), **given)

    y0 = leaf(1.0)
    event_t, _ = drop_in.odeint_event(
        fall, y0, real(0.0)[0], event_fn=lambda t, y: y[0] - 0.5, odeint_interface=interface
    )
    (g,) = torch.autograd.grad(event_t, y0)
    assert g.item() == pytest.approx(1, rel=1e-6)


def grow(t: Tensor, y: Tensor) -> Tensor:
    return y * y


@pytest.mark.parametrize(
    ("given", "beginning"),
    [
        ({"options": {"max_num_steps": 2}}, "max_num_steps exceeded"),
        ({"t": real(0, 2), "func": grow}, "underflow in dt"),
        ({"t": real(0, 2), "func": grow, "method": "euler"}, "non-finite values in state"),
    ],
)
def test_steps_that_fail_end_in_an_assertion_error_with_torchdiffeqs_beginning(
    given: dict[str, Any], beginning: str
) -> None:
    given = {"func": fall, "y0": real(1e200 if "method" in given else 1.0), "t": real(0, 1)} | given
    with pytest.raises(AssertionError) as caught:
        drop_in.odeint(**given)
    assert isinstance(caught.value, SolverError)
    assert caught.value.args[0].startswith(beginning)


def test_so_does_a_backward_solve() -> None:
    y0 = leaf(1.0)
    ys = drop_in.odeint_adjoint(
        fall, y0, real(0, 1), adjoint_params=(), adjoint_options={"max_num_steps": 2}
    )
    with pytest.raises(AssertionError, match=r"^max_num_steps exceeded"):
        ys.sum().backward()
