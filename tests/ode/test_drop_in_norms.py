"""Norms and tolerances in torchdiffeq's forms: what they are given, and what they change."""

from typing import Any

import pytest
import torch
from chosen import Calls, Net, leaf, real
from drop_in_cases import BOTH, fall, part, solved
from torch import Tensor

from node_repro.ode import SolverError, drop_in

peer = pytest.importorskip("torchdiffeq")


class Norms:
    """A norm that remembers the shapes of what it was given."""

    def __init__(self) -> None:
        self.seen: set[Any] = set()

    def __call__(self, value: Any) -> Tensor:  # noqa: ANN401
        parts = value if isinstance(value, tuple) else (value,)
        self.seen.add(tuple(tuple(part.shape) for part in parts))
        return torch.stack([part.abs().max() for part in parts if part.numel()]).max()


@BOTH
@pytest.mark.parametrize("method", ["dopri5", "dopri8", "bosh3", "adaptive_heun"])
def test_a_norm_is_given_states_in_the_users_shapes(name: str, method: str) -> None:
    given: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4, "method": method}
    if name == "odeint_adjoint":
        given["adjoint_params"] = ()
    for f, y0, shapes in (
        (fall, leaf(1.0, 2.0).reshape(2, 1), ((2, 1),)),
        (fall, torch.tensor(1.0, requires_grad=True), ((),)),
        (part, (leaf(1.0), leaf(1.0, 2.0, 3.0, 4.0).reshape(2, 2)), ((1,), (2, 2))),
    ):
        norm = Norms()
        ys = getattr(drop_in, name)(f, y0, real(0, 1), options={"norm": norm}, **given)
        first = ys if isinstance(ys, Tensor) else ys[0]
        first[-1].sum().backward()
        assert norm.seen == {shapes}


def test_a_larger_norm_takes_more_steps_and_one_that_sees_nothing_few() -> None:
    calls = []
    for factor in (1e-9, 1.0, 1e3):
        f = Calls(lambda t, y: torch.cos(9 * t) * y)
        norm = lambda y, factor=factor: factor * y.abs().max()  # noqa: E731
        drop_in.odeint(f, real(1.0, 2.0), real(0, 3), rtol=1e-6, atol=1e-6, options={"norm": norm})
        calls.append(len(f.times))
    assert calls[0] < calls[1] / 3 and calls[1] < calls[2] / 1.5


def test_a_norm_that_is_the_usual_one_takes_the_usual_steps() -> None:
    times = []
    for options in (None, {"norm": lambda y: y.square().mean().sqrt()}):
        f = Calls(lambda t, y: torch.cos(9 * t) * y)
        drop_in.odeint(f, real(1.0, 2.0), real(0, 3), rtol=1e-6, atol=1e-6, options=options)
        times.append(f.times)
    assert times[0] == pytest.approx(times[1], abs=1e-12)


@pytest.mark.filterwarnings("ignore:f does not depend on any of the tensors")  # indeed
@pytest.mark.parametrize("tuple_state", [False, True])
def test_an_adjoint_norm_is_given_the_time_states_adjoints_and_parameters(
    tuple_state: bool,
) -> None:
    parameters = (torch.rand(7, requires_grad=True), torch.rand((), requires_grad=True))
    norm = Norms()
    f: Any = part if tuple_state else fall
    y0: Any = leaf(1.0, 2.0, 3.0).float()
    if tuple_state:
        y0 = (y0, torch.ones(2, 2))
    ys = drop_in.odeint_adjoint(
        f, y0, torch.tensor([0.0, 1.0]), adjoint_params=parameters, rtol=1e-4, atol=1e-4,
        adjoint_options={"norm": norm},
    )  # fmt: skip
    (ys[0] if tuple_state else ys)[-1].sum().backward()
    states = ((3,), (2, 2)) if tuple_state else ((3,),)
    assert norm.seen == {((), *states, *states, (7,), ())}


@pytest.mark.parametrize("norm", [{}, {"norm": "seminorm"}])
def test_the_norm_of_the_way_back_is_made_of_the_norm_of_the_way_there(
    norm: dict[str, Any],
) -> None:
    given = {"rtol": 1e-7, "atol": 1e-7, "options": {"norm": lambda y: y.abs().max()}}
    aim = solved("odeint", (0.0, 2.0), rtol=1e-12, atol=1e-12)
    ours = solved("odeint_adjoint", (0.0, 2.0), adjoint_options=norm, **given)
    for a, b in zip(ours, aim, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_what_is_no_norm_is_refused() -> None:
    for norm in (3, lambda y: y, lambda y: y * 1j):
        with pytest.raises(SolverError, match="norm must"):
            drop_in.odeint(fall, real(1.0, 2.0), real(0, 1), options={"norm": norm})
    with pytest.raises(SolverError, match="a function or 'seminorm'"):
        drop_in.odeint_adjoint(
            fall, leaf(1.0), real(0, 1), adjoint_params=(), adjoint_options={"norm": "semi"}
        )


def test_the_backward_solve_takes_a_tolerance_for_each_of_its_parts() -> None:
    aim = solved("odeint", (0.0, 2.0), rtol=1e-12, atol=1e-12)
    count = 3 + len(list(Net().parameters()))
    strict, loose = (1e-8,) * count, (1e-8,) * 3 + (1e3,) * (count - 3)
    for back in ({"adjoint_rtol": strict, "adjoint_atol": strict}, {"adjoint_rtol": strict}):
        ours = solved("odeint_adjoint", (0.0, 2.0), rtol=1e-8, atol=1e-8, **back)
        theirs = solved("odeint_adjoint", (0.0, 2.0), peer, rtol=1e-8, atol=1e-8, **back)
        for a, b, c in zip(ours, theirs, aim, strict=True):
            torch.testing.assert_close(a, c, rtol=1e-6, atol=1e-7)
            torch.testing.assert_close(b, c, rtol=1e-6, atol=1e-7)
    calls = []
    for atol in (strict, loose):
        rough = leaf(1.0)
        f = Calls(lambda t, y, p=rough: -y + (p - p.detach()) * torch.cos(40 * t))
        ys = drop_in.odeint_adjoint(
            f, leaf(1.0), real(0, 4), rtol=1e-8, atol=1e-8, adjoint_rtol=1e-8,
            adjoint_atol=atol[:4], adjoint_params=(rough,),
        )  # fmt: skip
        f.times.clear()
        ys[-1].sum().backward()
        calls.append(len(f.times))
    assert calls[1] < calls[0] / 3  # only the parameter's gradient turns fast
    with pytest.raises(SolverError, match=f"2 entries, but the backward solve has {count} parts"):
        solved("odeint_adjoint", (0.0, 2.0), adjoint_rtol=(1e-8, 1e-8))
