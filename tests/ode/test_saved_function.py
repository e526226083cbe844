"""The f of a backward pass is that of the solve, and autograd's graph keeps no module alive."""

import copy
import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from chosen import ADJOINTS, GRADIENTS, REAL_ONLY, Net, adaptive, leaf, real, steps
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parametrizations, parametrize

from node_repro.ode import ODEBlock, SolverError, odeint, odeint_dense, odeint_event
from node_repro.ode.engines.compiled import Compiled
from node_repro.ode.solver import RungeKutta

AGAIN = sorted(set(GRADIENTS) - {"direct", *REAL_ONLY})
"""The gradient methods that evaluate f in the backward pass."""
SOLVERS = {"dopri5": adaptive("dopri5", 1e-8), "rk4": steps("rk4", 0.05)}
TS = real(0, 0.4, 1)


def solved(f: Any, gradient: str, solver: RungeKutta, y0: Tensor, **given: Any) -> Tensor:  # noqa: ANN401
    return odeint(f, y0, TS, solver=solver, gradient=GRADIENTS[gradient], **given).ys


def expected(f: nn.Module, solver: RungeKutta) -> list[Tensor]:
    """The gradients that autograd gives."""
    ys = solved(f, "direct", solver, real(1, -1, 0.5))
    return list(torch.autograd.grad(ys.square().sum(), list(f.parameters())))


class Keeps(Net):
    """A module that solves itself and keeps what it gets."""

    def forward(self, t: Tensor, y: Any) -> Any:  # noqa: ANN401
        if isinstance(y, tuple):
            return tuple(self.forward(t, part) for part in y)
        return super().forward(t, y)

    def keep(self, solve: Callable[["Keeps"], Any]) -> "Keeps":
        self.kept = solve(self)
        return self


def alive_after(solve: Callable[[Keeps], Any]) -> int:
    seen = [weakref.ref(Keeps().keep(solve)) for _ in range(3)]
    gc.collect()
    return sum(module() is not None for module in seen)


Y0 = torch.ones(3, dtype=torch.float64)
SOLVES: dict[str, Callable[[Keeps, str], Any]] = {
    "odeint": lambda f, g: solved(f, g, SOLVERS["dopri5"], Y0),
    "its last state": lambda f, g: solved(f, g, SOLVERS["dopri5"], Y0)[-1].clone(),
    "a bound method": lambda f, g: solved(
        f.forward, g, SOLVERS["rk4"], Y0, parameters=f.parameters()
    ).sum(),
    "a tuple": lambda f, g: (
        odeint(f, (Y0, 2 * Y0), TS, solver=SOLVERS["rk4"], gradient=GRADIENTS[g]).ys
    ),
    "an event": lambda f, g: odeint_event(
        f, Y0, 0.0, lambda t, y: t - 0.3, solver=SOLVERS["dopri5"], gradient=GRADIENTS[g], limit=1.0
    ),
    "a block": lambda f, g: ODEBlock(f, solver=SOLVERS["rk4"], gradient=GRADIENTS[g])(Y0) * 2,
}


@pytest.mark.parametrize("solve", SOLVES)
@pytest.mark.parametrize("gradient", sorted(set(GRADIENTS) - set(REAL_ONLY)))
def test_a_module_that_keeps_its_solution_is_freed(gradient: str, solve: str) -> None:
    assert alive_after(lambda f: SOLVES[solve](f, gradient)) == 0


@pytest.mark.parametrize("gradient", REAL_ONLY)
def test_a_module_that_keeps_its_sensitivities_is_freed(gradient: str) -> None:
    assert alive_after(lambda f: solved(f, gradient, SOLVERS["rk4"], Y0)[-1]) == 0


def test_a_module_that_keeps_its_dense_solution_is_freed() -> None:
    assert alive_after(lambda f: odeint_dense(f, Y0, 0.0, 1.0, solver=SOLVERS["dopri5"])(0.5)) == 0


@pytest.mark.parametrize("gradient", AGAIN)
def test_nothing_grows_over_a_hundred_solves_of_a_module_that_keeps_its_solution(
    gradient: str,
) -> None:
    f, counts = Keeps(), []
    for n in range(100):
        f.keep(lambda f: solved(f, gradient, steps("euler", 0.5), Y0)[-1] + 0)
        if n in (9, 99):
            gc.collect()
            counts.append(sum(issubclass(type(x), Tensor) for x in gc.get_objects()))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("gradient", AGAIN)
