"""torchdiffeq's functions: its programs, with its arguments, give its results here.

Two solvers at one tolerance differ by what both of them err, so adaptive methods are compared by
their errors against a tight solution; fixed steps are the same steps, and agree to rounding.
"""

import math
from types import ModuleType
from typing import Any

import pytest
import torch
from chosen import Calls, Net, leaf, real
from torch import Tensor, nn

from node_repro.ode import SolverError, drop_in

peer = pytest.importorskip("torchdiffeq")
ADAPTIVE = ["dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun"]
FIXED = ["euler", "midpoint", "heun2", "heun3", "rk4"]
BOTH = pytest.mark.parametrize("name", ["odeint", "odeint_adjoint"])
TS = (0.0, 0.4, 1.0, 2.5)


def results(
    library: ModuleType, name: str, ts: tuple[float, ...] = TS, **given: Any
) -> list[Tensor]:
    """The states at ts, and a loss's gradients with respect to y0, ts and the parameters."""
    f, y0, t = Net(), leaf(0.5, -0.2, 0.9), leaf(*ts)
    ys = getattr(library, name)(f, y0, t, **given)
    return [ys.detach(), *torch.autograd.grad(ys.square().sum(), (y0, t, *f.parameters()))]


def errors(found: list[Tensor], aim: list[Tensor]) -> list[float]:
    """Relative, of each result."""
    pairs = zip(found, aim, strict=True)
    return [((a - b).abs().max() / b.abs().max()).item() for a, b in pairs]


def exact() -> list[Tensor]:
    return results(drop_in, "odeint", method="dopri5", rtol=1e-12, atol=1e-12)


# --- methods


@BOTH
@pytest.mark.parametrize("method", ADAPTIVE)
def test_an_adaptive_method_errs_no_more_than_theirs(name: str, method: str) -> None:
    tol = 1e-4 if method in ("fehlberg2", "adaptive_heun") else 1e-7
    given = {"method": method, "rtol": tol, "atol": tol}
    aim = exact()
    ours = errors(results(drop_in, name, **given), aim)
    theirs = errors(results(peer, name, **given), aim)
    # fehlberg2's estimate has a factor of 1/512: its errors are some 50 tolerances for both
    assert max(theirs) < (1000 if method == "fehlberg2" else 10_000) * tol
    assert ours[0] <= max(1.5 * theirs[0], 10 * tol)
    assert max(ours) <= max(1.5 * max(theirs), 10 * tol)


def test_the_defaults_are_dopri5_at_its_tolerances() -> None:
    given = {"method": "dopri5", "rtol": 1e-7, "atol": 1e-9}
    for a, b in zip(results(drop_in, "odeint"), results(drop_in, "odeint", **given), strict=True):
        assert torch.equal(a, b)
    assert max(errors(results(drop_in, "odeint"), exact())) < 1e-5


