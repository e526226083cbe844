"""Fields as programs in the wild write them: they mark t and y, differentiate inside, are scripted,
read tables that end where the solve ends, and are called under torch.func's transforms.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from chosen import ADJOINTS, GRADIENTS, METHODS, REAL_ONLY, adaptive, leaf, real, steps
from torch import Tensor, nn
from torch.autograd import forward_ad

from node_repro.ode import RungeKutta, SolverError, odeint, odeint_dense, odeint_event

ALL = sorted(GRADIENTS)
AGAIN = sorted(set(GRADIENTS) - {"direct"})
TS = real(0, 0.5, 1)


def gradients(f: nn.Module, gradient: str, y0: Any, **given: Any) -> list[Tensor]:  # noqa: ANN401
    """The states, and the gradients of y0 and of f's parameters."""
    ys, _ = odeint(f, y0, TS, solver=adaptive(tol=1e-9), gradient=GRADIENTS[gradient], **given)
    parts = ys if isinstance(ys, tuple) else (ys,)
    loss = sum((part.square().sum() for part in parts), torch.zeros(()))
    wanted = [*(y0 if isinstance(y0, tuple) else (y0,)), *f.parameters()]
    found = torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)
    return [*(part.detach() for part in parts), *found]


def assert_close(found: list[Tensor], expected: list[Tensor]) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


