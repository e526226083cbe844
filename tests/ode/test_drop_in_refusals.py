"""Arguments of torchdiffeq's that make no sense here are refused by name, saying what to do."""

import math
from typing import Any

import pytest
import torch
from chosen import leaf, real
from torch import Tensor, nn

from node_repro.ode import SolverError, drop_in

peer = pytest.importorskip("torchdiffeq")


def fall(t: Tensor, y: Tensor) -> Tensor:
    return -y


class Called(nn.Module):
    """A field that wants to be told of every step."""

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return -y

    def callback_step(self, t: Tensor, y: Tensor, dt: Tensor) -> None: ...


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"method": "dopri6"}, "unknown method 'dopri6'; there are dopri8, dopri5"),
    ({"method": "tsit5"}, "unknown method 'tsit5'"),
    ({"method": "explicit_adams"}, r"explicit_adams.*VodeAdams"),
    ({"method": "implicit_adams"}, r"implicit_adams.*VodeAdams"),
    ({"method": "fixed_adams"}, r"fixed_adams.*VodeAdams"),
    ({"options": {"step_size": 0.1}}, "no option 'step_size': it belongs to fixed methods"),
    ({"method": "rk4", "options": {"first_step": 1}}, "it belongs to adaptive methods"),
    ({"options": {"frist_step": 1}}, "no option 'frist_step': it takes first_step, safety"),
    ({"options": {"first_step": "small"}}, "first_step' must be a number"),
    ({"options": {"first_step": -1.0}}, "first_step must be positive"),
    ({"options": {"norm": lambda y: y.abs().max()}}, "option norm is not taken.*tensors of rtol"),
    ({"options": {"dtype": torch.float32}}, "dtype=torch.float32 is not taken.*float64"),
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
    ({"method": "scipy_solver", "options": {"solver": "RK45"}}, "LSODA, not 'RK45'.*dopri5"),
    ({"method": "scipy_solver", "options": {"max_step": 1.0}}, "leave the option 'max_step' out"),
    ({"rtol": (1e-3, 1e-4, 1e-5)}, "does not broadcast"),
    ({"rtol": -1.0}, "rtol must be a number >= 0"),
    ({"func": Called()}, "func.callback_step would not be called: count in func"),
    ({"y0": [real(1.0)]}, "y0 must be a tensor or a tuple of tensors, not list"),
    ({"y0": torch.tensor([1])}, "y0 is torch.int64"),
    ({"t": torch.tensor([0, 1])}, "ts is torch.int64"),
    ({"t": real(0, 2, 1)}, "sorted one way"),
    ({"event_fn": fall, "t": real(0, 1, 2)}, "two different times"),
    ({"event_fn": fall, "method": "rk4"}, "need the option step_size"),
    ({"event_fn": fall, "method": "scipy_solver"}, "finds no events"),
]
REFUSALS_OF_THE_ADJOINT: list[tuple[dict[str, Any], str]] = [
    ({"adjoint_params": None}, "make it an nn.Module, or give adjoint_params"),
    ({"adjoint_options": {"norm": torch.max}}, "may only be 'seminorm'"),
    ({"adjoint_rtol": (1e-3, 1e-3)}, "adjoint_rtol must be one number"),
    (
        {"method": "dopri5", "options": {"safety": 0.8}, "adjoint_method": "bosh3"},
        "give adjoint_options for adjoint_method='bosh3'",
    ),
    (
        {"method": "rk4", "adjoint_options": {"grid_constructor": lambda f, y, t: t}},
        "grid_constructor in adjoint_options must be that of options",
    ),
    (
        {"method": "rk4", "adjoint_method": "dopri5", "adjoint_options": {"jump_t": real(0.5)}},
        "need an adaptive method forwards too",
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


def test_gradients_through_scipy_are_refused_and_not_lost() -> None:
    given: dict[str, Any] = {"t": real(0, 1), "method": "scipy_solver"}
    with pytest.raises(SolverError, match=r"take odeint_adjoint, or solve under torch\.no_grad"):
        drop_in.odeint(fall, leaf(1.0), **given)
    assert drop_in.odeint(fall, real(1.0), **given)[-1].item() == pytest.approx(1 / math.e)


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
