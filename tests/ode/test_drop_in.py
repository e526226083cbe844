"""torchdiffeq's functions: its programs, with its arguments, give its results here.

Two solvers at one tolerance differ by what both of them err, so adaptive methods are compared by
their errors against a tight solution; fixed steps are the same steps, and agree to rounding.
"""

import math
from typing import Any

import pytest
import torch
from chosen import Calls, Net, leaf, real
from drop_in_cases import ADAPTIVE, BOTH, FIXED, TS, errors, exact, results
from torch import Tensor, nn

from node_repro.ode import drop_in

peer = pytest.importorskip("torchdiffeq")


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


@pytest.mark.parametrize("method", ["dopri5", "dopri8", "bosh3"])
def test_the_end_is_not_passed_and_no_less_accurate_for_it(method: str) -> None:
    # theirs takes the last step beyond the end, and interpolates by a polynomial of degree 4
    found = []
    for library in (drop_in, peer):
        f = Calls(lambda t, y: y * torch.cos(t))
        ys = library.odeint(f, real(1.0), real(0, 5), method=method, rtol=1e-7, atol=1e-9)
        found.append((max(f.times), abs(ys[-1].item() - math.exp(math.sin(5)))))
    (ours_last, ours), (theirs_last, theirs) = found
    assert ours_last == 5.0 < theirs_last
    assert ours < theirs / 2


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