def test_a_module_that_is_gone_before_the_backward_pass_has_its_gradient(
    gradient: str, solver: str
) -> None:
    f = Net()
    parameters, right = list(f.parameters()), expected(f, SOLVERS[solver])
    ys = solved(f, gradient, SOLVERS[solver], real(1, -1, 0.5))
    del f
    found = torch.autograd.grad(ys.square().sum(), parameters)
    torch.testing.assert_close(list(found), right, rtol=2e-5, atol=1e-6)


def replace_by_assignment(f: nn.Module) -> None:
    f.load_state_dict({name: 2 * p for name, p in f.state_dict().items()}, assign=True)


def replace_by_attributes(f: nn.Module) -> None:
    for name, p in list(f.named_parameters()):
        setattr(f, name, nn.Parameter(p.detach() + 1))


def move_to_meta_and_back(f: nn.Module) -> None:
    f.to_empty(device="meta")
    f.to_empty(device="cpu")


@pytest.mark.parametrize(
    "replace", [replace_by_assignment, replace_by_attributes, move_to_meta_and_back]
)
@pytest.mark.parametrize("gradient", AGAIN)
def test_parameters_that_were_replaced_after_the_solve_have_the_gradient_of_the_solve(
    gradient: str, replace: Callable[[nn.Module], None]
) -> None:
    f, solver = Net(), SOLVERS["rk4"]
    parameters, right = list(f.parameters()), expected(f, solver)
    ys = solved(f, gradient, solver, real(1, -1, 0.5))
    replace(f)
    now = list(f.parameters())
    found = torch.autograd.grad(ys.square().sum(), parameters)
    torch.testing.assert_close(list(found), right, rtol=1e-5, atol=1e-7)
    assert all(p is q for p, q in zip(f.parameters(), now, strict=True))  # and stay replaced


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("gradient", sorted(set(GRADIENTS) - {"direct"}))
def test_swapped_in_parameters_have_their_gradient(gradient: str, frozen: bool) -> None:
    found = []
    for name in (gradient, "direct"):
        block = ODEBlock(Net(), solver=SOLVERS["dopri5"], gradient=GRADIENTS[name])
        block.requires_grad_(not frozen)
        scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
        swapped = {name: p.detach() * scale for name, p in block.named_parameters()}
        y = functional_call(block, swapped, (real(1, -1, 0.5),))
        found.append(torch.autograd.grad(y.square().sum(), scale)[0])
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("gradient", AGAIN)
def test_the_gradient_goes_to_the_module_that_was_solved_and_not_to_its_copy(gradient: str) -> None:
    f = Net()
    ys = solved(f, gradient, SOLVERS["rk4"], real(1, -1, 0.5))
    other = copy.deepcopy(f)
    ys.square().sum().backward()
    assert all(p.grad is not None for p in f.parameters())
    assert all(p.grad is None for p in other.parameters())


class Driven(nn.Module):
    """dy/dt = u - rate y with an input u, which is a plain attribute, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(real(0.5))
        self.u = real(1, -1, 0.5)
        self.gain: Tensor
        self.register_buffer("gain", real(2.0))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.gain * self.u - self.rate * y


def write_a_weight_past_autograd(f: Driven) -> None:
    f.rate.data = f.rate.data * 3


def write_a_buffer(f: Driven) -> None:
    f.gain.mul_(1.01)


def set_another_input(f: Driven) -> None:
    f.u = f.u.flip(0)


@pytest.mark.parametrize(
    "change", [write_a_weight_past_autograd, write_a_buffer, set_another_input]
)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("gradient", AGAIN)
@pytest.mark.filterwarnings("ignore:inverting the steps:UserWarning")
@pytest.mark.filterwarnings("ignore:the backward solve drifted:UserWarning")
def test_a_function_that_changed_after_the_solve_is_refused(
    gradient: str, solver: str, change: Callable[[Driven], None]
) -> None:
    f = Driven()
    ys = solved(f, gradient, SOLVERS[solver], real(1, 2, 3))
    change(f)
    with pytest.raises(SolverError, match="f has changed since the solve"):
        ys.square().sum().backward()


class Turning(nn.Module):
    """dy/dt = sign w (-y2, y1): another sign keeps the length and the angle to y."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.sign = nn.Parameter(real(0.5)), 1.0

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.sign * self.w * torch.stack((-y[1], y[0]))


