"""How often the host waits for the device in a solve, counted on the stand-in for one.

A read waits until the device has computed the value, and so does a copy to the device without
non_blocking=True. An error-controlled solve has to read one number an attempted step, its error.
"""

from collections import Counter
from collections.abc import Iterator

import pytest
import torch
from chosen import (
    ADAPTIVE,
    ADJOINTS,
    GRADIENTS,
    HOSTS,
    IMPLICIT,
    METHODS,
    Net,
    adaptive,
    host,
    real,
    steps,
    taken,
)
from stand_in import DEVICE, StandIn

from node_repro import ode
from node_repro.ode import RungeKutta, Solution, Solver, Stats, odeint
from node_repro.ode.drop_in import odeint as drop_in_odeint

TS = real(0.0, 0.2, 0.3, 0.7, 1.0)
FIRST_STEP = 2  # reads of the automatic choice of the first step
END = 1  # read of the check that the last state is finite; otherwise part of the last error's
WITH_TOLERANCE = [name for name in ADAPTIVE if name not in IMPLICIT]
EXPLICIT = [name for name in METHODS if name not in IMPLICIT]
TWO = {"tolerance": adaptive("dopri5", 1e-2), "constant": steps("rk4", 0.25)}
BACKWARD = {"direct": 0, "forward": 0, "checkpointed": 2, "reversible": 2}
"""Reads of a backward pass that solves nothing: checks of f, and the error of steps undone."""


@pytest.fixture
def device() -> Iterator[StandIn]:
    with StandIn() as device:
        yield device


def attempted(stats: Stats) -> int:
    return stats.accepted + stats.rejected


def solve(
    device: StandIn, solver: Solver, gradient: str = "direct", ts: torch.Tensor = TS
) -> Solution:
    """Solve on the device for a field that needs some steps, and count from its start on."""
    f = Net(seed=1, gain=3.0).to(DEVICE)
    y0 = real(0.5, -0.2, 0.9).to(DEVICE).requires_grad_()
    device.forget()
    return odeint(f, y0, ts, solver=solver, gradient=GRADIENTS[gradient])


def outside(reads: Counter[str], file: str) -> int:
    """The reads in other files."""
    return sum(count for place, count in reads.items() if not place.startswith(file))


@pytest.mark.parametrize("name", WITH_TOLERANCE)
def test_an_error_controlled_solve_reads_once_an_attempt_and_two_numbers_more(
    name: str, device: StandIn
) -> None:
    stats = solve(device, adaptive(name, 1e-2)).stats
    assert stats.accepted > 1
    assert device.reads.total() == attempted(stats) + FIRST_STEP, device.reads
    assert not device.uploads


def test_a_given_first_step_is_not_read_and_a_rejected_one_is_an_attempt(device: StandIn) -> None:
    stats = solve(device, adaptive("dopri5", 1e-6, first_step=1.0)).stats
    assert stats.rejected > 0
    assert device.reads.total() == attempted(stats), device.reads


@pytest.mark.parametrize("name", EXPLICIT)
def test_constant_steps_read_one_number_a_solve(name: str, device: StandIn) -> None:
    assert solve(device, steps(name, 0.2)).stats.accepted == 5
    assert device.reads.total() == END, device.reads
    assert not device.uploads


@pytest.mark.parametrize("name", IMPLICIT)
def test_implicit_steps_read_one_number_more_an_iteration_of_newton(
    name: str, device: StandIn
) -> None:
    solve(device, steps(name, 0.2))
    assert outside(device.reads, "methods/newton.py") == END, device.reads
    if name in ADAPTIVE:
        device.forget()
        stats = solve(device, adaptive(name, 1e-2)).stats
        others = outside(device.reads, "methods/newton.py")
        assert others == attempted(stats) + FIRST_STEP, device.reads
    assert not device.uploads


@pytest.mark.parametrize("corrector", [None, ode.Corrector()], ids=["bashforth", "moulton"])
def test_adams_steps_read_only_whether_the_corrector_has_converged(
    corrector: ode.Corrector | None, device: StandIn
) -> None:
    solve(device, ode.fixed(ode.Adams(points=4, corrector=corrector), 0.05))
    read = device.reads.total() - END
    assert (read > 0) == (corrector is not None)
    assert outside(device.reads, "methods/adams.py") == END, device.reads
    assert not device.uploads


