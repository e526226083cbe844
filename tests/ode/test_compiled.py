"""The compiled engine gives what the eager engine gives.

Most tests run its loop of tensors without compiling it, which takes seconds for every graph.
"""

import math
import random
import warnings
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from chosen import ADAPTIVE, GRADIENTS, METHODS, Net, adaptive, real, steps
from compiled_cases import UNCOMPILED, Growth, given
from torch import Tensor, nn

from node_repro import ode
from node_repro.ode.controllers.adaptive import StepHistory
from node_repro.ode.engines import Engine, SolveOptions, Trajectory, compilation
from node_repro.ode.engines.compiled_solve import ROWS
from node_repro.ode.engines.segment import POINTS
from node_repro.ode.field import Plain
from node_repro.ode.methods import State

WHOLE = {
    name: method
    for name, method in METHODS.items()
    if isinstance(method, ode.ExplicitRungeKutta) or hasattr(method, "unstep")
}
SOLVERS = {f"{name}, constant": steps(name, 0.17) for name in WHOLE} | {
    f"{name}, {control}": adaptive(name, 1e-4, control)
    for name in WHOLE
    if name in ADAPTIVE
    for control in ("integral", "pi")
}
every_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())
TIMES = {
    "ends": real(0, 2),
    "inside": real(0, 0, 0.3, 0.31, 1.1, 2, 2),
    "backwards": real(1.5, 1, 0.2, -0.5),
}


def trajectories(
    solver: ode.RungeKutta, ts: Tensor, **options: Any
) -> tuple[Trajectory, Trajectory]:
    """The same solve by the eager and by the compiled loop."""
    f, state = Plain(Net()), State(torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3))
    with torch.no_grad():
        eager, compiled = (
            replace(solver, engine=engine).solve(f, state, ts, SolveOptions(**options))
            for engine in (ode.Eager(), UNCOMPILED)
        )
    return eager, compiled


