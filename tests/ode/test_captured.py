"""Solves by captured graphs, which are recorded operations here: see recorded.py."""

import gc
import warnings
import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from chosen import Net, adaptive, real, steps
from recorded import RecordedSide
from stand_in import DEVICE, StandIn
from torch import Tensor

from node_repro import ode
from node_repro.ode import RungeKutta, Stats, odeint
from node_repro.ode.engines import Engine, captured
from node_repro.ode.gradients import GradientMethod

TS = real(0.0, 0.4, 0.5, 1.3, 2.0)
GRAPHS = ode.Compiled(backend="graphs")
EAGER = ode.Eager()
SOLVERS = {
    "dopri5": adaptive("dopri5", 1e-6),
    "tsit5": adaptive("tsit5", 1e-5),
    "pi": adaptive("dopri5", 1e-6, "pi"),
    "rejected": adaptive("dopri5", 1e-6, first_step=1.5),
    "constant": steps("rk4", 0.15),
    "reversible": adaptive("reversible_dopri5", 1e-5),
    "heun": steps("reversible_heun", 0.2),
}
ADJOINT, CHECKPOINTED = ode.Adjoint(), ode.Checkpointed()
GRADIENTS = {"adjoint": ADJOINT, "semi": ode.Adjoint(norm=ode.SEMI), "checkpointed": CHECKPOINTED}
CASES = [
    *((name, gradient) for name in SOLVERS for gradient in ("adjoint", "checkpointed")),
    *((name, "semi") for name in ("dopri5", "rejected")),
]


@pytest.fixture(autouse=True)
def _recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured, "Side", RecordedSide)
    monkeypatch.setattr(captured, "DEVICES", ("cpu", DEVICE.type))
    monkeypatch.setattr(captured, "_kept", type(captured._kept)())
    monkeypatch.setattr(captured, "_misses", {})
    monkeypatch.setattr(RecordedSide, "graphs", [])


def captures() -> int:
    """The runs that were captured, of three graphs each."""
    assert len(RecordedSide.graphs) % 3 == 0
    return len(RecordedSide.graphs) // 3


def replays() -> int:
    """The steps that were launched."""
    return sum(graph.replays for graph in RecordedSide.graphs[1::3])


def solved(
    engine: Engine,
    solver: RungeKutta,
    gradient: GradientMethod,
    f: Net,
    y0: Tensor,
    ts: Tensor = TS,
) -> tuple[list[Tensor], Stats]:
    """The solution and all gradients."""
    y0 = y0.detach().requires_grad_()
    f.zero_grad()
    ys, stats = odeint(f, y0, ts, solver=replace(solver, engine=engine), gradient=gradient)
    ys.square().sum().backward()
    found = [y0.grad, *(p.grad for p in f.parameters())]
    assert all(g is not None for g in found)
    return [ys.detach(), *(g for g in found if g is not None)], stats


def counts(stats: Stats) -> list[tuple[int, int]]:
    """Accepted and rejected steps of the solve and of its backward pass."""
    assert stats.backward is not None
    return [(s.accepted, s.rejected) for s in (stats, stats.backward)]


def same(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "gradient"), CASES)
def test_steps_states_and_gradients_are_those_of_the_eager_engine(name: str, gradient: str) -> None:
    # coupled steps do not damp rounding errors, which a steep field makes larger
    solver, f = SOLVERS[name], Net(seed=1, gain=1.0 if name == "reversible" else 3.0)
    for y0, ts in ((real(0.5, -0.2, 0.9), TS), (real(1.0, 0.3, -0.4), TS), (real(0.1, 0, 0), -TS)):
        ours, stats = solved(GRAPHS, solver, GRADIENTS[gradient], f, y0, ts)
        theirs, expected = solved(EAGER, solver, GRADIENTS[gradient], f, y0, ts)
        same(ours, theirs)
        assert counts(stats) == counts(expected)
        assert captures() == 2  # of the first solve and of its backward pass
        with torch.no_grad():  # as optimizers do
            for p in f.parameters():
                p.mul_(0.9)


