"""torchdiffeq's further methods, norms, callbacks and options (its documentation, and its main
branch's): right values, and what is called with what.
"""

import gc
import math
import weakref
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from chosen import Calls, Net, leaf, real
from torch import Tensor, nn

from node_repro.ode import SolverError, drop_in

peer = pytest.importorskip("torchdiffeq")
INTERFACES = ["odeint", "odeint_adjoint"]
BOTH = pytest.mark.parametrize("name", INTERFACES)
WAYS = pytest.mark.parametrize("ends", [(0.0, 0.5, 2.0), (2.0, 0.5, 0.0)])


def fall(t: Tensor, y: Tensor) -> Tensor:
    return -y


def solved(name: str, ts: tuple[float, ...], library: Any = drop_in, **given: Any) -> list[Tensor]:  # noqa: ANN401
    """The states, and the gradients of y0 and the parameters."""
    f, y0 = Net(), leaf(0.5, -0.2, 0.9)
    ys = getattr(library, name)(f, y0, real(*ts), **given)
    return [ys.detach(), *torch.autograd.grad(ys.square().sum(), (y0, *f.parameters()))]


# --- methods


@WAYS
@BOTH
@pytest.mark.parametrize("order", [4, 5, 8])
@pytest.mark.parametrize("method", ["explicit_adams", "implicit_adams", "fixed_adams"])
def test_adams_methods_take_their_steps_to_rounding(
    method: str, order: int, name: str, ends: tuple[float, ...]
) -> None:
    given = {"method": method, "options": {"step_size": 0.02, "max_order": order}}
    ours, theirs = solved(name, ends, **given), solved(name, ends, peer, **given)
    for a, b in zip(
        ours, theirs, strict=True
    ):  # the corrector stops by another norm on the way back
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


@BOTH
def test_adams_methods_keep_their_history_from_output_to_output(name: str) -> None:
    ts = tuple(torch.linspace(0, 2, 60).tolist())  # steps of unequal size, as float32 rounds them
    aim = solved("odeint", ts, rtol=1e-11, atol=1e-11)[0]
    for method, within in (("explicit_adams", 2e-5), ("implicit_adams", 2e-6)):
        ys = solved(name, ts, method=method)[0]
        assert float((ys - aim).abs().max()) < within


def test_explicit_adams_stays_stable_unless_an_order_is_given() -> None:
    given = {"method": "explicit_adams", "options": {"step_size": 0.025}}
    ends = real(0, 2)
    ours = drop_in.odeint(lambda t, y: -y * torch.cos(t), real(1.0), ends, **given)[-1]
    assert ours.item() == pytest.approx(math.exp(-math.sin(2)), rel=1e-5)


def test_an_implicit_adams_step_that_does_not_converge_is_told() -> None:
    options = {"step_size": 0.1, "max_iters": 1}
    with pytest.warns(UserWarning, match="did not converge in 1 iteration"):
        drop_in.odeint(lambda t, y: -3 * y, real(1.0), real(0, 1), method="implicit_adams",
                       options=options)  # fmt: skip


IMPLICIT = {
    "implicit_euler": 1, "implicit_midpoint": 2, "trapezoid": 2, "radauIIA3": 3, "radauIIA5": 5,
    "gl4": 4, "gl6": 6, "sdirk2": 2, "trbdf2": 2,
}  # fmt: skip


@WAYS
@BOTH
@pytest.mark.parametrize("method", IMPLICIT)
def test_implicit_methods_solve_to_their_order(
    method: str, name: str, ends: tuple[float, ...]
) -> None:
    aim = solved("odeint", ends, method="dopri8", rtol=1e-13, atol=1e-13)
    sizes = []
    for step in (0.1, 0.05):
        ours = solved(name, ends, method=method, options={"step_size": step})
        sizes.append(max(float((a - b).abs().max()) for a, b in zip(ours, aim, strict=True)))
    assert sizes[1] < 1e-9 or math.log2(sizes[0] / sizes[1]) > IMPLICIT[method] - 0.7


@pytest.mark.parametrize("method", IMPLICIT)
def test_implicit_methods_take_stiff_problems_in_large_steps(method: str) -> None:
    calls = []

    def stiff(t: Tensor, y: Tensor) -> Tensor:
        return -1e5 * (y - torch.cos(t)) - torch.sin(t)

    class Field(nn.Module):
        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            return stiff(t, y)

        def callback_step(self, t0: Tensor, y0: Tensor, dt: Tensor) -> None:
            calls.append(dt.item())

    options = {"step_size": 0.05, "perturb": True}
    ys = drop_in.odeint(Field(), real(1.0), real(0, 1), method=method, options=options)
    assert ys[-1].item() == pytest.approx(math.cos(1), abs=1e-2) and len(calls) == 20


@BOTH
def test_tsit5_errs_by_the_tolerance(name: str) -> None:
    aim = solved("odeint", (0.0, 1.0, 2.0), rtol=1e-12, atol=1e-12)
    ours = solved(name, (0.0, 1.0, 2.0), method="tsit5", rtol=1e-8, atol=1e-8)
    for a, b in zip(ours, aim, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@WAYS
@pytest.mark.parametrize("solver", ["RK45", "RK23", "DOP853", "Radau", "BDF", "LSODA"])
def test_scipys_solvers_give_states_and_by_the_adjoint_gradients(
    solver: str, ends: tuple[float, ...]
) -> None:
    given = {"method": "scipy_solver", "options": {"solver": solver}, "rtol": 1e-7, "atol": 1e-7}
    aim = solved("odeint", ends, rtol=1e-12, atol=1e-12)
    within = 2e-3 if solver in ("RK23", "BDF") else 5e-4
    for a, b in zip(solved("odeint_adjoint", ends, **given), aim, strict=True):
        torch.testing.assert_close(a, b, rtol=within, atol=within)


def test_scipys_solver_shows_no_gradient_through_odeint() -> None:
    with pytest.warns(UserWarning, match="take odeint_adjoint"):
        ys = drop_in.odeint(fall, leaf(1.0), real(0, 1), method="scipy_solver")
    assert not ys.requires_grad and ys[-1].item() == pytest.approx(1 / math.e)


# --- norms


class Norms:
    """A norm that remembers the shapes of what it was given."""

    def __init__(self) -> None:
        self.seen: set[Any] = set()

    def __call__(self, value: Any) -> Tensor:  # noqa: ANN401
        parts = value if isinstance(value, tuple) else (value,)
        self.seen.add(tuple(tuple(part.shape) for part in parts))
        return torch.stack([part.abs().max() for part in parts if part.numel()]).max()


def part(t: Tensor, y: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return -y[0], y[1] * torch.cos(t)


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


# --- callbacks


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


# --- options, tolerances, and the rest


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
    with pytest.raises(SolverError, match=f"2 entries, and the backward solve {count} parts"):
        solved("odeint_adjoint", (0.0, 2.0), adjoint_rtol=(1e-8, 1e-8))


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
