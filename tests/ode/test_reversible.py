"""Reversible methods and the gradient that undoes their steps."""

import math
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest
import torch
from chosen import GRADIENTS, METHODS, REVERSIBLE, TABLEAUS, Net, adaptive, leaf, real, steps
from torch import Tensor

from node_repro.ode import RungeKutta, SolverError, odeint
from node_repro.ode.controllers.constant import Constant
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.field import Plain
from node_repro.ode.gradients.reversible import Reversible
from node_repro.ode.methods import Carry, Method, ReversibleMethod, State
from node_repro.ode.methods.reversible import Coupled
from node_repro.ode.methods.reversible_heun import REVERSIBLE_HEUN
from node_repro.runs.meters import SavedBytes

EXACT = Reversible()
COUPLED: Mapping[str, ReversibleMethod] = {name: Coupled(m) for name, m in TABLEAUS.items()} | {
    "reversible_heun": REVERSIBLE_HEUN
}
every_coupled = pytest.mark.parametrize("method", COUPLED.values(), ids=COUPLED.keys())
SOLVERS = {f"{name}, constant": RungeKutta(m, Constant(0.11)) for name, m in COUPLED.items()} | {
    f"{name}, controlled": RungeKutta(m, Integral(rtol=1e-4, atol=1e-4))
    for name, m in COUPLED.items()
    if m.adaptive
}


def of_a_net(gradient: str, solver: RungeKutta) -> tuple[Tensor, ...]:
    """The gradients of a loss on every output by y0, the parameters and, if steps are constant, the
    times: with them autograd's own run rounds otherwise, and an error near rounding chooses the
    next step.
    """
    f, y0 = Net(seed=1, gain=1.5), leaf(0.5, -0.2, 0.9)
    ts = real(0.0, 0.4, 0.41, 2.0, 3.0).requires_grad_(not solver.controls_error)
    method = EXACT if gradient == "reversible" else GRADIENTS[gradient]
    ys, _ = odeint(f, y0, ts, solver=solver, gradient=method)
    weights = torch.randn(ys.shape, generator=torch.Generator().manual_seed(3), dtype=ys.dtype)
    wanted = [x for x in (ts, y0, *f.parameters()) if x.requires_grad]
    return torch.autograd.grad((ys * weights).sum(), wanted)


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())
def test_what_is_undone_kept_or_recorded_gives_one_gradient(solver: RungeKutta) -> None:
    aim = of_a_net("direct", solver)
    for name in ("reversible", "checkpointed"):
        for found, expected in zip(of_a_net(name, solver), aim, strict=True):
            size = float(expected.abs().max())
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12 * size, msg=name)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.complex128])
@every_coupled
def test_a_step_is_undone_to_rounding(method: ReversibleMethod, dtype: torch.dtype) -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(y * torch.cos(3 * t))

    field = Plain(f)
    y, z = real(0.5, -0.2, 0.9).to(dtype), real(0.51, -0.22, 0.88).to(dtype)
    step = method.step(field, 0.2, 0.5, State(y), method.init(field, 0.2, y, z))
    assert step.carry.twin is not None
    back = method.unstep(field, 0.2, 0.5, step.end.y, step.carry.twin)
    rounding = 16 * torch.finfo(dtype).eps
    torch.testing.assert_close(back, (y, z), rtol=rounding, atol=rounding)


@every_coupled
def test_many_steps_are_undone_at_a_growing_but_small_loss(method: ReversibleMethod) -> None:
    field = Plain(lambda t, y: torch.stack((y[1], -y[0])))
    y = z = y0 = real(1.0, 0.0)
    times = [0.03 * n for n in range(301)]
    for t, t1 in pairwise(times):
        step = method.step(field, t, t1, State(y), method.init(field, t, y, z), advance_only=True)
        assert step.carry.twin is not None
        y, z = step.end.y, step.carry.twin
    for t1, t in pairwise(reversed(times)):
        y, z = method.unstep(field, t, t1, y, z)
    # 0.999^-300 = 1.4 times the rounding of three hundred steps
    torch.testing.assert_close(y, y0, rtol=0, atol=1e-13)


