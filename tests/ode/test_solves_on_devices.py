"""Solves on another device: the numbers of the CPU, and no tensor on the wrong device.

The stand-in raises an error where tensors of the CPU and of the device meet, as CUDA does.
"""

from collections.abc import Callable, Sequence

import pytest
import torch
from chosen import ADAPTIVE, GRADIENTS, HOSTS, METHODS, Net, adaptive, host, real, steps, taken
from devices import assert_as_on_the_cpu, on_devices
from torch import Tensor, nn

from node_repro import ode
from node_repro.ode import drop_in
from node_repro.ode.drop_in.methods import SCIPY
from node_repro.ode.methods import linear_system
from node_repro.ode.solver import Solver

TS = real(0.0, 0.3, 0.31, 1.0)
DOPRI5 = adaptive("dopri5", 1e-3)
DROP_IN_METHODS = ("dopri5", "rk4", "trapezoid", "explicit_adams", "implicit_adams", SCIPY)
DIRECT, ADJOINT = ode.Direct(), ode.Adjoint()


def field(device: torch.device) -> Net:
    return Net(seed=1, gain=1.5).to(device)


def state(device: torch.device) -> Tensor:
    return real(0.5, -0.2, 0.9).to(device).requires_grad_()


def differentiated(ys: Tensor | tuple[Tensor, ...], *inputs: Tensor) -> list[Tensor]:
    """The results and the gradients of a sum of their squares."""
    results = ys if isinstance(ys, tuple) else (ys,)
    loss = sum(x.abs().square().sum() for x in results)
    assert isinstance(loss, Tensor)
    wanted = [x for x in inputs if x.requires_grad]
    found = torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)
    assert all(g.device == x.device for g, x in zip(found, wanted, strict=True))
    return [*results, *found]


def solved(device: torch.device, solver: Solver, gradient: str, times: Tensor = TS) -> list[Tensor]:
    """The states, and the gradients by the state, the weights and trained times."""
    f, y0 = field(device), state(device)
    ys, _ = ode.odeint(f, y0, times, solver=solver, gradient=GRADIENTS[gradient])
    assert ys.device.type == device.type
    return differentiated(ys, y0, times, *f.parameters())


@on_devices
@pytest.mark.parametrize("name", METHODS)
def test_every_method_solves(name: str, device: torch.device) -> None:
    assert_as_on_the_cpu(lambda d: solved(d, steps(name, 0.5), "direct"), device)
    if name in ADAPTIVE:
        assert_as_on_the_cpu(lambda d: solved(d, adaptive(name, 1e-1), "adjoint"), device)


@on_devices
@pytest.mark.parametrize("times", ["times on the host", "times on the device"])
@pytest.mark.parametrize("name", GRADIENTS)
def test_every_gradient_method_differentiates(name: str, times: str, device: torch.device) -> None:
    def results(d: torch.device) -> list[Tensor]:
        ts = (TS.to(d) if times.endswith("device") else TS.clone()).requires_grad_()
        return solved(d, taken(name, DOPRI5), name, ts)

    assert_as_on_the_cpu(results, device)


@on_devices
@pytest.mark.parametrize("name", HOSTS)
def test_solvers_of_scipy_step_on_the_host_and_call_f_on_the_device(
    name: str, device: torch.device
) -> None:
    assert_as_on_the_cpu(lambda d: solved(d, host(name, 1e-2), "adjoint"), device)


Results = Callable[[torch.device], Sequence[Tensor]]


def dense(device: torch.device) -> list[Tensor]:
    f, y0 = field(device), state(device)
    solution = ode.odeint_dense(f, y0, 0.0, 1.0, solver=DOPRI5)
    t = real(0.9, 0.1, 0.1).to(device)
    return differentiated((solution(t), solution(0.5), solution.derivative(t)), y0)


def event(device: torch.device, gradient: ode.GradientMethod) -> list[Tensor]:
    height = real(1.0).to(device).requires_grad_()
    start = (height, torch.zeros_like(height))
    found = ode.odeint_event(
        lambda t, y: (y[1], torch.full_like(y[1], -10.0)),
        start,
        0.0,
        lambda t, y: y[0],
        solver=DOPRI5,
        gradient=gradient,
        limit=10.0,
        parameters=(),
    )
    return differentiated((found.t, *found.y), height)


def parts(device: torch.device, norm: ode.Norm | None = None) -> list[Tensor]:
    y0 = (state(device), real(1.0, 2.0).to(device).reshape(2, 1).requires_grad_())
    ys, _ = ode.odeint(
        lambda t, y: (-y[0] * t, y[1] - y[0].sum()),
        y0,
        TS,
        solver=DOPRI5,
        gradient=ADJOINT,
        parameters=(),
        norm=norm,
    )
    return differentiated(ys, *y0)


def spiral(device: torch.device, solver: Solver) -> list[Tensor]:
    rate = torch.tensor(-0.5 + 2j, dtype=torch.complex128, device=device, requires_grad=True)
    y0 = torch.ones(2, dtype=torch.complex128, device=device, requires_grad=True)
    ys, _ = ode.odeint(
        lambda t, y: rate * y, y0, TS, solver=solver, gradient=ADJOINT, parameters=[rate]
    )
    return differentiated(ys, y0, rate)


def own_tolerances(device: torch.device) -> list[Tensor]:
    f, y0 = field(device), state(device)
    tolerance = real(1e-2, 1e-3, 1e-2).to(device)
    solver = ode.dopri5(rtol=tolerance, atol=tolerance)
    ys, _ = ode.odeint(f, y0, TS, solver=solver, gradient=DIRECT)
    return differentiated(ys, y0, *f.parameters())


