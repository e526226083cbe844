"""The stepping loop: where it evaluates, what it keeps, what it leaves alone."""

import math
import random
from dataclasses import dataclass

import pytest
import torch
from chosen import (
    ADAPTIVE,
    DISCRETE,
    GRADIENTS,
    IMPLICIT,
    METHODS,
    STABLE,
    TOLERANCE,
    Calls,
    Net,
    adaptive,
    leaf,
    real,
    steps,
)
from torch import Tensor

from node_repro.ode import RungeKutta, odeint
from node_repro.ode.controllers import StepDecision
from node_repro.ode.controllers.constant import Constant
from node_repro.ode.field import Plain
from node_repro.ode.methods import State

DIRECT = GRADIENTS["direct"]
Y0 = (0.5, -0.2, 0.9)
SOLVERS = {f"{name}, constant": steps(name, 0.17) for name in METHODS} | {
    f"{name}, {control}": adaptive(name, 1e-4, control)
    for name in ADAPTIVE
    for control in TOLERANCE
}
every_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())


def random_spans(count: int) -> list[tuple[float, float]]:
    """Spans of all kinds: rising, falling, across zero, and towards small times."""
    rng = random.Random(0)
    kinds = [
        (lambda: 3 * rng.random(), lambda: 10 * rng.random()),
        (lambda: rng.random(), lambda: 0.1 * rng.random()),
        (lambda: -rng.random(), lambda: -0.1 * rng.random()),
        (lambda: -rng.random(), lambda: 0.1 * rng.random()),
    ]
    return [(kinds[i % 4][0](), kinds[i % 4][1]()) for i in range(count)]


@pytest.mark.parametrize("solver", ["dopri5, constant", "dopri5, integral", "rk4, constant"])
@pytest.mark.parametrize("gradient", ["direct", "adjoint"])
def test_the_field_is_never_asked_outside_of_the_span(solver: str, gradient: str) -> None:
    for t0, t1 in random_spans(40):
        f = Calls(lambda t, y: y * torch.cos(t))
        ys, _ = odeint(
            f, leaf(1.0), real(t0, t1), solver=SOLVERS[solver], gradient=GRADIENTS[gradient],
            parameters=(),
        )  # fmt: skip
        ys[-1].sum().backward()
        outside = [t for t in f.times if not min(t0, t1) <= t <= max(t0, t1)]
        assert not outside, f"{outside} lie outside of [{t0!r}, {t1!r}]"


@pytest.mark.parametrize(("t0", "t1"), [(0.7, 0.1), (0.9, 0.3), (1.0, 0.1), (0.1, 1.0)])
@pytest.mark.parametrize("method", ["heun", "rk4", "dopri5"])
def test_a_field_that_ends_with_the_span_is_integrated_to_its_end(
    method: str, t0: float, t1: float
) -> None:
    ys, _ = odeint(
        lambda t, y: torch.sqrt((t - t1) * math.copysign(1, t0 - t1)) * torch.ones_like(y),
        real(0.0), real(t0, t1), solver=steps(method, 1.0), gradient=DIRECT,
    )  # fmt: skip
    exact = math.copysign(abs(t1 - t0) ** 1.5 * 2 / 3, t1 - t0)
    assert ys[-1].item() == pytest.approx(exact, rel=0.3)


@every_solver
def test_observations_change_neither_the_steps_nor_the_end(solver: RungeKutta) -> None:
    plain, stats = odeint(Net(), real(*Y0), real(0.1, 2), solver=solver, gradient=DIRECT)
    between = real(0.1, 0.10001, 0.3, 0.3, 0.7, 1.999999, 2)
    observed, same = odeint(Net(), real(*Y0), between, solver=solver, gradient=DIRECT)
    assert torch.equal(observed[-1], plain[-1])
    assert same == stats