class Gated(Turning):
    """0 at the start."""

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.sign * self.w * t * y


@pytest.mark.parametrize("f", [Turning(), Gated()])
@pytest.mark.parametrize("gradient", sorted({*ADJOINTS, "checkpointed"}))
def test_a_change_that_keeps_lengths_or_begins_late_is_refused(gradient: str, f: Turning) -> None:
    f.sign = 1.0
    ys = solved(f, gradient, SOLVERS["dopri5"], real(1, 2))
    f.sign = -1.0
    with pytest.raises(SolverError, match="f has changed since the solve"):
        ys[-1].sum().backward()


@pytest.mark.parametrize("gradient", AGAIN)
def test_noise_that_a_short_lived_module_draws_once_is_remembered(gradient: str) -> None:
    class Noisy(nn.Module):
        def __init__(self, net: Net) -> None:
            super().__init__()
            self.net, self.noise = net, None

        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            if self.noise is None:
                self.noise = torch.randn_like(y)
            return self.net(t, y) + self.noise

    net = Net()
    ys = solved(Noisy(net), gradient, SOLVERS["rk4"], real(1, -1, 0.5))
    ys[-1].sum().backward()
    assert net.inner.grad is not None and net.inner.grad.abs().sum() > 0


@pytest.mark.parametrize("gradient", AGAIN)
def test_a_module_that_cannot_be_asked_whether_it_is_true_has_its_gradient(gradient: str) -> None:
    class Compiled(Net):
        def __len__(self) -> int:  # as torch.compile's modules around others
            raise TypeError("no length")

    f = Compiled()
    ys = solved(f, gradient, SOLVERS["rk4"], real(1, -1, 0.5))
    found = torch.autograd.grad(ys.square().sum(), list(f.parameters()))
    torch.testing.assert_close(list(found), expected(f, SOLVERS["rk4"]), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("gradient", AGAIN)
def test_weights_that_are_frozen_for_the_solve_alone_get_no_gradient(gradient: str) -> None:
    f, y0 = Net(), leaf(1, -1, 0.5)
    f.requires_grad_(False)
    ys = solved(f, gradient, SOLVERS["rk4"], y0)
    f.requires_grad_(True)
    ys.square().sum().backward()
    assert y0.grad is not None and f.inner.grad is None


@pytest.mark.parametrize("gradient", AGAIN)
def test_a_closure_around_replaced_weights_is_warned_of(gradient: str) -> None:
    net = Net().requires_grad_(False)
    weights = {name: p.clone().requires_grad_() for name, p in net.named_parameters()}

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, y: Tensor) -> Tensor:
            given = tuple(self.net.parameters())
            f = lambda t, y: self.net(t, y)  # noqa: E731
            return solved(f, gradient, SOLVERS["rk4"], y, parameters=given)[-1]

    swapped = {f"net.{name}": p for name, p in weights.items()}
    y = functional_call(Outer(), swapped, (leaf(1, -1, 0.5),))
    with pytest.warns(UserWarning, match="pass the module itself"):
        y.sum().backward()


def test_a_block_that_was_pickled_with_a_span_of_its_own_is_read() -> None:
    block = ODEBlock(Net(), solver=SOLVERS["rk4"], gradient=GRADIENTS["direct"], span=(0, 0.5))
    state = {**vars(block), "span": (0.0, 0.5)}
    del state["_span"]
    old = ODEBlock.__new__(ODEBlock)
    old.__setstate__(state)
    y = real(1, -1, 0.5)
    torch.testing.assert_close(old(y), block(y), rtol=0, atol=0)