def trained_span(device: torch.device) -> list[Tensor]:
    end = nn.Parameter(real(1.5).reshape(()))
    block = ode.ODEBlock(field(device), solver=DOPRI5, gradient=ADJOINT, span=(0.0, end)).to(device)
    return differentiated(block(state(device)), *block.parameters())


class Driven(nn.Module):
    """A field with functions of time alone, computed for the stages of a step together."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(real(0.3, 1.0, 2.0))

    def at_times(self, ts: Tensor) -> list[Callable[[Tensor], Tensor]]:
        return [lambda y, drive=drive: drive * y for drive in torch.cos(ts[:, None] * self.rate)]

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.cos(t * self.rate) * y


def driven(device: torch.device) -> list[Tensor]:
    f, y0 = Driven().to(device), state(device)
    ys, _ = ode.odeint(f, y0, TS, solver=DOPRI5, gradient=ode.Checkpointed())
    return differentiated(ys, y0, *f.parameters())


def higher(device: torch.device) -> list[Tensor]:
    y0 = state(device)
    ys, _ = ode.odeint(lambda t, y: -y * y, y0, TS, solver=DOPRI5, gradient=DIRECT)
    (once,) = torch.autograd.grad(ys.sum(), y0, create_graph=True)
    return differentiated(once, y0)


CASES: dict[str, Results] = {
    "dense output": dense,
    "an event": lambda d: event(d, DIRECT),
    "an event by the adjoint": lambda d: event(d, ADJOINT),
    "a tuple": parts,
    "a norm": lambda d: parts(d, ode.CallableNorm(lambda y, integrals: y.abs().max())),
    "a complex state": lambda d: spiral(d, DOPRI5),
    "a complex state, implicitly": lambda d: spiral(d, steps("gl4", 0.5)),
    "tolerances of the elements": own_tolerances,
    "a trained end": trained_span,
    "functions of time": driven,
    "second derivatives": higher,
    "steps of an Adams method": lambda d: solved(d, ode.adams(step_size=0.1), "adjoint"),
    "prescribed steps": lambda d: solved(
        d, ode.RungeKutta(ode.RK4, ode.Prescribed((0.0, 0.2, 0.6, 1.0))), "direct"
    ),
}


@on_devices
@pytest.mark.parametrize("results", CASES.values(), ids=CASES.keys())
def test_so_does_every_other_form_of_a_solve(results: Results, device: torch.device) -> None:
    assert_as_on_the_cpu(results, device)


@on_devices
def test_systems_too_large_for_a_matrix_are_solved_there_too(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear_system, "LARGEST_DENSE", 1)
    assert_as_on_the_cpu(lambda d: solved(d, steps("gl4", 1.0), "direct", real(0.0, 1.0)), device)


@on_devices
@pytest.mark.parametrize("name", DROP_IN_METHODS)
def test_the_drop_in_solves_with_every_kind_of_method(name: str, device: torch.device) -> None:
    given = {"method": name, "rtol": 1e-2, "atol": 1e-2}
    given |= {"options": {"solver": "RK45"}} if name == SCIPY else {}

    def results(d: torch.device) -> list[Tensor]:
        f, y0, ts = field(d), state(d), TS.to(d).requires_grad_()
        found = differentiated(drop_in.odeint_adjoint(f, y0, ts, **given), y0, ts, *f.parameters())
        if name == SCIPY:
            return found
        return found + differentiated(drop_in.odeint(f, y0, ts, **given), y0, ts, *f.parameters())

    assert_as_on_the_cpu(results, device)


def decay(t: Tensor, y: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (-y[0], y[0].sum() - y[1] * t)


DROP_IN: dict[str, dict] = {
    "tolerances of the parts": {"rtol": [1e-2, 1e-3], "atol": [1e-2, 1e-3]},
    "stops": {"options": {"step_t": real(0.5), "jump_t": real(0.7)}},
    "constant steps": {"method": "rk4", "options": {"step_size": 0.4, "perturb": True}},
    "seminorm": {"adjoint_options": {"norm": "seminorm"}},
}


@on_devices
@pytest.mark.parametrize("given", DROP_IN.values(), ids=DROP_IN.keys())
def test_so_does_it_with_options(given: dict, device: torch.device) -> None:
    def results(d: torch.device) -> list[Tensor]:
        y0, ts = (state(d), real(1.0).to(d)), TS.to(d)
        options = {"rtol": 1e-2, "atol": 1e-2, "adjoint_params": ()} | given
        return differentiated(drop_in.odeint_adjoint(decay, y0, ts, **options), y0[0])

    assert_as_on_the_cpu(results, device)


@on_devices
def test_its_events_and_its_dense_output_are_found_there(device: torch.device) -> None:
    def results(d: torch.device) -> list[Tensor]:
        y0, t0 = state(d), real(0.0).to(d)
        given = {"event_fn": lambda t, y: y[0] - 0.25, "rtol": 1e-3, "atol": 1e-3}
        t, ys = drop_in.odeint_event(lambda t, y: -y, y0, t0, **given)
        solution = drop_in.odeint_dense(lambda t, y: -y, y0, 0.0, 1.0, rtol=1e-3, atol=1e-3)
        return differentiated((t, ys, solution(real(0.1, 0.5).to(d))), y0)

    assert_as_on_the_cpu(results, device)