def test_a_rejected_step_is_rejected_in_a_graph_too() -> None:
    stats = solved(GRAPHS, SOLVERS["rejected"], ADJOINT, Net(gain=3.0), real(1.0, 0.3, -0.4))[1]
    assert stats.rejected > 0


@pytest.mark.parametrize("name", ["reversible", "heun"])
def test_inverted_steps_give_the_gradients_of_the_eager_engine(name: str) -> None:
    f, y0 = Net(seed=1), real(0.5, -0.2, 0.9)
    ours, stats = solved(GRAPHS, SOLVERS[name], ode.Reversible(), f, y0)
    theirs, expected = solved(EAGER, SOLVERS[name], ode.Reversible(), f, y0)
    same(ours, theirs)
    assert counts(stats) == counts(expected)
    assert captures() == 2


def test_more_steps_than_needed_change_nothing() -> None:
    f, y0 = Net(seed=1, gain=3.0), real(0.5, -0.2, 0.9)
    ours, stats = solved(GRAPHS, SOLVERS["dopri5"], CHECKPOINTED, f, y0)
    (forward, _) = captured._kept.values()
    assert forward.predicted == stats.accepted + stats.rejected
    before, forward.predicted = replays(), 3 * forward.predicted
    again, _ = solved(GRAPHS, SOLVERS["dopri5"], CHECKPOINTED, f, y0)
    assert replays() - before == 3 * (stats.accepted + stats.rejected) + stats.accepted
    assert all(torch.equal(a, b) for a, b in zip(ours, again, strict=True))
    assert forward.predicted == stats.accepted + stats.rejected


def test_full_buffers_are_continued_by_another_run() -> None:
    f, y0, solver = Net(seed=1), real(0.5, -0.2, 0.9), steps("rk4", 2 / 300)
    ours, stats = solved(GRAPHS, solver, CHECKPOINTED, f, y0)
    theirs, _ = solved(EAGER, solver, CHECKPOINTED, f, y0)
    same(ours, theirs)
    assert stats.accepted == 300
    assert captures() == 3  # the start, its continuations, and the backward pass


@pytest.mark.parametrize("gradient", ["adjoint", "checkpointed"])
@pytest.mark.parametrize("name", ["dopri5", "constant", "reversible"])
def test_a_solve_like_the_last_one_takes_one_read(name: str, gradient: str) -> None:
    solver = replace(SOLVERS[name], engine=GRAPHS)
    with StandIn() as device:
        f, y0 = Net(seed=1, gain=3.0).to(DEVICE), real(0.5, -0.2, 0.9).to(DEVICE).requires_grad_()
        for _ in range(2):
            device.forget()
            ys = odeint(f, y0, TS, solver=solver, gradient=GRADIENTS[gradient]).ys
            forward = device.reads.copy()
            device.reads.clear()
            ys.square().sum().backward()
        assert forward.total() == 1, forward
        checks = 2 if isinstance(GRADIENTS[gradient], ode.Adjoint) else 1
        solves = checks - 1
        assert device.reads.total() == solves + checks, device.reads
        assert not device.uploads


def test_a_longer_solve_than_the_last_one_is_read_again() -> None:
    solver = replace(SOLVERS["dopri5"], engine=GRAPHS)
    with StandIn() as device:
        f, y0 = Net(seed=1, gain=3.0).to(DEVICE), real(0.5, -0.2, 0.9).to(DEVICE)
        options: dict[str, Any] = {"solver": solver, "gradient": ADJOINT}
        odeint(f, y0, real(0.0, 1.0), **options)
        device.forget()
        odeint(f, y0, real(0.0, 3.0), **options)
        assert device.reads.total() > 1
        device.forget()
        odeint(f, y0, real(0.0, 3.0), **options)
        assert device.reads.total() == 1