@every_solver
def test_a_solve_ends_exactly_at_the_last_time(solver: RungeKutta) -> None:
    for t0, t1 in random_spans(12):
        trajectory = solver.solve(Plain(Net()), State(real(*Y0)), real(t0, t1))
        assert trajectory.mesh.points[0] == t0 and trajectory.mesh.points[-1] == t1
        sizes = torch.diff(real(*trajectory.mesh.points)) * math.copysign(1, t1 - t0)
        assert (sizes > 0).all()


@pytest.mark.parametrize("span", [0.3, 0.9, 1.0, 7.0])
def test_constant_steps_are_as_many_as_fit(span: float) -> None:
    # 0.3 = 3 * 0.1 but for rounding: no step of 1e-17 is left over
    _, stats = odeint(Net(), real(*Y0), real(0, span), solver=steps("rk4", 0.1), gradient=DIRECT)
    assert stats.accepted == round(10 * span)
    assert stats.h_min == pytest.approx(0.1) and stats.h_max == pytest.approx(0.1)
    _, stats = odeint(Net(), real(*Y0), real(0, 0.25), solver=steps("rk4", 0.1), gradient=DIRECT)
    assert stats.accepted == 3 and stats.h_min == pytest.approx(0.05)


def test_a_step_longer_than_the_span_is_cut() -> None:
    for solver in (steps("rk4", 50.0), adaptive(first_step=50.0)):
        ys, stats = odeint(
            lambda t, y: -y, real(1.0), real(0, 0.01), solver=solver, gradient=DIRECT
        )
        assert stats.accepted == 1 and stats.h_max == 0.01
        assert ys[-1].item() == pytest.approx(math.exp(-0.01), rel=1e-9)


@pytest.mark.parametrize("control", TOLERANCE)
def test_a_controlled_step_is_stretched_by_a_tenth_to_reach_the_end(control: str) -> None:
    solver = adaptive("dopri5", 1e-3, control, first_step=0.5)
    for t1 in (0.549, -0.549):
        trajectory = solver.solve(Plain(lambda t, y: -y), State(real(1.0)), real(0, t1))
        assert trajectory.mesh.points == (0.0, t1)


@pytest.mark.parametrize("control", TOLERANCE)
def test_a_step_cut_short_by_the_end_does_not_shrink_the_one_planned(control: str) -> None:
    solver = adaptive("dopri5", 1e-3, control, first_step=0.5)
    for t1 in (0.58, -0.58):
        trajectory = solver.solve(Plain(lambda t, y: -y), State(real(1.0)), real(0, t1))
        assert trajectory.stats.accepted == 2 and trajectory.stats.h_min < 0.0801
        assert trajectory.h and trajectory.h * math.copysign(1, t1) > 0.4


@every_solver
def test_time_reversal_is_the_same_walk_with_the_sign_turned(solver: RungeKutta) -> None:
    f = Net()
    ts = real(0.1, 0.8, 2.0)
    forth, stats = odeint(f, real(*Y0), ts, solver=solver, gradient=DIRECT)
    back, same = odeint(lambda t, y: -f(-t, y), real(*Y0), -ts, solver=solver, gradient=DIRECT)
    torch.testing.assert_close(back, forth, rtol=1e-13, atol=1e-13)
    assert same == stats


@pytest.mark.parametrize("method", [name for name, m in ADAPTIVE.items() if m.order >= 3])
def test_there_and_back_again_returns(method: str) -> None:
    f, y0, solver = Net(), real(*Y0), adaptive(method, 1e-8)
    there = odeint(f, y0, real(0, 2), solver=solver, gradient=DIRECT).ys[-1]
    back = odeint(f, there, real(2, 0), solver=solver, gradient=DIRECT).ys[-1]
    torch.testing.assert_close(back, y0, rtol=1e-7, atol=1e-7)


@every_solver
def test_a_translation_in_time_changes_nothing_but_rounding(solver: RungeKutta) -> None:
    f, ts = Net(), real(0, 0.7, 1.5)
    here, _ = odeint(f, real(*Y0), ts, solver=solver, gradient=DIRECT)
    there, _ = odeint(lambda t, y: f(t - 2, y), real(*Y0), ts + 2, solver=solver, gradient=DIRECT)
    torch.testing.assert_close(there, here, rtol=1e-9, atol=1e-9)