@pytest.mark.parametrize("method", COUPLED.values(), ids=COUPLED.keys())
def test_coupling_keeps_the_order(method: Method) -> None:
    counts = [8, 16, 32, 64] if method.order < 6 else [4, 6, 8, 12]
    errors = []
    for n in counts:
        ys, _ = odeint(
            lambda t, y: y * torch.cos(t), real(1.0), real(0, 2), gradient=GRADIENTS["direct"],
            solver=RungeKutta(method, Constant(2 / n)),
        )  # fmt: skip
        errors.append(abs(ys[-1].item() - math.exp(math.sin(2.0))))
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert slope > method.order - 0.3, errors


@every_coupled
def test_dense_output_begins_at_the_state_and_ends_at_the_next(method: ReversibleMethod) -> None:
    field = Plain(lambda t, y: torch.tanh(y * torch.cos(3 * t)))
    y, z = real(0.5, -0.2, 0.9), real(0.6, -0.3, 0.7)
    step = method.step(field, 0.2, 0.5, State(y), method.init(field, 0.2, y, z))
    ends = method.interpolate(y, 0.3, step.stages, real(0, 1))
    torch.testing.assert_close(ends, torch.stack((y, step.end.y)), rtol=1e-14, atol=1e-14)
    x = leaf(0.3)
    rate = method.rate(0.3, step.stages, x.detach())
    for i in range(3):
        (slope,) = torch.autograd.grad(method.interpolate(y, 0.3, step.stages, x)[0, i], x)
        torch.testing.assert_close(slope / 0.3, rate[:, i], rtol=1e-13, atol=0)


STATE = 16 * 3 * 8


@pytest.mark.parametrize("method", REVERSIBLE)
def test_memory_does_not_grow_with_the_steps(method: str) -> None:
    def held(count: int) -> tuple[int, int]:
        f = Net()
        y0 = torch.linspace(-1, 1, 48, dtype=torch.float64).reshape(16, 3).requires_grad_()
        ts = real(0, 1)
        with SavedBytes(exclude=[*f.parameters(), ts]) as saved:
            ys, stats = odeint(f, y0, ts, solver=steps(method, 1 / count), gradient=EXACT)
            assert stats.accepted == count
            kept = saved.held_bytes
            ys[-1].sum().backward()
        return kept, saved.peak_bytes

    assert held(4) == held(64)
    assert held(4)[0] == 3 * STATE  # both ends, and the twin of the last


@pytest.mark.parametrize("method", ["reversible_dopri5", "reversible_heun"])
def test_memory_does_not_grow_with_the_outputs_but_by_themselves(method: str) -> None:
    f, y0 = Net(), torch.ones(16, 3, dtype=torch.float64)
    held = []
    for count in (2, 100):
        ts = torch.linspace(0, 1, count, dtype=torch.float64)
        with SavedBytes(exclude=[*f.parameters(), ts]) as saved:
            ys, _ = odeint(f, y0, ts, solver=adaptive(method, 1e-4), gradient=EXACT)
        assert ys.requires_grad
        held.append(saved.held_bytes)
    assert held[0] == held[1]


def damped(dtype: torch.dtype, rate: float) -> tuple[Tensor, float | None]:
    """dL/dy0 of y' = -rate (y - 1) over a time of 1, and how far the way back strayed."""
    y0 = torch.full((2,), 2.0, dtype=dtype, requires_grad=True)
    ys, stats = odeint(
        lambda t, y: -rate * (y - 1), y0, real(0, 1), solver=steps("reversible_rk4", 0.01),
        gradient=EXACT, parameters=(),
    )  # fmt: skip
    ys[-1].sum().backward()
    assert y0.grad is not None and stats.backward is not None
    return y0.grad, stats.backward.reconstruction