@pytest.mark.parametrize("name", HOSTS)
def test_a_solver_of_scipy_reads_every_value_of_f_and_sends_every_state(
    name: str, device: StandIn
) -> None:
    stats = solve(device, host(name, 1e-2), "adjoint").stats
    assert device.reads.total() == 1 + stats.nfe + END, device.reads  # the state at the start, too
    assert device.uploads.total() == stats.nfe + len(TS) - 1, device.uploads


def test_times_on_the_device_are_read_once(device: StandIn) -> None:
    stats = solve(device, adaptive("dopri5", 1e-2), ts=TS.to(DEVICE)).stats
    assert device.reads.total() == attempted(stats) + FIRST_STEP + 1, device.reads


def test_a_tuple_and_a_norm_of_ones_own_read_no_more(device: StandIn) -> None:
    def largest(y: torch.Tensor, integrals: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return y.abs().max()

    y0 = (real(0.5).to(DEVICE), real(1.0, 2.0).to(DEVICE))
    given = {"solver": adaptive("dopri5", 1e-2), "gradient": GRADIENTS["direct"]}
    for norm in (None, ode.CallableNorm(largest)):
        device.forget()
        _, stats = odeint(lambda t, y: (-y[0], y[0] - y[1]), y0, TS, norm=norm, **given)
        assert device.reads.total() == attempted(stats) + FIRST_STEP, device.reads
        assert not device.uploads


@pytest.mark.parametrize("method", ["dopri5", "rk4"])
def test_the_drop_in_reads_what_its_solves_read(method: str, device: StandIn) -> None:
    f, y0, attempts = Net(seed=1, gain=3.0).to(DEVICE), real(0.5, -0.2, 0.9).to(DEVICE), []
    setattr(f, "callback_step", lambda t, y, h: attempts.append(1))  # noqa: B010
    device.forget()
    ys = drop_in_odeint(f, y0, TS, method=method, rtol=1e-2, atol=1e-2)
    assert ys.device == DEVICE
    # autograd sees the times of rk4: its steps, from one to the next, are solves of their own
    expected = len(attempts) + FIRST_STEP if method == "dopri5" else len(TS) - 1
    assert device.reads.total() == expected, device.reads


@pytest.mark.parametrize("solver", TWO.values(), ids=TWO.keys())
@pytest.mark.parametrize("name", BACKWARD)
def test_a_discrete_backward_pass_reads_what_its_checks_need(
    name: str, solver: RungeKutta, device: StandIn
) -> None:
    ys, _ = solve(device, taken(name, solver), name)
    device.forget()
    ys.square().sum().backward()
    assert device.reads.total() == BACKWARD[name], device.reads
    assert not device.uploads


@pytest.mark.parametrize("name", ADJOINTS)
def test_an_adjoint_backward_pass_reads_once_an_attempt_and_two_numbers_more(
    name: str, device: StandIn
) -> None:
    intervals = len(TS) - 1
    for solver in TWO.values():
        ys, stats = solve(device, solver, name)
        device.forget()
        ys.square().sum().backward()
        assert stats.backward is not None
        reads = attempted(stats.backward) if solver.controls_error else intervals * END
        assert device.reads.total() == reads + 2, device.reads
        assert not device.uploads


def test_an_end_that_is_not_finite_is_an_error_though_the_norm_accepts_it(device: StandIn) -> None:
    y0 = real(1.0).to(DEVICE)
    nothing = ode.CallableNorm(lambda y, integrals: torch.zeros(()))
    given = {"solver": adaptive("dopri5", 1e-2), "gradient": GRADIENTS["direct"], "norm": nothing}
    with pytest.raises(ode.SolverError, match="are NaN or infinite") as caught:
        odeint(lambda t, y: y * y * 1e200, y0, TS, **given)
    assert caught.value.kind == "non_finite_state"
