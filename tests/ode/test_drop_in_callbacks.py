"""torchdiffeq's callbacks: which are called, when, and with what."""

import gc
import math
import weakref
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from chosen import leaf, real
from drop_in_cases import WAYS, fall, part
from torch import Tensor, nn

from node_repro.ode import RungeKutta, drop_in, odeint
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.engines import StepCallbacks
from node_repro.ode.gradients.direct import Direct
from node_repro.ode.methods.dopri5 import DOPRI5


class Told(nn.Module):
    """A field that is told of its steps. log: (which, t0, the shapes of y0, dt)."""

    def __init__(
        self,
        f: Callable[..., Any] = fall,
        every: tuple[str, ...] = ("step", "accept_step", "reject_step"),
    ) -> None:
        super().__init__()
        self.f, self.log = f, []
        self.rate = nn.Parameter(real(1.0, 0.5))
        for name in every:
            for suffix in ("", "_adjoint"):
                setattr(self, f"callback_{name}{suffix}", self._logs(name + suffix))

    def _logs(self, name: str) -> Callable[..., None]:
        def log(t0: Tensor, y0: Any, dt: Tensor) -> None:  # noqa: ANN401
            shapes = y0.shape if isinstance(y0, Tensor) else [part.shape for part in y0]
            self.log.append((name, t0.item(), shapes, dt.item()))

        return log

    def forward(self, t: Tensor, y: Any) -> Any:  # noqa: ANN401
        return self.f(t, y)

    def of(self, name: str) -> list[tuple[float, float]]:
        """(t0, dt) of one callback."""
        return [(t, dt) for which, t, _, dt in self.log if which == name]


@WAYS
@pytest.mark.parametrize("method", ["dopri5", "bosh3", "tsit5", "dopri8"])
def test_adaptive_methods_tell_of_every_step(method: str, ends: tuple[float, ...]) -> None:
    f = Told(lambda t, y: torch.sign(t - 0.9) * y)
    drop_in.odeint_adjoint(
        f, leaf(1.0, 3.0), real(*ends), method=method, rtol=1e-6, atol=1e-6
    ).sum().backward()
    sign = math.copysign(1, ends[-1] - ends[0])
    for suffix, way in (("", sign), ("_adjoint", -sign)):
        tried, taken, undone = (
            f.of(f"{n}{suffix}") for n in ("step", "accept_step", "reject_step")
        )
        assert len(tried) == len(taken) + len(undone) and undone
        assert sorted(tried) == sorted(taken + undone)
        assert all(dt > 0 for _, dt in tried)
        # the accepted steps lead from one end to the other
        legs = [(ends[0], ends[-1])] if way == sign else [(ends[2], ends[1]), (ends[1], ends[0])]
        assert sum(dt for _, dt in taken) == pytest.approx(sum(abs(b - a) for a, b in legs))
        for (t, dt), (t1, _) in pairwise(taken):
            assert t1 == pytest.approx(t + way * dt, abs=1e-9)