@every_solver
def test_the_order_of_a_batch_is_its_own_affair(solver: RungeKutta) -> None:
    generator = torch.Generator().manual_seed(3)
    y0 = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    f, ts = Net(), real(0, 0.4, 1)
    plain, stats = odeint(f, y0, ts, solver=solver, gradient=DIRECT)
    permuted, same = odeint(f, y0[order], ts, solver=solver, gradient=DIRECT)
    torch.testing.assert_close(permuted, plain[:, order], rtol=1e-13, atol=1e-13)
    assert same.accepted == stats.accepted and same.rejected == stats.rejected


@every_solver
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_run_repeated_is_bitwise_the_same(solver: RungeKutta, gradient: str) -> None:
    def run() -> tuple[Tensor, ...]:
        f, y0 = Net(), leaf(*Y0)
        ys, _ = odeint(f, y0, real(0, 0.4, 1), solver=solver, gradient=GRADIENTS[gradient])
        return (ys, *torch.autograd.grad(ys.square().sum(), (y0, *f.parameters())))

    assert all(torch.equal(a, b) for a, b in zip(run(), run(), strict=True))


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_solve_of_no_length_is_the_identity(gradient: str) -> None:
    f, y0 = Net(), leaf(*Y0)
    ys, stats = odeint(f, y0, real(2, 2), solver=adaptive(), gradient=GRADIENTS[gradient])
    assert torch.equal(ys, torch.stack((y0, y0))) and stats.nfe == 0
    (ys * real(1, 2)[:, None]).sum().backward()
    assert torch.equal(y0.grad, real(3, 3, 3))  # type: ignore[arg-type]
    assert all(p.grad is None or not p.grad.any() for p in f.parameters())


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_one_time_is_enough(gradient: str) -> None:
    y0 = leaf(*Y0)
    ys, stats = odeint(Net(), y0, real(2), solver=adaptive(), gradient=GRADIENTS[gradient])
    assert ys.shape == (1, 3) and torch.equal(ys[0], y0) and stats.nfe == 0
    ys.sum().backward()
    assert torch.equal(y0.grad, real(1, 1, 1))  # type: ignore[arg-type]


