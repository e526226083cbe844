"""Events: when something happens, where, and what both depend on."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from chosen import GRADIENTS, METHODS, adaptive, leaf, real, steps, taken
from torch import Tensor, nn

from node_repro.ode import EventSolution, RungeKutta, SolverError, odeint, odeint_event
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.scipy.lsoda import Lsoda

DIRECT = GRADIENTS["direct"]
FINE = adaptive("dopri5", 1e-10)
every_gradient = pytest.mark.parametrize("gradient", GRADIENTS)


class Ball:
    """Falls with the acceleration g from a height and a speed until it meets a floor."""

    def __init__(self) -> None:
        self.g, self.floor = leaf(9.81), leaf(0.1)
        self.y0, self.t0 = leaf(2.0, 1.5), leaf(0.3)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self.y0, self.t0, self.g, self.floor

    def solved(self, gradient: GradientMethod, solver: RungeKutta) -> EventSolution[Tensor]:
        return odeint_event(
            lambda t, y: torch.cat((y[1:], -self.g)), self.y0, self.t0[0],
            lambda t, y: y[0] - self.floor, solver=solver, gradient=gradient, limit=10.0,
            parameters=(self.g,),
        )  # fmt: skip

    def exact(self) -> tuple[Tensor, Tensor]:
        """The time and the state of the impact."""
        height, speed = self.y0
        root = torch.sqrt(speed**2 + 2 * self.g * (height - self.floor))
        return (self.t0 + (speed + root) / self.g)[0], torch.cat((self.floor, -root))


@every_gradient
def test_a_ball_meets_the_floor_when_and_how_it_should(gradient: str) -> None:
    ball = Ball()
    found = ball.solved(GRADIENTS[gradient], FINE)
    t, y = ball.exact()
    assert found.index == 0 and found.t.dtype == torch.float64 and found.t.shape == ()
    torch.testing.assert_close(found.t, t, rtol=1e-10, atol=0)
    torch.testing.assert_close(found.y, y, rtol=1e-9, atol=1e-10)
    loss, aim = found.t**2 + (found.y * real(2.0, 0.7)).sum(), t**2 + (y * real(2.0, 0.7)).sum()
    torch.testing.assert_close(
        torch.autograd.grad(loss, ball.inputs), torch.autograd.grad(aim, ball.inputs),
        rtol=1e-7, atol=1e-9,
    )  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_event_of_its_own_solution(method: str) -> None:
    ball = Ball()
    found = ball.solved(DIRECT, steps(method, 0.01))
    # euler's and the coarser dense outputs' share of the error is that of the method
    within = {1: 0.05, 2: 1e-3}.get(METHODS[method].order, 1e-8)
    assert found.t.item() == pytest.approx(ball.exact()[0].item(), abs=within)
    assert found.y[0].item() == pytest.approx(0.1, abs=1e-9)


@every_gradient
def test_a_ball_bounces_on_with_gradients_through_every_impact(gradient: str) -> None:
    def bounced(solve: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]) -> list[Tensor]:
        y, t, g, keep = leaf(1.0, 0.0), leaf(0.0)[0], leaf(9.81), leaf(0.8)
        inputs = (y, g, keep)
        for _ in range(3):
            t, y = solve(t, y, g)
            y = torch.stack((torch.zeros_like(y[0]), -keep[0] * y[1]))
        return [t.detach(), *torch.autograd.grad(t, inputs)]

    def ours(t: Tensor, y: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        # the ball starts on the floor, to rounding: only what falls is an impact
        found = odeint_event(
            lambda t, y: torch.cat((y[1:], -g)), y, t, lambda t, y: y[0], direction=-1,
            solver=FINE, gradient=GRADIENTS[gradient], limit=10.0, parameters=(g,),
        )  # fmt: skip
        return found.t, found.y

    def exact(t: Tensor, y: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        root = torch.sqrt(y[1] ** 2 + 2 * g[0] * y[0])
        return t + (y[1] + root) / g[0], torch.stack((y[0] * 0, -root))

    torch.testing.assert_close(bounced(ours), bounced(exact), rtol=1e-7, atol=1e-9)


def turning(t: Tensor, y: Tensor) -> Tensor:
    """(sin t, cos t) from (0, 1)."""
    return torch.stack((y[1], -y[0]))


def turned(event: Callable[..., Any], **changes: Any) -> EventSolution[Tensor]:
    given = {"t0": 0.0, "limit": 20.0, "solver": FINE, "gradient": DIRECT, "f": turning}
    given |= {"y0": real(0, 1)} | changes
    f, y0, t0 = given.pop("f"), given.pop("y0"), given.pop("t0")
    return odeint_event(f, y0, t0, event, **given)


@pytest.mark.parametrize(
    ("direction", "t"), [(0, math.pi / 6), (1, math.pi / 6), (-1, 5 * math.pi / 6)]
)
def test_rising_and_falling_are_told_apart(direction: int, t: float) -> None:
    found = turned(lambda t, y: y[0] - 0.5, direction=direction)
    assert found.t.item() == pytest.approx(t, rel=1e-9) and found.index == 0


@pytest.mark.parametrize(
    ("direction", "t"), [(0, -7 * math.pi / 6), (1, -7 * math.pi / 6), (-1, -11 * math.pi / 6)]
)
def test_backwards_rising_is_what_rises_along_the_way(direction: int, t: float) -> None:
    found = turned(lambda t, y: y[0] - 0.5, direction=direction, limit=-20.0)
    assert found.t.item() == pytest.approx(t, rel=1e-9)
    torch.testing.assert_close(found.y[0], real(0.5)[0], rtol=1e-9, atol=0)


def test_the_earliest_of_many_events_ends_the_solve() -> None:
    def event(t: Tensor, y: Tensor) -> Tensor:
        return torch.stack((y[0] - 0.9, t - 7.0, y[1] - 0.8, y[0] + 2.0)).reshape(2, 2)

    found = turned(event)
    assert found.index == 2 and found.t.item() == pytest.approx(math.acos(0.8), rel=1e-9)
    # nearly at once, in one step, told apart
    found = turned(lambda t, y: torch.stack((t - 1.0001, t - 1.0)))
    assert found.index == 1 and found.t.item() == pytest.approx(1.0, rel=1e-12)


@every_gradient
def test_where_nothing_happens_the_limit_is_reached(gradient: str) -> None:
    y0 = leaf(0.0, 1.0)
    found = turned(lambda t, y: y[0] - 2.0, y0=y0, limit=1.3, gradient=GRADIENTS[gradient],
                   parameters=())  # fmt: skip
    assert found.index is None and found.t.item() == 1.3
    torch.testing.assert_close(found.y, real(math.sin(1.3), math.cos(1.3)), rtol=1e-8, atol=0)
    (gy0,) = torch.autograd.grad(found.y[0], y0)
    torch.testing.assert_close(gy0, real(math.cos(1.3), math.sin(1.3)), rtol=1e-7, atol=0)


def test_an_event_at_the_limit_or_just_before_it_happens() -> None:
    for before in (0.0, 1e-12, 1e-6):
        found = turned(lambda t, y, end=1 - before: t - end, limit=1.0)
        assert found.index == 0 and found.t.item() == pytest.approx(1 - before, abs=1e-14)
    assert turned(lambda t, y: t - 1.0, limit=1 - 1e-9).index is None


def test_a_solve_that_starts_at_an_event_goes_on_to_the_next() -> None:
    found = turned(lambda t, y: y[0])
    assert found.t.item() == pytest.approx(math.pi, rel=1e-9)
    falling = turned(lambda t, y: y[0], direction=-1)
    assert falling.t.item() == pytest.approx(math.pi, rel=1e-9)
    rising = turned(lambda t, y: y[0], direction=1)
    assert rising.t.item() == pytest.approx(2 * math.pi, rel=1e-9)


def test_a_solve_that_starts_at_an_event_finds_the_next_one_within_the_first_step() -> None:
    speed = 0.1  # up and down in 0.02 time units, of a step of 0.5
    found = odeint_event(
        lambda t, y: torch.stack((y[1], torch.full_like(y[1], -10.0))), real(0.0, speed), 0.0,
        lambda t, y: y[0], solver=steps("rk4", 0.5), gradient=DIRECT, limit=1.0, direction=-1,
    )  # fmt: skip
    assert found.index == 0 and found.t.item() == pytest.approx(0.02, rel=1e-9)


def test_a_span_of_no_length_has_no_event() -> None:
    found = turned(lambda t, y: y[0] - 0.5, limit=0.0)
    assert found.index is None and found.t.item() == 0.0 and torch.equal(found.y, real(0, 1))


def test_what_touches_zero_or_stays_there_does_not_happen() -> None:
    assert turned(lambda t, y: (t - 1.0) ** 2, limit=3.0).index is None
    assert turned(lambda t, y: 0 * y, limit=3.0).index is None


def test_a_flat_crossing_is_found() -> None:
    found = turned(lambda t, y: (t - 1.03) ** 3)
    assert found.t.item() == pytest.approx(1.03, abs=1e-9)


@pytest.mark.parametrize(
    ("event", "t"),
    [(lambda t, y: torch.sign(t - 1.03), 1.03), (lambda t, y: torch.floor(t) - 0.5, 1.0)],
    ids=["a jump", "stairs"],
)
def test_a_change_of_sign_without_a_rate_is_found_but_has_no_gradient(
    event: Callable[..., Tensor], t: float
) -> None:
    assert turned(event).t.item() == pytest.approx(t, abs=1e-9)
    sentence = (
        r"the event's value has the rate of change 0 at t = 1(\.03)?, where its sign changes: "
        "give a smooth event function that crosses zero at an angle$"
    )
    with pytest.raises(SolverError, match=sentence) as caught:
        turned(event, y0=leaf(0, 1))
    assert caught.value.kind == "bad_input"


@pytest.mark.parametrize("power", [3, 5])
def test_a_crossing_at_a_multiple_root_is_where_the_simple_one_is(power: int) -> None:
    flat = turned(lambda t, y: (y[0] - 0.3) ** power)
    simple = turned(lambda t, y: y[0] - 0.3)
    assert flat.t.item() == pytest.approx(simple.t.item(), abs=1e-3)


def test_two_changes_in_one_step_are_kept_apart_by_a_longest_step() -> None:
    def rest(t: Tensor, y: Tensor) -> Tensor:
        return torch.zeros_like(y)

    def event(t: Tensor, y: Tensor) -> Tensor:
        return (t - 5.0) * (t - 5.2)

    assert turned(event, f=rest, solver=adaptive()).index is None
    found = turned(event, f=rest, solver=adaptive(max_step=0.1))
    assert found.index == 0 and found.t.item() == pytest.approx(5.0, rel=1e-12)


@every_gradient
def test_a_tuple_of_states_has_events(gradient: str) -> None:
    height, speed = leaf(2.0), leaf(1.5)
    found = odeint_event(
        lambda t, y: (y[1], torch.full_like(y[1], -9.81)), (height, speed), 0.0,
        lambda t, y: y[0], solver=FINE, gradient=GRADIENTS[gradient], limit=9.0, parameters=(),
    )  # fmt: skip
    root = torch.sqrt(speed**2 + 2 * 9.81 * height)
    aim = ((speed + root) / 9.81)[0]
    torch.testing.assert_close(found.t, aim, rtol=1e-9, atol=0)
    torch.testing.assert_close(found.y, (0 * root, -root), rtol=1e-9, atol=1e-9)
    grads = (torch.autograd.grad(x, (height, speed)) for x in (found.t, aim))
    torch.testing.assert_close(next(grads), next(grads), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, torch.complex128])
def test_other_kinds_of_states_have_events(dtype: torch.dtype) -> None:
    solver = adaptive(tol=1e-5)
    found = odeint_event(
        lambda t, y: -y, torch.ones(2, dtype=dtype), 0.0, lambda t, y: y.real[0] - 0.5,
        solver=solver, gradient=DIRECT, limit=3.0,
    )  # fmt: skip
    assert found.y.dtype == dtype and found.t.dtype == torch.float64
    assert found.t.item() == pytest.approx(math.log(2), abs=1e-4)


class Throw(nn.Module):
    """A ball whose first speed is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.speed = nn.Parameter(real(1.0))
        self.drag = nn.Parameter(torch.tensor(0.1, dtype=torch.float64))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.stack((y[1], -9.81 - self.drag * y[1]))