@pytest.mark.parametrize("ts", [TS, TS[::-1], (0.0, 2.0)])
@pytest.mark.parametrize("method", FIXED)
def test_steps_from_output_to_output_are_theirs_to_rounding(
    method: str, ts: tuple[float, ...]
) -> None:
    ours, theirs = (results(library, "odeint", ts, method=method) for library in (drop_in, peer))
    assert max(errors([ours[0]], [theirs[0]])) < 1e-14
    for a, b in zip(ours[1:], theirs[1:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("options", [None, {"step_size": 0.1}])
@pytest.mark.parametrize("method", FIXED)
def test_the_adjoint_of_fixed_steps_is_theirs_to_rounding(
    method: str, options: dict[str, Any] | None
) -> None:
    ours, theirs = (
        results(library, "odeint_adjoint", method=method, options=options)
        for library in (drop_in, peer)
    )
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if i == 2:  # of the times: dL/dt0 is -a f here, and solved for by the same steps there
            a, b = a[1:], b[1:]
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("method", FIXED)
def test_steps_of_a_size_that_meets_the_outputs_are_theirs_to_rounding(method: str) -> None:
    given = {"method": method, "options": {"step_size": 0.1}}
    ours, theirs = (results(library, "odeint", **given) for library in (drop_in, peer))
    for i in (0, 1, 3, 4, 5):  # theirs of the times is zero where an output meets a step
        torch.testing.assert_close(ours[i], theirs[i], rtol=1e-13, atol=1e-13)
    assert errors(ours, exact())[2] < {"euler": 0.2}.get(method, 0.02)


@pytest.mark.parametrize(("method", "within"), [("heun3", 1e-13), ("rk4", 1e-5), ("heun2", 1e-3)])
def test_outputs_within_steps_agree_with_their_cubic_ones(method: str, within: float) -> None:
    # heun3's dense output is the same cubic; rk4's and heun2's are of the method's own stages
    given = {"method": method, "options": {"step_size": 0.15, "interp": "cubic"}}
    ours, theirs = (results(library, "odeint", **given)[0] for library in (drop_in, peer))
    assert max(errors([ours], [theirs])) < within
    linear = results(drop_in, "odeint", method=method, options={"step_size": 0.15})
    assert torch.equal(linear[0], ours)


def test_outputs_within_steps_are_nearer_than_their_linear_ones() -> None:
    given = {"method": "rk4", "options": {"step_size": 0.15}}
    ours, theirs = (
        errors(results(library, "odeint", **given), exact())[0] for library in (drop_in, peer)
    )
    assert ours < 1e-6 and theirs > 1e-4


def thirds(func: Any, y0: Any, t: Tensor) -> Tensor:  # noqa: ANN401
    """A grid with one more time a third of the way to each output."""
    return torch.cat((t, t[:-1] + (t[1:] - t[:-1]) / 3)).sort(descending=bool(t[0] > t[-1])).values


@BOTH
@pytest.mark.parametrize("ts", [TS, TS[::-1]])
def test_the_steps_are_those_of_a_grid_constructor(name: str, ts: tuple[float, ...]) -> None:
    given = {"method": "rk4", "options": {"grid_constructor": thirds}}
    ours, theirs = (results(library, name, ts, **given) for library in (drop_in, peer))
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-13, atol=1e-13)
    # the way back: theirs asks for another grid from output to output, ours takes the same steps
    within = 1e-12 if name == "odeint" else 0.02
    assert max(errors(ours, theirs)) < within


@pytest.mark.parametrize("method", FIXED)
def test_perturbed_steps_see_only_their_own_side_of_a_jump(method: str) -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.where(t < 0.5, -1.0, 2.0) * torch.ones_like(y) if t != 0.5 else y * math.nan

    for options in ({"perturb": True}, {"perturb": True, "step_size": 0.25}):
        given = {"method": method, "options": options}
        ys = [library.odeint(f, real(1.0), real(0, 0.5, 1), **given) for library in (drop_in, peer)]
        torch.testing.assert_close(ys[0], real(1.0, 0.5, 1.5)[:, None], rtol=1e-14, atol=0)
        torch.testing.assert_close(ys[0], ys[1], rtol=1e-14, atol=0)


def test_lsoda_of_scipy_solves_forwards_and_back() -> None:
    given = {"method": "scipy_solver", "options": {"solver": "LSODA"}, "rtol": 1e-7, "atol": 1e-7}
    aim = exact()
    ours = errors(results(drop_in, "odeint_adjoint", **given), aim)
    theirs = errors(results(peer, "odeint_adjoint", **given), aim)
    assert max(ours) < 1e-5 and max(theirs) < 1e-5
    with torch.no_grad():
        ys = drop_in.odeint(Net(), real(0.5, -0.2, 0.9), real(*TS), **given)
    assert errors([ys], aim[:1])[0] < 1e-5


# --- states, times, tolerances


class Pair(nn.Module):
    """A field of two tensors of different shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(real(0.7))

    def forward(self, t: Tensor, y: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        a, b = y
        return -self.rate * a * b.sum(), torch.stack((a.sum() * torch.cos(t), -b[0]))


@BOTH
@pytest.mark.parametrize("tolerances", ["number", "each part", "each element", "tensor"])
@pytest.mark.parametrize("ends", [(0.0, 1.0, 2.0), (2.0, 0.5, 0.0)])
def test_a_tuple_of_states_is_solved_part_by_part(
    name: str, tolerances: str, ends: tuple[float, ...]
) -> None:
    rtol: Any = {
        "number": 1e-8,
        "each part": (1e-8, 1e-7),
        "each element": (torch.full((4,), 1e-8), real(1e-7, 1e-8)),
        "tensor": torch.tensor(1e-8),
    }[tolerances]
    back = {"adjoint_rtol": 1e-8, "adjoint_atol": 1e-9} if name == "odeint_adjoint" else {}
    found = []
    for library in (drop_in, peer):
        f = Pair()
        y0 = (leaf(1.0, 0.5, 0.3, -0.2).reshape(2, 2), leaf(0.1, 0.4))
        ys = getattr(library, name)(f, y0, real(*ends), rtol=rtol, atol=1e-9, **back)
        assert isinstance(ys, tuple) and [y.shape for y in ys] == [(3, 2, 2), (3, 2)]
        loss = ys[0].square().sum() + ys[1].sum()
        found.append([*ys, *torch.autograd.grad(loss, (*y0, *f.parameters()))])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@BOTH
@pytest.mark.parametrize("t_dtype", [torch.float32, torch.float64])
def test_float32_takes_the_default_tolerances_and_stays_float32(
    name: str, t_dtype: torch.dtype
) -> None:
    f = Net().float()
    y0 = torch.tensor([0.5, -0.2, 0.9], requires_grad=True)
    t = torch.tensor(TS, dtype=t_dtype, requires_grad=True)
    ys = getattr(drop_in, name)(f, y0, t)
    gy0, gt = torch.autograd.grad(ys.square().sum(), (y0, t))
    assert (ys.dtype, gy0.dtype, gt.dtype) == (torch.float32, torch.float32, t_dtype)
    aim = exact()
    assert max(errors([ys.double(), gy0.double(), gt.double()], aim[:3])) < 1e-4


def test_complex_states_are_solved_as_theirs() -> None:
    y0 = torch.tensor([1.0 + 0.5j, -0.3j], dtype=torch.complex128)
    ys = [
        library.odeint(lambda t, y: 1j * y * torch.cos(t), y0, real(0, 1, 3), rtol=1e-9, atol=1e-9)
        for library in (drop_in, peer)
    ]
    torch.testing.assert_close(ys[0], ys[1], rtol=1e-7, atol=1e-7)


def test_a_tolerance_for_each_element_is_kept_by_each() -> None:
    # one element is let go: the steps become those that the other needs
    calls = []
    for atol in (real(1e-9, 1e-9), real(1e-9, 1e3)):
        f = Calls(lambda t, y: torch.stack((-y[0], torch.cos(40 * t) + 0 * y[1])))
        ys = drop_in.odeint(f, real(1.0, 0.0), real(0, 1), rtol=0.0, atol=atol)
        assert float(ys[-1, 0]) == pytest.approx(math.exp(-1), abs=1e-8)
        calls.append(len(f.times))
    assert calls[1] < calls[0] / 3


# --- options of adaptive methods


def test_steps_are_told_as_theirs_are() -> None:
    options = {
        "first_step": 0.01, "safety": 0.8, "ifactor": 2.0, "dfactor": 0.5,
        "min_step": 1e-9, "max_step": 0.1, "max_num_steps": 1000, "dtype": torch.float64,
    }  # fmt: skip
    f = Calls(lambda t, y: -y)
    ys = drop_in.odeint(f, real(1.0), real(0, 1), method="dopri5", options=options)
    theirs = Calls(lambda t, y: -y)
    aim = peer.odeint(theirs, real(1.0), real(0, 1), method="dopri5", options=options)
    torch.testing.assert_close(ys, aim, rtol=1e-9, atol=1e-9)
    # 0.01, 0.02, 0.04, 0.08, then ten of at most 0.1; they go on to 1.05
    assert len(f.times) == pytest.approx(len(theirs.times), abs=6)


def test_too_many_steps_from_output_to_output_are_refused() -> None:
    f, options = lambda t, y: -1000 * y, {"max_num_steps": 20}
    with pytest.raises(SolverError) as caught:
        drop_in.odeint(f, real(1.0), real(0, 1), options=options)
    assert caught.value.kind == "max_steps"
    with pytest.raises(AssertionError):
        peer.odeint(f, real(1.0), real(0, 1), options=options)
    many = torch.linspace(0, 1, 100, dtype=torch.float64)  # their count begins anew at each
    drop_in.odeint(f, real(1.0), many, options=options)


def jump(t: Tensor, y: Tensor) -> Tensor:
    """-y before t = 1, and 2 from then on."""
    return torch.where(t < 1, -y, 2.0)


@pytest.mark.parametrize("method", ADAPTIVE)
@BOTH
def test_a_solve_restarts_at_a_jump(name: str, method: str) -> None:
    given = {"method": method, "rtol": 1e-6, "atol": 1e-6}
    if name == "odeint_adjoint":
        given["adjoint_params"] = ()
    with_jump, without = Calls(jump), Calls(jump)
    y0 = leaf(1.0, 3.0)
    options = {"jump_t": real(1.0)}
    ys = getattr(drop_in, name)(with_jump, y0, real(0, 0.5, 2), options=options, **given)
    getattr(drop_in, name)(without, y0, real(0, 0.5, 2), **given)
    within = 2e-4 if method == "fehlberg2" else 1e-5
    torch.testing.assert_close(ys[-1], y0 / math.e + 2, rtol=within, atol=0)
    assert 1.0 not in with_jump.times
    assert len(with_jump.times) < len(without.times)
    (g,) = torch.autograd.grad(ys[-1].sum(), y0)
    torch.testing.assert_close(g, real(1 / math.e, 1 / math.e), rtol=within, atol=0)


def test_the_time_of_a_jump_has_a_gradient() -> None:
    # y(2) = y0 e^-s + 2 (2 - s) for a jump at s
    s = leaf(1.0)
    ys = drop_in.odeint(jump, real(1.0), real(0, 2), rtol=1e-9, options={"jump_t": s})
    (g,) = torch.autograd.grad(ys[-1, 0], s)
    assert g.item() == pytest.approx(-math.exp(-1) - 2, rel=1e-7)


@pytest.mark.parametrize("ends", [(0.0, 0.9, 2.0), (2.0, 1.1, 0.0)])
def test_stops_are_met_in_any_order_both_ways(ends: tuple[float, ...]) -> None:
    f = Calls(lambda t, y: -y * torch.cos(t))
    options = {"step_t": real(1.3, 0.4, 7.0), "jump_t": real(1.0, -3.0)}
    ys = drop_in.odeint(f, real(1.0), real(*ends), options=options)
    plain = drop_in.odeint(f, real(1.0), real(*ends))
    torch.testing.assert_close(ys, plain, rtol=1e-7, atol=1e-8)
    for stop in (0.4, 1.0, 1.3):
        assert min(abs(time - stop) for time in f.times) < 1e-15


# --- the adjoint's arguments


@pytest.mark.parametrize(
    "given",
    [
        {"adjoint_options": {"norm": "seminorm"}},
        {"adjoint_rtol": 1e-9, "adjoint_atol": 1e-10},
        {"method": "rk4", "options": {"step_size": 0.02}, "adjoint_rtol": 1e-9},
        {"adjoint_method": "dopri8"},
        {"adjoint_method": "rk4", "adjoint_options": {"step_size": 0.02}},
        {"options": {"first_step": 0.1}, "adjoint_options": {"max_step": 0.3}},
        {"options": {"jump_t": torch.tensor([0.7])}, "adjoint_options": {"norm": "seminorm"}},
        {"adjoint_options": {"jump_t": torch.tensor([0.7]), "norm": "seminorm"}},
        {"method": "rk4", "options": {"step_size": 0.02}, "adjoint_method": "dopri5",
         "adjoint_options": {}},
    ],
)  # fmt: skip
def test_the_backward_solve_is_told_apart(given: dict[str, Any]) -> None:
    given = {"rtol": 1e-7, "atol": 1e-7, "method": "dopri5"} | given
    aim = exact()
    ours = errors(results(drop_in, "odeint_adjoint", **given), aim)
    theirs = errors(results(peer, "odeint_adjoint", **given), aim)
    assert max(theirs) < 1e-4
    assert all(a <= max(2 * b, 1e-5) for a, b in zip(ours, theirs, strict=True))


def test_the_seminorm_leaves_the_parameters_out() -> None:
    calls = []
    for norm in ({}, {"norm": "seminorm"}):
        f = Net(gain=3.0)
        ys = drop_in.odeint_adjoint(
            f, leaf(0.5, -0.2, 0.9), real(0, 5), rtol=1e-6, atol=1e-6, adjoint_options=norm
        )
        counted = 0

        def count(*_: Any) -> None:
            nonlocal counted
            counted += 1

        f.register_forward_hook(count)
        ys[-1].sum().backward()
        calls.append(counted)
    assert calls[1] < calls[0]


def test_only_the_parameters_that_are_given_get_a_gradient() -> None:
    for library in (drop_in, peer):
        f, y0 = Net(), leaf(0.5, -0.2, 0.9)
        library.odeint_adjoint(f, y0, real(0, 1), adjoint_params=(f.bias,))[-1].sum().backward()
        assert f.bias.grad is not None and f.inner.grad is None and f.outer.grad is None
        f, y0 = Net(), leaf(0.5, -0.2, 0.9)
        library.odeint_adjoint(f, y0, real(0, 1), adjoint_params=())[-1].sum().backward()
        assert y0.grad is not None and f.bias.grad is None


def test_parameters_may_be_the_result_of_another_network() -> None:
    found = []
    for library in (drop_in, peer):
        code = leaf(0.3, -0.4)
        rates = torch.tanh(code) * 2
        ys = library.odeint_adjoint(
            lambda t, y, rates=rates: rates * y, real(1.0, 2.0), real(0, 1), adjoint_params=[rates]
        )
        found += torch.autograd.grad(ys[-1].sum(), code)
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-7)


def test_a_closure_over_an_undeclared_parameter_is_refused() -> None:
    rate = leaf(0.3)
    ys = drop_in.odeint_adjoint(lambda t, y: rate * y, leaf(1.0), real(0, 1), adjoint_params=())
    with pytest.raises(SolverError, match="not among its parameters"):
        ys[-1].sum().backward()