def test_where_single_precision_cannot_reverse_it_says_so_with_the_number() -> None:
    sentence = r"led to a start (\de-\d\d) from y0, .* torch.float32 .* gradient=checkpointed$"
    with pytest.warns(UserWarning, match=sentence) as caught:
        _, strayed = damped(torch.float32, 13.0)
    assert strayed is not None and strayed > math.sqrt(torch.finfo(torch.float32).eps)
    assert f"{strayed:.0e}" in str(caught[0].message)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_where_the_way_back_is_good_nothing_is_said(dtype: torch.dtype) -> None:
    # warnings are errors here
    found, strayed = damped(dtype, 1.0)
    assert strayed is not None and strayed < 100 * torch.finfo(dtype).eps
    torch.testing.assert_close(found.double(), real(*[math.exp(-1)] * 2), rtol=1e-5, atol=0)


def test_a_start_of_zeros_is_judged_by_the_states_of_the_way() -> None:
    # relative to a start of zeros every rounding would be infinite
    rate = leaf(2.0, -1.0)
    ys, stats = odeint(
        lambda t, y: rate * torch.cos(t), real(0, 0), real(0, 2 * math.pi), gradient=EXACT,
        solver=adaptive("reversible_dopri5"), parameters=(rate,),
    )  # fmt: skip
    ys[-1].sum().backward()
    assert stats.backward is not None and stats.backward.reconstruction is not None
    assert stats.backward.reconstruction < 1e-13


@pytest.mark.parametrize("method", TABLEAUS)
def test_an_ordinary_method_cannot_be_undone_and_is_refused(method: str) -> None:
    with pytest.raises(SolverError, match="gradient=reversible inverts steps") as caught:
        odeint(
            lambda t, y: -y, leaf(1.0), real(0, 1), solver=steps(method, 0.1), gradient=EXACT,
            parameters=(),
        )  # fmt: skip
    assert caught.value.kind == "bad_input"
    assert str(caught.value).endswith(
        f"{METHODS[method].name} does not support: use a reversible method, such as "
        "reversible_dopri5, or gradient=checkpointed"
    )


@pytest.mark.parametrize("coupling", [0.0, -0.1, 1.5, math.nan])
def test_a_coupling_out_of_its_range_is_refused(coupling: float) -> None:
    with pytest.raises(SolverError, match=r"coupling must lie in \(0, 1\], not ") as caught:
        Coupled(TABLEAUS["rk4"], coupling)
    assert caught.value.kind == "bad_input"


@pytest.mark.parametrize("coupling", [0.9, 0.999, 1.0])
@pytest.mark.parametrize("x", [0.1, 0.5, -0.5])
def test_a_coupled_step_grows_by_what_the_solution_is_damped(x: float, coupling: float) -> None:
    # a step of (y, z) on y' = -y has the roots e^-x and l e^x: no damping without its opposite
    method = Coupled(TABLEAUS["dopri8"], coupling)
    field = Plain(lambda t, y: -y)
    columns = []
    for y, z in ((real(1.0), real(0.0)), (real(0.0), real(1.0))):
        step = method.step(field, 0.0, x, State(y), method.init(field, 0.0, y, z))
        assert step.carry.twin is not None
        columns.append(torch.cat((step.end.y, step.carry.twin)))
    roots = torch.linalg.eigvals(torch.stack(columns, dim=1)).real.sort().values
    aim = real(math.exp(-x), coupling * math.exp(x)).sort().values
    torch.testing.assert_close(roots, aim, rtol=1e-7, atol=0)


@pytest.mark.parametrize("method", [name for name in REVERSIBLE if METHODS[name].adaptive])
def test_errors_grow_by_no_more_than_the_solution_is_damped(method: str) -> None:
    # y' = -y^3 / 2 from 1: the derivative of the solution by y0 falls to 21^-1.5 = 1 / 96
    tol = 1e-5 if METHODS[method].order > 2 else 1e-4
    ys, _ = odeint(
        lambda t, y: -(y**3) / 2, real(1.0), real(0, 20), solver=adaptive(method, tol),
        gradient=GRADIENTS["direct"],
    )  # fmt: skip
    assert abs(ys[-1].item() - 21**-0.5) < 2 * 96 * tol


def test_the_twin_starts_as_the_state() -> None:
    field, y = Plain(lambda t, y: -y), real(1.0, 2.0)
    for method in COUPLED.values():
        carry = method.init(field, 0.0, y)
        assert isinstance(carry, Carry) and carry.twin is y