def test_other_tensors_of_f_are_captured_anew_and_the_same_ones_are_not() -> None:
    scale, y0 = real(1.0), real(0.5, -0.2)
    options: dict[str, Any] = {"solver": replace(SOLVERS["dopri5"], engine=GRAPHS)}
    options |= {"gradient": ADJOINT, "parameters": ()}

    def end(scale: Tensor) -> float:
        return float(odeint(lambda t, y: -scale * y, y0, real(0.0, 1.0), **options).ys[-1, 0])

    ends = [end(scale), end(scale)]
    assert ends[0] == ends[1]
    assert captures() == 1
    scale.mul_(2.0)
    assert end(scale) == pytest.approx(0.5 * torch.tensor(-2.0).exp().item(), rel=1e-4)
    assert captures() == 1
    assert end(real(3.0)) == pytest.approx(0.5 * torch.tensor(-3.0).exp().item(), rel=1e-4)
    assert captures() == 2


def test_a_bounded_number_of_captured_runs_is_kept() -> None:
    options: dict[str, Any] = {"solver": replace(SOLVERS["constant"], engine=GRAPHS)}
    options |= {"gradient": ADJOINT, "parameters": ()}
    for size in range(1, captured.MOST + 4):
        odeint(lambda t, y: -y, torch.ones(size), real(0.0, 0.3), **options)
    assert len(captured._kept) == captured.MOST


def test_a_module_is_freed_although_its_graphs_are_kept() -> None:
    f = Net()
    solved(GRAPHS, SOLVERS["dopri5"], CHECKPOINTED, f, real(0.5, -0.2, 0.9))
    alive, weights = weakref.ref(f), [weakref.ref(p) for p in f.parameters()]
    del f
    for graph in RecordedSide.graphs:
        graph.calls.clear()  # a record holds its tensors, a captured graph only their addresses
    gc.collect()
    assert alive() is None
    assert all(p() is None for p in weights)


class Counting(Net):
    """Changes at every evaluation."""

    calls = 0

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(t, y)


class Reading(Net):
    """Reads a value."""

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return super().forward(t, y) if y[0].item() > -5.0 else y


@pytest.mark.parametrize(
    ("field", "reason"), [(Counting, "different in every solve"), (Reading, "synchronizing")]
)
def test_a_field_that_cannot_be_captured_runs_eagerly_and_a_warning_says_so(
    field: type[Net], reason: str
) -> None:
    y0 = real(0.5, -0.2, 0.9)
    theirs, _ = solved(EAGER, SOLVERS["dopri5"], CHECKPOINTED, field(seed=1), y0)
    f, found = field(seed=1), []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(captured.MOST // 2 + 2):
            found, _ = solved(GRAPHS, SOLVERS["dopri5"], CHECKPOINTED, f, y0)
    same(found, theirs)
    assert {reason in str(w.message) for w in told} == {True}


@pytest.mark.parametrize("limits", [{"max_steps": 5}, {"first_step": 0.5}])
def test_a_failure_is_that_of_the_eager_engine(limits: dict[str, Any]) -> None:
    raised = []
    for engine in (EAGER, GRAPHS):
        solver = ode.dopri5(1e-6, 1e-6, engine=engine, **limits)
        with pytest.raises(ode.SolverError) as caught:
            odeint(
                lambda t, y: y * y,
                torch.ones(2, dtype=torch.float64),
                real(0.0, 2.0),
                solver=solver,
                gradient=ADJOINT,
                parameters=(),
            )
        raised.append(caught.value)
    assert raised[0].kind == raised[1].kind
    assert raised[0].t == pytest.approx(raised[1].t, rel=1e-8)


def test_a_cpu_is_refused_with_what_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured, "DEVICES", ("cuda",))
    with pytest.raises(ode.SolverError, match="backend=inductor") as caught:
        solved(GRAPHS, SOLVERS["dopri5"], ADJOINT, Net(), real(0.5, -0.2, 0.9))
    assert caught.value.kind == "bad_input"