class Marking(nn.Module):
    """A tuple's field, cos(t) W y beside its trace, which marks what it is called with."""

    def __init__(self, mark: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.w = nn.Parameter(0.5 * torch.randn(2, 2, dtype=torch.float64))
        self.mark = mark

    def forward(self, t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            y, t = self.mark(state[0]), self.mark(t)
            dy = torch.cos(t) * (y @ self.w)
            each = (torch.autograd.grad(dy[:, i].sum(), y, create_graph=True) for i in range(2))
            trace = torch.stack([g[0][:, i] for i, g in enumerate(each)]).sum(0)
        return dy, -trace


MARKS: dict[str, Callable[[Tensor], Tensor]] = {
    "in place": lambda x: x.requires_grad_(True),
    "a copy": lambda x: x.clone().requires_grad_(True),
    "unless it is marked": lambda x: x if x.requires_grad else x.detach().requires_grad_(),
}


@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("gradient", sorted({*ADJOINTS, "direct", "checkpointed"}))
def test_a_field_may_mark_its_time_and_its_state(gradient: str, mark: str, wanted: bool) -> None:
    f = Marking(MARKS[mark])
    y = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(3, 2).requires_grad_(wanted)
    log = torch.zeros(3, dtype=torch.float64)
    solver = adaptive(tol=1e-9)
    ys, logs = odeint(f, (y, log), TS, solver=solver, gradient=GRADIENTS[gradient]).ys
    exact = -torch.sin(TS[:, None]) * f.w.detach().trace()
    torch.testing.assert_close(logs.detach(), exact.expand(3, 3), rtol=0, atol=1e-8)
    (ys[-1].square().sum() + logs[-1].sum()).backward()
    flow = torch.linalg.matrix_exp(torch.sin(TS[-1]) * f.w.detach())
    torch.testing.assert_close(ys[-1].detach(), y.detach() @ flow, rtol=1e-7, atol=1e-8)
    assert y.requires_grad == wanted and not log.requires_grad  # the user's tensors stay unmarked
    if wanted:
        assert y.grad is not None
        torch.testing.assert_close(y.grad, 2 * y.detach() @ flow @ flow.T, rtol=1e-6, atol=1e-7)
    w = f.w.detach().requires_grad_()
    end = y.detach() @ torch.linalg.matrix_exp(torch.sin(TS[-1]) * w)
    loss = end.square().sum() - 3 * torch.sin(TS[-1]) * w.trace()
    assert f.w.grad is not None
    expected = torch.autograd.grad(loss, w)[0]
    torch.testing.assert_close(f.w.grad, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("gradient", AGAIN)
def test_a_state_that_is_detached_inside_of_f_is_refused(gradient: str) -> None:
    class Cut(nn.Module):
        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            with torch.enable_grad():
                y = y.detach().requires_grad_()
                return -torch.autograd.grad(y.pow(4).sum(), y, create_graph=True)[0]

    with pytest.raises(SolverError, match=r"detached y|not among its parameters"):
        gradients(Cut(), gradient, leaf(1.0, 2.0))


class Late(nn.Module):
    """Uses a tensor that is no parameter, and only before t = 0.3."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(real(0.5))
        self.hidden = [leaf(1.0)]

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        dy = -self.rate * y
        return dy + self.hidden[0] if t < 0.3 else dy


@pytest.mark.parametrize("gradient", AGAIN)
def test_a_tensor_that_is_used_at_some_times_only_is_refused_too(gradient: str) -> None:
    with pytest.raises(SolverError, match="not among its parameters"):
        gradients(Late(), gradient, leaf(1.0, 2.0))


class Field(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Linear(3, 8).double(), nn.Linear(8, 3).double()

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.two(torch.tanh(self.one(y))) * torch.cos(t)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("make", ["script", "trace"])
@pytest.mark.parametrize("gradient", ALL)
def test_scripted_and_traced_fields_are_solved_as_plain_ones(
    gradient: str, make: str, frozen: bool
) -> None:
    y0 = leaf(0.3, -0.2, 0.5)
    plain, compiled = Field(), Field()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if make == "script":
            other: Any = torch.jit.script(compiled)
        else:
            other = torch.jit.trace(compiled, (TS[0], y0.detach()))
        found = []
        for f in (other, plain):
            first, rest = list(f.parameters())[:2], list(f.parameters())[2:]
            given: dict[str, Any] = {"parameters": first, "frozen": rest} if frozen else {}
            solver, gm = adaptive(tol=1e-9), GRADIENTS[gradient]
            ys = odeint(f, y0, TS, solver=solver, gradient=gm, **given).ys
            wanted = [y0, *(first if frozen else f.parameters())]
            found.append([ys.detach(), *torch.autograd.grad(ys.square().sum(), wanted)])
    assert_close(*found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gradient", ALL)
def test_f_is_never_called_outside_of_the_span_in_the_states_own_dtype(
    gradient: str, dtype: torch.dtype
) -> None:
    for start, end in ((0.0, 0.1), (0.7, 1.1), (0.1, -0.3), (1 / 3, 0.7)):
        times: list[float] = []

        def f(t: Tensor, y: Tensor, times: list[float] = times) -> Tensor:
            assert t.dtype == y.dtype
            times.append(t.item())
            return -y * t

        ts = real(start, 0.5 * (start + end), end).requires_grad_()
        y0 = torch.ones(2, dtype=dtype, requires_grad=True)
        methods = ("reversible_dopri5",) if gradient == "reversible" else ("dopri5", "rk4")
        for method in methods:
            solver = adaptive(method, 1e-5) if METHODS[method].adaptive else steps(method, 0.07)
            gm = GRADIENTS[gradient]
            ys = odeint(f, y0, ts, solver=solver, gradient=gm, parameters=()).ys
            ys.sum().backward()
        assert min(start, end) <= min(times) and max(times) <= max(start, end)


def decay(k: Tensor, gradient: str) -> Callable[[Tensor], Tensor]:
    def solve(y0: Tensor) -> Tensor:
        return odeint(
            lambda t, y: -k * y, y0, TS, solver=adaptive(tol=1e-10), gradient=GRADIENTS[gradient],
            parameters=(),
        ).ys[-1]  # fmt: skip

    return solve


@pytest.mark.parametrize("gradient", ALL)
def test_vmap_is_refused_by_name(gradient: str) -> None:
    solve = decay(real(0.7), gradient)
    with pytest.raises(SolverError, match=r"torch\.vmap"):
        torch.func.vmap(solve)(torch.ones(4, 2, dtype=torch.float64))


def test_vmap_over_events_and_dense_solutions_is_refused_by_name() -> None:
    rows = torch.ones(4, 2, dtype=torch.float64)
    solver = adaptive(tol=1e-6)

    def event(y0: Tensor) -> Tensor:
        return odeint_event(
            lambda t, y: -y, y0, 0.0, lambda t, y: y[0] - 0.5, solver=solver,
            gradient=GRADIENTS["direct"], limit=2.0,
        ).y  # fmt: skip

    def dense(y0: Tensor) -> Tensor:
        return odeint_dense(lambda t, y: -y, y0, 0.0, 1.0, solver=solver)(0.5)

    for solve in (event, dense):
        with pytest.raises(SolverError, match=r"torch\.vmap"):
            torch.func.vmap(solve)(rows)


@pytest.mark.filterwarnings("ignore:.*torch.jit")  # torch's own use of it
def test_torch_funcs_derivatives_go_through_direct_solves() -> None:
    solve, y0 = decay(real(0.7), "direct"), real(1, 2)
    exact = math.exp(-0.7) * torch.eye(2, dtype=torch.float64)
    for jacobian in (torch.func.jacrev, torch.func.jacfwd):
        torch.testing.assert_close(jacobian(solve)(y0), exact, rtol=1e-8, atol=1e-10)


@pytest.mark.filterwarnings("ignore:.*torch.jit")  # torch's own use of it
@pytest.mark.parametrize("gradient", AGAIN)
def test_other_gradients_refuse_torch_func_and_forward_mode_by_name(gradient: str) -> None:
    solve, y0 = decay(real(0.7), gradient), real(1, 2)
    with pytest.raises(SolverError, match=r"torch\.func"):
        torch.func.grad(lambda y: solve(y).sum())(y0)
    with forward_ad.dual_level(), pytest.raises(SolverError, match="forward-mode"):
        solve(forward_ad.make_dual(y0, torch.ones_like(y0)))
    with pytest.raises(SolverError, match=r"torch\.vmap"):
        torch.autograd.functional.jacobian(solve, y0, vectorize=True)


@pytest.mark.parametrize("gradient", sorted(set(ALL) - set(REAL_ONLY)))
def test_a_last_time_that_the_event_function_gives_ends_the_solve(gradient: str) -> None:
    """The state's gradient is that of a plain solve; the time itself has none."""

    class Falling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.g = nn.Parameter(torch.tensor(9.8, dtype=torch.float64))

        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            return torch.stack((y[1], -self.g))

    def event(t: Tensor, y: Tensor) -> Tensor:
        return torch.zeros_like(t) if t > 2 else y[0]

    f, y0 = Falling(), leaf(100.0, 1.0)
    solver = adaptive(tol=1e-9)
    if gradient == "reversible":
        solver = RungeKutta(METHODS["reversible_dopri5"], solver.controller)
    found = odeint_event(f, y0, 0.0, event, solver=solver, gradient=GRADIENTS[gradient], limit=50.0)
    assert found.index == 0 and found.fixed
    assert found.t.item() == pytest.approx(2.0, abs=1e-9)
    found.y[0].backward(retain_graph=True)
    assert found.y[0].item() == pytest.approx(100 + 2 - 9.8 * 2, abs=1e-7)
    assert f.g.grad is not None and f.g.grad.item() == pytest.approx(-2.0, abs=1e-7)
    torch.testing.assert_close(y0.grad, real(1, 2), rtol=0, atol=1e-7)
    with pytest.raises(SolverError, match="no gradient"):
        found.t.backward()


LAST_TIMES: list[Callable[[Tensor, Tensor], Tensor]] = [
    lambda t, y: torch.where(t < 2, y[0] + 10, torch.zeros_like(y[0])),
    lambda t, y: torch.relu(2 - t),
    lambda t, y: torch.clamp(2 - t, min=0.0),
    lambda t, y: torch.where(t < 2, torch.ones_like(t), torch.zeros_like(t)),
]


@pytest.mark.parametrize("event", LAST_TIMES)
@pytest.mark.parametrize("gradient", ["adjoint", "direct"])
def test_a_last_time_may_be_written_in_any_way(
    gradient: str, event: Callable[[Tensor, Tensor], Tensor]
) -> None:
    k = leaf(0.3)
    found = odeint_event(
        lambda t, y: k * y, real(1.0), 0.0, event, solver=adaptive(tol=1e-10),
        gradient=GRADIENTS[gradient], limit=50.0, parameters=(k,),
    )  # fmt: skip
    found.y.sum().backward()
    assert found.t.item() == pytest.approx(2.0, abs=1e-9)
    assert k.grad is not None and k.grad.item() == pytest.approx(2 * math.exp(0.6), rel=1e-6)


@pytest.mark.parametrize(
    "event",
    [
        lambda t, y: y.detach()[0] - 2,  # autograd sees nothing of it, and the time moves
        lambda t, y: (y[0] < 2).to(y),  # jumps to 0, but not at a time of its own
    ],
)
@pytest.mark.parametrize("gradient", ["adjoint", "direct"])
def test_an_event_of_the_state_that_autograd_cannot_see_is_refused(
    gradient: str, event: Callable[[Tensor, Tensor], Tensor]
) -> None:
    k = leaf(0.3)
    with pytest.raises(SolverError, match="rate of change 0"):
        odeint_event(
            lambda t, y: k * y, real(1.0), 0.0, event, solver=adaptive(tol=1e-10),
            gradient=GRADIENTS[gradient], limit=50.0, parameters=(k,),
        )  # fmt: skip


@pytest.mark.parametrize("gradient", ["adjoint", "direct"])
def test_a_limit_that_wants_a_gradient_has_one_where_nothing_happens(gradient: str) -> None:
    limit = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    found = odeint_event(
        lambda t, y: -y, leaf(1.0), 0.0, lambda t, y: y[0] + 1, solver=adaptive(tol=1e-9),
        gradient=GRADIENTS[gradient], limit=limit, parameters=(),
    )  # fmt: skip
    assert found.index is None
    (found.y.sum() + 2 * found.t).backward()
    assert limit.grad is not None
    assert limit.grad.item() == pytest.approx(2 - math.exp(-1.5), abs=1e-7)
