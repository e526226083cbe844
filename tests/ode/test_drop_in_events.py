"""Events by torchdiffeq's arguments: when and where theirs are, with the gradients of theirs."""

import math
from types import ModuleType
from typing import Any

import pytest
import torch
from chosen import Calls, Net, leaf, real
from torch import Tensor, nn

from node_repro.ode import SolverError, drop_in

peer = pytest.importorskip("torchdiffeq")
BOTH = pytest.mark.parametrize("name", ["odeint", "odeint_adjoint"])


class Ball(nn.Module):
    """A ball that falls; the event is that it hits the ground."""

    def __init__(self) -> None:
        super().__init__()
        self.gravity = nn.Parameter(real(9.8))

    def forward(self, t: Tensor, y: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        height, speed = y
        return speed, -self.gravity * torch.ones_like(height)

    def ground(self, t: Tensor, y: tuple[Tensor, Tensor]) -> Tensor:
        return y[0]


@pytest.mark.parametrize("given", [{}, {"method": "midpoint", "options": {"step_size": 0.01}}])
@BOTH
def test_a_ball_hits_the_ground_when_and_as_fast_as_theirs(
    name: str, given: dict[str, Any]
) -> None:
    found = []
    for library in (drop_in, peer):
        ball, height, speed, t0 = Ball(), leaf(10.0), leaf(2.0), torch.tensor(0.5).double()
        t0.requires_grad_()
        event_t, ys = library.odeint_event(
            ball, (height, speed), t0, event_fn=ball.ground,
            odeint_interface=getattr(library, name), **({"atol": 1e-10} | given),
        )  # fmt: skip
        assert event_t.shape == () and [y.shape for y in ys] == [(2, 1), (2, 1)]
        wanted = (height, speed, *ball.parameters(), t0)
        found.append([event_t, ys[0][-1], ys[1][-1]])
        found[-1] += torch.autograd.grad(event_t + ys[1][-1].sum(), wanted)
    within = 1e-6 if given == {} else 1e-4
    for a, b in zip(*(values[:-1] for values in found), strict=True):
        torch.testing.assert_close(a, b, rtol=within, atol=within)
    # all moves along with t0; theirs of fixed steps gives 1.013
    assert found[0][-1].item() == pytest.approx(1, rel=1e-9)
    assert found[0][0].item() - 0.5 == pytest.approx((2 + math.sqrt(4 + 196)) / 9.8, rel=1e-9)


def test_a_ball_bounces_on_as_theirs() -> None:
    def bounces(library: ModuleType) -> Tensor:
        ball, t = Ball(), torch.tensor(0.0, dtype=torch.float64)
        y, times = (leaf(10.0), leaf(0.0)), []
        for _ in range(4):
            t, (heights, speeds) = library.odeint_event(
                ball, y, t, event_fn=ball.ground, reverse_time=False, atol=1e-10, rtol=1e-10
            )
            y = heights[-1] + 1e-7, -0.9 * speeds[-1]  # theirs ends at once on the ground itself
            times.append(t.reshape(()))
        (g,) = torch.autograd.grad(t, ball.gravity)
        return torch.stack((*times, g[0]))

    ours, theirs = bounces(drop_in), bounces(peer)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_event_is_found_in_the_past(dtype: torch.dtype) -> None:
    y0, t0 = torch.ones(2, dtype=dtype, requires_grad=True), torch.tensor(0.3, requires_grad=True)
    event_t, ys = drop_in.odeint_event(
        lambda t, y: y, y0, t0, event_fn=lambda t, y: y[0] - 0.5, reverse_time=True
    )
    assert (event_t.dtype, ys.dtype) == (torch.float32, dtype)
    assert event_t.item() == pytest.approx(0.3 - math.log(2), abs=1e-6)
    g, g0 = torch.autograd.grad(event_t, (y0, t0))
    assert g.tolist() == pytest.approx([-1, 0], abs=1e-5) and g0.item() == pytest.approx(1)


@BOTH
def test_event_fn_of_odeint_ends_the_solve_at_a_fixed_time(name: str) -> None:
    # the state is that at the time as it is; the time has a gradient with odeint_adjoint alone
    found = []
    for library in (drop_in, peer):
        f, y0 = Net(), leaf(0.5, -0.2, 0.9)
        event_t, ys = getattr(library, name)(
            f, y0, real(0, 1), event_fn=lambda t, y: y[1] - 0.3, rtol=1e-10, atol=1e-10
        )
        assert ys.shape == (2, 3)
        assert library is peer or event_t.requires_grad == (name == "odeint_adjoint")
        found.append(
            [
                event_t.detach(),
                ys.detach(),
                *torch.autograd.grad(ys[-1].sum(), (y0, *f.parameters())),
            ]
        )
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_the_first_of_several_events_ends_the_solve() -> None:
    def event(t: Tensor, y: Tensor) -> Tensor:
        return torch.stack((y[0] - 0.25, 0.5 - y[0], t - 3))

    for library in (drop_in, peer):
        event_t, _ = library.odeint_event(
            lambda t, y: -y, real(1.0), real(0.0)[0], event_fn=event, atol=1e-10, rtol=1e-10
        )
        assert event_t.item() == pytest.approx(math.log(2), abs=1e-8)


def test_an_event_that_begins_as_zero_ends_at_once() -> None:
    for library in (drop_in, peer):
        event_t, ys = library.odeint(
            lambda t, y: y, real(1.0), real(2, 3), event_fn=lambda t, y: y[0] - 1
        )
        assert event_t.item() == 2 and ys.tolist() == [[1], [1]]


def test_an_event_is_looked_for_as_far_as_it_may_be() -> None:
    f = Calls(lambda t, y: torch.ones_like(y))
    event_t, _ = drop_in.odeint_event(
        f, real(0.0), real(0.0)[0], event_fn=lambda t, y: y[0] - 123456.0
    )
    assert event_t.item() == pytest.approx(123456, rel=1e-12) and len(f.times) < 1000


def test_an_event_that_never_happens_is_not_waited_for() -> None:
    def never(f: Any, **given: Any) -> SolverError:  # noqa: ANN401
        with pytest.raises(SolverError) as caught:
            drop_in.odeint_event(
                f, real(1.0), real(0.0)[0], event_fn=lambda t, y: y[0] + 1, **given
            )
        return caught.value

    assert "there is no event" in str(never(lambda t, y: 0 * y))
    tired = never(lambda t, y: torch.cos(t) * y, options={"max_num_steps": 200})
    assert tired.kind == "max_steps" and "event_fn had not changed" in tired.__notes__[-1]


def test_jumps_are_met_on_the_way_to_an_event() -> None:
    f = Calls(lambda t, y: torch.where(t < 1, 1.0, 3.0) * torch.ones_like(y))
    event_t, _ = drop_in.odeint_event(
        f, real(0.0), real(0.0)[0], event_fn=lambda t, y: y[0] - 7,
        options={"jump_t": real(1.0, 50.0)},
    )  # fmt: skip
    assert event_t.item() == pytest.approx(3, abs=1e-9) and 1.0 not in f.times


def test_the_parameters_of_an_event_get_a_gradient() -> None:
    level = leaf(0.5)
    event_t, _ = drop_in.odeint_event(
        lambda t, y: -y, real(1.0), real(0.0)[0], event_fn=lambda t, y: y[0] - level
    )
    (g,) = torch.autograd.grad(event_t, level)
    assert g.item() == pytest.approx(-2, rel=1e-6)  # t = -log(level)