@every_solver
@pytest.mark.parametrize("ts", TIMES.values(), ids=TIMES.keys())
def test_the_steps_and_outputs_are_those_of_the_eager_engine(
    solver: ode.RungeKutta, ts: Tensor
) -> None:
    eager, compiled = trajectories(solver, ts, keep_starts=True)
    assert compiled.stats.accepted == eager.stats.accepted
    assert compiled.stats.rejected == eager.stats.rejected
    assert compiled.mesh.observed == eager.mesh.observed
    points = torch.tensor(compiled.mesh.points), torch.tensor(eager.mesh.points)
    torch.testing.assert_close(*points, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(compiled.ys, eager.ys, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(compiled.end.y, eager.end.y, rtol=1e-9, atol=1e-9)
    starts = (torch.cat([x.ys[: x.count] for x in one.starts]) for one in (compiled, eager))
    torch.testing.assert_close(*starts, rtol=1e-6, atol=1e-6)  # at their own times
    assert compiled.h == pytest.approx(eager.h, rel=1e-5)


@pytest.mark.filterwarnings("ignore:engine=compiled")  # two output times are equal
@pytest.mark.parametrize("gradient", [name for name in GRADIENTS if name != "forward"])
@pytest.mark.parametrize("ts", TIMES.values(), ids=TIMES.keys())
@pytest.mark.parametrize("name", ["dopri5, pi", "rk4, constant", "reversible_heun, integral"])
def test_gradients_are_those_of_the_eager_engine(name: str, ts: Tensor, gradient: str) -> None:
    def solved(engine: Engine) -> list[Tensor]:
        f, y0 = Net(), real(0.5, -0.2, 0.9).requires_grad_()
        solver = replace(SOLVERS[name], engine=engine)
        ys, stats = ode.odeint(f, y0, ts, solver=solver, gradient=GRADIENTS[gradient])
        (ys.sin().sum()).backward()
        assert stats.backward is not None
        return [ys.detach(), *(given(x.grad) for x in (y0, *f.parameters()))]

    for one, other in zip(solved(UNCOMPILED), solved(ode.Eager()), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(
    "controller",
    [
        ode.Integral(rtol=1e-3, atol=1e-3),
        ode.Integral(rtol=1e-3, atol=1e-3, min_step=0.1, max_step=0.3, safety=0.7),
        ode.PI(rtol=1e-3, atol=1e-3),
        ode.PI(rtol=1e-3, atol=1e-3, integral=0.2, proportional=0.1, min_step=0.05),
        ode.Constant(0.25),
    ],
)
def test_decisions_of_tensors_are_those_of_numbers(controller: ode.Controller) -> None:
    rng, judge, state = random.Random(0), cast(Any, controller.judge), None
    history: Any = StepHistory(real(1.0)[0], torch.tensor(False))
    for i in range(400):
        error = rng.choice([0.0, math.inf, math.nan, 10 ** rng.uniform(-9, 3), rng.uniform(0, 2)])
        h = rng.choice([-1, 1]) * 10 ** rng.uniform(-3, 0)
        order = rng.choice([2, 3, 5, 8])
        expected = controller.judge(error, h, order, state)
        state = expected.state
        accept, size, history = judge(real(error)[0], real(h)[0], order, history)
        assert bool(accept) == expected.accept, i
        assert float(size) == pytest.approx(expected.h, rel=1e-14)


def test_a_solve_longer_than_the_buffers_is_continued() -> None:
    for solver, options in (
        (steps("euler", 2 / (2 * POINTS + 9)), {}),
        (steps("euler", 2 / (3 * ROWS + 5)), {"keep_starts": True}),
        (adaptive("bosh3", 1e-9, "pi"), {"keep_starts": True}),
    ):
        for ts in (real(0, 2), torch.linspace(0, 2, 17, dtype=torch.float64)):
            eager, compiled = trajectories(solver, ts, **options)
            assert eager.stats.accepted > ROWS
            assert compiled.stats.accepted == eager.stats.accepted
            assert compiled.stats.rejected == eager.stats.rejected
            torch.testing.assert_close(compiled.ys, eager.ys, rtol=1e-9, atol=1e-10)
            assert sum(x.count for x in compiled.starts) == sum(x.count for x in eager.starts)


BLOW_UP = real(0, 2)
FAILURES = {
    "blow-up": (lambda t, y: y * y, adaptive(tol=1e-6), real(1.0, 0.5)),
    "too many": (lambda t, y: -y, replace(adaptive(tol=1e-9), max_steps=5), real(1.0, 0.5)),
    "not finite": (lambda t, y: torch.sqrt(1 - t) * y, adaptive(tol=1e-6), real(1.0, 0.5)),
    "at the start": (lambda t, y: y / (y - 1), adaptive(tol=1e-6), real(1.0, 0.5)),
    "infinite": (lambda t, y: torch.exp(y), steps("rk4", 0.5), real(5.0, 0.5)),
    "too short": (lambda t, y: -y, replace(steps("rk4", 1e-3), max_steps=50), real(1.0)),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failure_is_the_error_of_the_eager_engine(case: str) -> None:
    f, solver, y0 = FAILURES[case]
    found = []
    for engine in (ode.Eager(), UNCOMPILED):
        with torch.no_grad(), pytest.raises(ode.SolverError) as caught:
            ode.odeint(f, y0, BLOW_UP, solver=replace(solver, engine=engine), gradient=ode.Direct())
        found.append(caught.value)
    eager, compiled = found
    assert compiled.kind == eager.kind
    assert (compiled.t is None) == (eager.t is None)
    assert compiled.t is None or compiled.t == pytest.approx(eager.t, rel=1e-4)
    assert ("element" in str(compiled)) == ("element" in str(eager))


def test_what_is_not_compiled_as_a_whole_is_told_once_with_the_reason() -> None:
    growth, rate = Growth(), real(0.5, 0.1).requires_grad_()
    options = {"gradient": ode.Adjoint(), "parameters": [rate]}
    solver = ode.dopri5(rtol=1e-8, atol=1e-8, engine=UNCOMPILED)
    with pytest.warns(UserWarning, match="not parameters of a module") as told:
        for _ in range(2):
            ys, _ = ode.odeint(
                lambda t, y: rate * y, real(1, 2), real(0, 1), solver=solver, **options
            )
            ys.sum().backward()
    assert len(told) == 1
    cases = {
        "esdirk54": ode.esdirk54(rtol=1e-6, atol=1e-6, engine=UNCOMPILED),
        "callbacks": ode.dopri5(
            rtol=1e-6, atol=1e-6, engine=UNCOMPILED, callbacks=ode.StepCallbacks()
        ),
        "Prescribed": ode.RungeKutta(ode.RK4, ode.Prescribed((0.0, 0.4, 1.0)), engine=UNCOMPILED),
    }
    for reason, solver in cases.items():
        with torch.no_grad(), pytest.warns(UserWarning, match=reason):
            ys, _ = ode.odeint(growth, real(1, 2), real(0, 1), solver=solver, gradient=ode.Direct())
        torch.testing.assert_close(ys[-1], real(1, 2) * growth.rate.exp(), rtol=1e-2, atol=0)


def test_without_a_compiler_a_solve_is_eager_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node_repro.ode.engines.compiled.has_compiler", lambda: False)
    solver = ode.dopri5(rtol=1e-6, atol=1e-6, engine=ode.Compiled())
    with torch.no_grad(), pytest.warns(UserWarning, match="no C\\+\\+ compiler"):
        ys, _ = ode.odeint(
            lambda t, y: -y, real(1.0), real(0, 1), solver=solver, gradient=ode.Direct()
        )
    torch.testing.assert_close(ys[-1], real(math.exp(-1)), rtol=1e-5, atol=0)


def test_errors_of_f_are_raised_as_they_are() -> None:
    def wrong(t: Tensor, y: Tensor) -> Tensor:
        raise KeyError("the field's own mistake")

    solver = ode.dopri5(rtol=1e-6, atol=1e-6, engine=ode.Compiled())
    with torch.no_grad(), pytest.raises(KeyError, match="own mistake"):
        ode.odeint(wrong, real(1.0), real(0, 1), solver=solver, gradient=ode.Direct())
    with torch.no_grad(), pytest.raises(ode.SolverError, match="must return a tensor like y"):
        ode.odeint(
            lambda t, y: y[:1], real(1.0, 2), real(0, 1), solver=solver, gradient=ode.Direct()
        )


@pytest.mark.skipif(not compilation.has_compiler(), reason="needs a C++ compiler")
def test_a_graph_serves_all_times_and_tolerances_and_its_numbers_are_the_eager_ones() -> None:
    f = lambda t, y: torch.cos(t) * y  # noqa: E731
    graphs = []
    for tol, t0, t1 in ((1e-6, 0.0, 2.0), (1e-8, 0.0, 1.0), (1e-4, 2.0, -1.0)):
        solver = ode.dopri5(rtol=tol, atol=tol, engine=ode.Compiled())
        with torch.no_grad():
            found, cost = ode.odeint(
                f, real(1.0, 0.5), real(t0, t1), solver=solver, gradient=ode.Direct()
            )
            expected, same = ode.odeint(
                f, real(1.0, 0.5), real(t0, t1), solver=replace(solver, engine=ode.Eager()),
                gradient=ode.Direct(),
            )  # fmt: skip
        graphs.append(compilation.COMPILATIONS.graphs)
        assert (cost.accepted, cost.rejected, cost.nfe) == (same.accepted, same.rejected, same.nfe)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)
    assert graphs[0] >= 1 and len(set(graphs)) == 1


@pytest.mark.slow
@pytest.mark.skipif(not compilation.has_compiler(), reason="needs a C++ compiler")
def test_no_graph_depends_on_the_number_of_outputs_or_on_their_strides() -> None:
    f, solver = Net(), replace(adaptive("dopri5", 1e-6), engine=ode.Compiled())

    def gradients(outputs: int) -> None:
        y0 = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3).requires_grad_()
        ts = torch.linspace(0, 2, outputs, dtype=torch.float64)
        ys, _ = ode.odeint(f, y0, ts, solver=solver, gradient=ode.Checkpointed())
        ys.movedim(0, 1).flatten().sin().sum().backward()

    gradients(4)
    before = compilation.COMPILATIONS.graphs
    for outputs in (7, 12, 5):
        gradients(outputs)
    assert compilation.COMPILATIONS.graphs == before


@pytest.mark.slow
@pytest.mark.skipif(not compilation.has_compiler(), reason="needs a C++ compiler")
def test_the_compiled_adjoint_takes_any_number_of_parameters() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(3, 3) for _ in range(6)]
    net = nn.Sequential(*(part for layer in layers for part in (layer, nn.Softplus()))).double()

    def gradients(engine: Engine) -> list[Tensor]:
        net.zero_grad()
        ys, _ = ode.odeint(
            lambda t, y: net(y),
            real(0.5, -0.2, 0.9),
            real(0, 1),
            solver=replace(adaptive("dopri5", 1e-8), engine=engine),
            gradient=ode.Adjoint(),
            parameters=net.parameters(),
        )
        ys.sin().sum().backward()
        return [given(p.grad) for p in net.parameters()]

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        compiled = gradients(ode.Compiled())
    for one, other in zip(compiled, gradients(ode.Eager()), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
@pytest.mark.skipif(not compilation.has_compiler(), reason="needs a C++ compiler")
@pytest.mark.parametrize("gradient", ["adjoint", "checkpointed", "direct", "reversible"])
@pytest.mark.parametrize("ts", [TIMES["ends"], TIMES["inside"]], ids=["ends", "inside"])
def test_compiled_gradients_are_those_of_the_eager_engine(gradient: str, ts: Tensor) -> None:
    name = "reversible_dopri5" if gradient == "reversible" else "dopri5"

    def solved(engine: Engine) -> list[Tensor]:
        f, y0 = Net(), real(0.5, -0.2, 0.9).requires_grad_()
        solver = replace(adaptive(name, 1e-6), engine=engine)
        ys, _ = ode.odeint(f, y0, ts.unique(), solver=solver, gradient=GRADIENTS[gradient])
        ys.sin().sum().backward()
        return [ys.detach(), *(given(x.grad) for x in (y0, *f.parameters()))]

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        compiled = solved(ode.Compiled())
    for one, other in zip(compiled, solved(ode.Eager()), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("ts", [TIMES["ends"], real(0, 0.3, 0.5, 1)], ids=["ends", "inside"])
@pytest.mark.parametrize("gradient", ["adjoint", "checkpointed"])
def test_hooks_on_saved_tensors_are_set_aside_in_the_loop(gradient: str, ts: Tensor) -> None:
    growth, seen = Growth(), []

    def pack(x: Tensor) -> Tensor:
        seen.append(x)
        return x.view_as(x)  # another object with the same memory

    solver = ode.dopri5(rtol=1e-8, atol=1e-8, engine=UNCOMPILED)
    with warnings.catch_warnings(), torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        warnings.simplefilter("error")
        ys, _ = ode.odeint(growth, real(1.0, 2.0), ts, solver=solver, gradient=GRADIENTS[gradient])
        (rate,) = torch.autograd.grad(ys[-1].sum(), [growth.rate])
        again = len(seen)
        (growth.rate * real(1, 1)).sum()
    expected = ts[-1] * real(1, 2) * (growth.rate * ts[-1]).exp()
    torch.testing.assert_close(rate, expected, rtol=1e-6, atol=0)
    assert seen and len(seen) > again  # and they are back afterwards