@pytest.mark.parametrize("method", ["euler", "rk4", "heun3", "explicit_adams", "implicit_adams"])
@pytest.mark.parametrize("options", [{"step_size": 0.1}, {"step_size": 0.1, "perturb": True}, None])
def test_fixed_steps_call_callback_step(method: str, options: dict[str, Any] | None) -> None:
    class Field(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.there, self.back = [], []

        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            return -y

        def callback_step(self, t0: Tensor, y0: Tensor, dt: Tensor) -> None:
            assert y0.shape == (2,)
            self.there.append((t0.item(), dt.item()))

        def callback_step_adjoint(self, t0: Tensor, y0: tuple[Tensor, ...], dt: Tensor) -> None:
            assert [y.shape for y in y0] == [(), (2,), (2,)]
            self.back.append((t0.item(), dt.item()))

    f = Field()
    ts = real(0, 0.5, 1) if options else torch.linspace(0, 1, 11, dtype=torch.float64)
    ys = drop_in.odeint_adjoint(f, leaf(1.0, 2.0), ts, method=method, options=options)
    ys.sum().backward()
    starts = [0.1 * n for n in range(10)]
    assert [t for t, _ in f.there] == pytest.approx(starts, abs=1e-9)
    assert [t for t, _ in f.back] == pytest.approx([1 - t for t in starts], abs=1e-9)
    assert [dt for _, dt in f.there + f.back] == pytest.approx([0.1] * 20, abs=1e-9)


def test_callbacks_of_tuples_are_given_tuples() -> None:
    f = Told(part)
    ys = drop_in.odeint_adjoint(f, (leaf(1.0, 2.0), leaf(1.0, 2.0, 3.0)), real(0, 1))
    (ys[0].sum() + ys[1].sum()).backward()
    there = [shapes for which, _, shapes, _ in f.log if which == "step"]
    back = [shapes for which, _, shapes, _ in f.log if which == "step_adjoint"]
    assert all(shapes == [(2,), (3,)] for shapes in there) and there
    # as theirs: the time's gradient, the packed state and its adjoint, every parameter's gradient
    assert all(shapes == [(), (5,), (5,), (2,)] for shapes in back) and back


@pytest.mark.parametrize(
    ("given", "called"),
    [({"method": "rk4"}, ["step"]), ({"method": "scipy_solver"}, [])],
)
def test_callbacks_that_a_method_does_not_call_are_warned_of(
    given: dict[str, Any], called: list[str]
) -> None:
    f = Told()
    with (
        torch.no_grad(),
        pytest.warns(UserWarning, match="does not call func.callback"),
    ):
        drop_in.odeint(f, real(1.0, 2.0), real(0, 1), **given)
    assert sorted({which for which, *_ in f.log}) == called


def test_an_event_tells_of_the_steps_that_lead_to_it_once() -> None:
    f = Told(lambda t, y: torch.ones_like(y), every=("step",))
    event_t, _ = drop_in.odeint_event(
        f, real(0.0, 0.0), real(0.0)[0], event_fn=lambda t, y: y[0] - 0.35, method="rk4",
        options={"step_size": 0.1},
    )  # fmt: skip
    assert event_t.item() == pytest.approx(0.35)
    assert [t for t, _ in f.of("step")] == pytest.approx([0, 0.1, 0.2, 0.3])


@pytest.mark.parametrize("given", [{}, {"grid_constructor": lambda f, y, t: t}])
def test_a_module_that_is_told_of_its_steps_and_keeps_its_solution_is_freed(
    given: dict[str, Any],
) -> None:
    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rate, self.kept = nn.Parameter(real(1.0)), None

        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            return -self.rate * y

        def callback_step(self, t0: Tensor, y0: Tensor, dt: Tensor) -> None: ...

        def callback_step_adjoint(self, t0: Tensor, y0: Tensor, dt: Tensor) -> None: ...

    f = Keeps()
    f.kept = drop_in.odeint_adjoint(f, leaf(1.0), real(0, 1), method="euler", options=given)
    gone = weakref.ref(f)
    del f
    gc.collect()
    assert gone() is None


def test_callbacks_are_called_as_often_as_the_solver_counts() -> None:
    calls = {"attempted": 0, "accepted": 0, "rejected": 0}

    def counts(name: str) -> Callable[..., None]:
        def count(t: float, state: Any, h: float) -> None:  # noqa: ANN401
            calls[name] += 1

        return count

    solver = RungeKutta(
        DOPRI5, Integral(rtol=1e-6, atol=1e-6), callbacks=StepCallbacks(*map(counts, calls))
    )
    stats = odeint(
        lambda t, y: torch.sign(t - 0.9) * y, real(1.0), real(0, 2), solver=solver,
        gradient=Direct(),
    ).stats  # fmt: skip
    assert stats.rejected > 0
    assert calls["accepted"] == stats.accepted and calls["rejected"] == stats.rejected
    assert calls["attempted"] == stats.accepted + stats.rejected