@pytest.mark.parametrize("gradient", AGAIN)
def test_an_optimizers_step_before_the_backward_pass_is_refused(gradient: str) -> None:
    f = Net()
    optimizer = torch.optim.SGD(f.parameters(), lr=0.1)
    ys = solved(f, gradient, SOLVERS["rk4"], real(1, -1, 0.5))
    f.inner.grad = torch.ones_like(f.inner)
    optimizer.step()
    with pytest.raises(SolverError, match="changed in place"):
        ys.sum().backward()


@pytest.mark.parametrize("gradient", sorted(ADJOINTS))
def test_noise_inside_of_f_is_warned_of(gradient: str) -> None:
    class Noisy(Net):
        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            return super().forward(t, y) + torch.randn_like(y)

    ys = solved(Noisy(), gradient, steps("rk4", 0.5), real(1, -1, 0.5))
    with pytest.warns(UserWarning, match="other values for the same t and y"):
        ys.sum().backward()


@pytest.mark.parametrize("gradient", sorted(set(GRADIENTS) - {"direct"}))
def test_cached_parametrizations_are_refused(gradient: str) -> None:
    f = nn.Module()
    f.layer = parametrizations.weight_norm(nn.Linear(3, 3, dtype=torch.float64))
    f.forward = lambda t, y: f.layer(y)  # type: ignore[method-assign]
    with parametrize.cached(), pytest.raises(SolverError, match=r"parametrize\.cached"):
        solved(f, gradient, SOLVERS["rk4"], real(1, -1, 0.5))


@pytest.mark.parametrize("gradient", AGAIN)
def test_a_deleted_module_that_needs_an_attribute_with_a_graph_is_refused(gradient: str) -> None:
    f, weight = Driven(), leaf(1.0)
    f.u = (weight * 2).expand(3)
    ys = solved(f, gradient, SOLVERS["rk4"], real(1, 2, 3))
    del f
    with pytest.raises(SolverError, match="'u'"):
        ys.sum().backward()


@pytest.mark.parametrize("gradient", sorted(set(GRADIENTS) - {"direct"}))
def test_a_graph_that_was_made_before_the_solve_is_refused_or_right(gradient: str) -> None:
    f, weight = Driven(), leaf(1.0, 2.0, 3.0)
    f.u = weight.exp().sin()  # what it was made of is declared, and not the tensor itself
    given = (*f.parameters(), weight)
    with pytest.raises(SolverError, match="computed, with a graph, before the solve"):
        solved(f, gradient, SOLVERS["rk4"], real(1, 2, 3), parameters=given).sum().backward()


@pytest.mark.parametrize("replace", ["load_state_dict", "functional_call", "span"])
def test_a_trained_time_that_is_replaced_is_the_blocks_time(replace: str) -> None:
    class Constant(nn.Module):
        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            return torch.ones_like(y)

    end = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
    new = nn.Parameter(torch.tensor(3.0, dtype=torch.float64))
    block = ODEBlock(
        Constant(), solver=SOLVERS["dopri5"], gradient=GRADIENTS["adjoint"], span=(0, end)
    )
    if replace == "functional_call":
        y = functional_call(block, {"trained_times.0": new}, (real(0.0),))
    else:
        if replace == "span":
            block.span = (0.0, new)
        else:
            block.load_state_dict({"trained_times.0": new}, assign=True)
        y = block(real(0.0))
        new = next(block.parameters())
    assert y.item() == pytest.approx(3.0)
    y.sum().backward()
    assert new.grad is not None and new.grad.item() == pytest.approx(1.0)
    assert end.grad is None


@pytest.mark.parametrize("gradient", ["adjoint", "checkpointed"])
def test_hooks_on_saved_tensors_do_not_keep_a_solve_from_being_compiled(gradient: str) -> None:
    f, solver = Net(), replace(SOLVERS["dopri5"], engine=Compiled(backend="uncompiled"))
    with torch.autograd.graph.saved_tensors_hooks(lambda x: x.detach(), lambda x: x):
        ys = solved(f, gradient, solver, Y0)
        ys[-1].sum().backward()  # a solve that is not compiled gives a warning
    found = [p.grad for p in f.parameters()]
    ys = solved(f, gradient, SOLVERS["dopri5"], Y0)
    for grad, p in zip(torch.autograd.grad(ys[-1].sum(), list(f.parameters())), found, strict=True):
        assert torch.allclose(grad, real(0.0) if p is None else p, rtol=1e-9)