@every_gradient
def test_the_time_of_an_event_is_a_loss_like_others(gradient: str) -> None:
    module = Throw()
    optimizer = torch.optim.SGD(module.parameters(), lr=10.0)
    for _ in range(25):
        y0 = torch.cat((real(1.0), module.speed))
        found = odeint_event(
            module, y0, 0.0, lambda t, y: y[0], solver=adaptive(tol=1e-8),
            gradient=GRADIENTS[gradient], limit=9.0,
        )  # fmt: skip
        loss = (found.t - 1.0).square()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert found.t.item() == pytest.approx(1.0, abs=1e-4)  # pyright: ignore[reportPossiblyUnboundVariable]
    assert module.drag.grad is not None and module.drag.item() != 0.1


@every_gradient
def test_what_an_event_costs_is_counted(gradient: str) -> None:
    calls = 0

    def f(t: Tensor, y: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return turning(t, y)

    y0 = leaf(0.0, 1.0)
    found = turned(lambda t, y: y[0] - 0.5, f=f, y0=y0, gradient=GRADIENTS[gradient],
                   parameters=())  # fmt: skip
    assert found.stats.nfe == calls
    found.t.backward()
    assert found.stats.backward is not None
    assert found.stats.nfe + found.stats.backward.nfe == calls


def test_the_state_is_that_of_a_solve_to_the_time_found() -> None:
    for gradient in GRADIENTS:
        found = turned(lambda t, y: y[0] - 0.5, gradient=GRADIENTS[gradient], parameters=())
        ys, _ = odeint(
            turning, real(0, 1), torch.stack((real(0)[0], found.t)), gradient=DIRECT,
            solver=taken(gradient, FINE),
        )  # fmt: skip
        torch.testing.assert_close(found.y, ys[-1], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("of", ["t", "y"])
@every_gradient
def test_second_derivatives_of_an_event_are_refused_and_not_wrong(gradient: str, of: str) -> None:
    y0 = leaf(0.0, 1.0)
    found = turned(lambda t, y: y[0] - 0.5, y0=y0, gradient=GRADIENTS[gradient], parameters=())
    value = found.t if of == "t" else found.y[1]
    with pytest.raises(SolverError, match="create_graph") as caught:
        torch.autograd.grad(value, y0, create_graph=True)
    assert caught.value.kind == "bad_input"


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "direction": ({"direction": 2}, "direction must be -1, 0 or 1, not 2"),
    "limit": ({"limit": math.inf}, "from 0 to inf: give finite times"),
    "a list": ({"y0": [real(1.0)]}, "y0 must be a tensor, not list"),
    "scipy's": (
        {"solver": Lsoda(rtol=1e-6, atol=1e-6)},
        "Lsoda.*use a Runge-Kutta method",
    ),
    "a float": ({"event": lambda t, y: 0.5}, "an event must return a tensor of real .*, not float"),
    "a truth": ({"event": lambda t, y: y > 0}, "tensor of real numbers, not torch.bool"),
    "complex": ({"event": lambda t, y: y + 1j}, "tensor of real numbers, not torch.complex128"),
    "NaN": ({"event": lambda t, y: y * math.nan}, "the event's value is not finite at t = 0"),
    "later NaN": (
        {"event": lambda t, y: torch.log(0.5 - t)},
        r"the event's value is not finite at t = 0\.",
    ),
    "parameters": (
        {"gradient": GRADIENTS["adjoint"]},
        "gradient=adjoint requires the parameters of f",
    ),
}


@pytest.mark.parametrize(("change", "sentence"), REFUSALS.values(), ids=REFUSALS.keys())
def test_what_is_no_event_is_refused(change: dict[str, Any], sentence: str) -> None:
    given = {"event": lambda t, y: y[0] - 0.95} | change
    with pytest.raises(SolverError, match=sentence) as caught:
        turned(given.pop("event"), **given)
    assert caught.value.kind == "bad_input" and "\n" not in str(caught.value)