@pytest.mark.parametrize("gradient", GRADIENTS)
@every_solver
def test_times_may_repeat(solver: RungeKutta, gradient: str) -> None:
    def run(ts: Tensor, keep: list[int]) -> tuple[Tensor, ...]:
        f, y0 = Net(), leaf(*Y0)
        ys, _ = odeint(f, y0, ts, solver=solver, gradient=GRADIENTS[gradient])
        kept = ys[keep]
        return (kept, *torch.autograd.grad(kept.square().sum(), (y0, *f.parameters())))

    once = run(real(0, 0.5, 1), [0, 1, 2])
    often = run(real(0, 0, 0.5, 0.5, 0.5, 1, 1), [1, 3, 5])
    torch.testing.assert_close(often, once, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("gradient", GRADIENTS)
@every_solver
def test_the_state_given_is_left_as_it_was(solver: RungeKutta, gradient: str) -> None:
    y0 = leaf(*Y0)
    ys, _ = odeint(Net(), y0, real(0, 0.5, 1), solver=solver, gradient=GRADIENTS[gradient])
    kept = ys.detach().clone()
    ys.sum().backward()
    assert torch.equal(y0, real(*Y0)) and torch.equal(ys, kept)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("ts", [real(0), real(0, 0), real(0, 1)], ids=["one", "same", "two"])
def test_what_is_returned_shares_no_memory_with_what_was_given(gradient: str, ts: Tensor) -> None:
    y0 = real(*Y0)
    with torch.no_grad():
        ys, _ = odeint(Net(), y0, ts, solver=adaptive(), gradient=GRADIENTS[gradient])
        ys[0].zero_()
    assert torch.equal(y0, real(*Y0))


@dataclass(frozen=True)
class Hesitant(Constant):
    """Rejects every step twice at other sizes before it takes the constant one."""

    def judge(
        self, error: float, h: float, error_order: int, state: int | None
    ) -> StepDecision[int]:
        attempts = state or 0
        if attempts < 2:
            size = (0.05, self.step_size)[attempts]
            return StepDecision(False, math.copysign(size, h), attempts + 1)
        return StepDecision(True, math.copysign(self.step_size, h), 0)


@pytest.mark.parametrize("gradient", DISCRETE)
@pytest.mark.parametrize("method", METHODS)
def test_rejected_steps_leave_no_trace(method: str, gradient: str) -> None:
    def run(controller: Constant) -> tuple[Tensor, ...]:
        f, y0 = Net(), leaf(*Y0)
        solver = RungeKutta(METHODS[method], controller)
        ys, stats = odeint(f, y0, real(0, 0.3, 1), solver=solver, gradient=GRADIENTS[gradient])
        assert stats.accepted == 4
        return (ys, *torch.autograd.grad(ys.square().sum(), (y0, *f.parameters())))

    for plain, hesitant in zip(run(Constant(0.25)), run(Hesitant(0.25)), strict=True):
        # Newton's iteration starts with the matrix of the step before, rejected or not
        allowed = 1e-13 if method in IMPLICIT else 0.0
        torch.testing.assert_close(hesitant, plain, rtol=allowed, atol=allowed)


@pytest.mark.parametrize("method", STABLE)
@pytest.mark.parametrize("control", TOLERANCE)
@pytest.mark.parametrize("first", [None, 0.9])
def test_a_trial_outside_of_the_domain_shrinks_the_step_and_goes_on(
    method: str, control: str, first: float | None
) -> None:
    # y' = -4 y^(3/4), defined for y >= 0 only: y = (1 - t)^4
    trials = []

    def f(t: Tensor, y: Tensor) -> Tensor:
        dy = -4 * y**0.75
        trials.append(bool(torch.isnan(dy)))
        return dy

    y0 = leaf(1.0)
    ys, stats = odeint(
        f, y0, real(0, 0.9), solver=adaptive(method, 1e-5, control, first_step=first),
        gradient=DIRECT,
    )  # fmt: skip
    assert ys[-1].item() == pytest.approx(1e-4, abs=1e-3)
    assert first is None or (any(trials) and stats.rejected > 0)
    ys[-1].sum().backward()
    assert y0.grad is not None and torch.isfinite(y0.grad).all()


@pytest.mark.parametrize("method", STABLE)
def test_the_square_root_that_stops_others_is_crossed(method: str) -> None:
    ys, _ = odeint(
        lambda t, y: torch.sqrt(20 - y), real(1.0), real(0, 8), gradient=DIRECT,
        solver=adaptive(method, 1e-6, first_step=8.0),
    )  # fmt: skip
    assert ys[-1].item() == pytest.approx(20 - (math.sqrt(19) - 4) ** 2, abs=1e-3)


@pytest.mark.parametrize("control", TOLERANCE)
def test_a_jump_is_crossed(control: str) -> None:
    # y' = -y/2 before t = 1/2 and y^2 after; found by rejections alone
    ys, stats = odeint(
        lambda t, y: torch.where(t < 0.5, -y / 2, y * y), real(1.0), real(0, 1.5),
        solver=adaptive("dopri5", 1e-8, control), gradient=DIRECT,
    )  # fmt: skip
    assert ys[-1].item() == pytest.approx(1 / (math.exp(0.25) - 1), rel=1e-4)
    assert 0 < stats.rejected < 60


def test_single_precision_times_are_those_given() -> None:
    f = Calls(lambda t, y: y * torch.cos(t))
    ts = torch.tensor([0.1, 0.7])
    ys, _ = odeint(f, torch.ones(2), ts, solver=adaptive("dopri5", 1e-4), gradient=DIRECT)
    assert ys.dtype == torch.float32
    assert all(float(ts[0]) <= t <= float(ts[1]) for t in f.times)
