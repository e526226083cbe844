"""torchdiffeq's names and dicts of options, taken apart: here and nowhere else in the solver."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from node_repro.ode.controllers.constant import Constant
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.methods import Method
from node_repro.ode.methods.adaptive_heun import ADAPTIVE_HEUN
from node_repro.ode.methods.bosh3 import BOSH3
from node_repro.ode.methods.dopri5 import DOPRI5
from node_repro.ode.methods.dopri8 import DOPRI8
from node_repro.ode.methods.euler import EULER
from node_repro.ode.methods.fehlberg2 import FEHLBERG2
from node_repro.ode.methods.heun import HEUN
from node_repro.ode.methods.heun3 import HEUN3
from node_repro.ode.methods.midpoint import MIDPOINT
from node_repro.ode.methods.rk38 import RK38
from node_repro.ode.norm import FULL, SEMI, RmsNorm
from node_repro.ode.solution import SolverError
from node_repro.ode.solver import RungeKutta, Solver
from node_repro.ode.state import Layout

ADAPTIVE: dict[str, Method] = {
    "dopri8": DOPRI8,
    "dopri5": DOPRI5,
    "bosh3": BOSH3,
    "fehlberg2": FEHLBERG2,
    "adaptive_heun": ADAPTIVE_HEUN,
}
FIXED: dict[str, Method] = {
    "euler": EULER,
    "midpoint": MIDPOINT,
    "heun2": HEUN,
    "heun3": HEUN3,
    "rk4": RK38,
}
ADAMS = ("explicit_adams", "implicit_adams", "fixed_adams")
CONTROL = ("first_step", "safety", "ifactor", "dfactor", "max_num_steps", "min_step", "max_step")
OPTIONS = {
    "adaptive": (*CONTROL, "step_t", "jump_t", "dtype"),
    "fixed": ("step_size", "grid_constructor", "interp", "perturb"),
    "scipy_solver": ("solver", "min_step", "max_step"),
}
"""What each kind of method takes besides norm, which is looked at apart."""

ATTEMPTS = 100_000  # of one solve, unless max_num_steps says otherwise
STEPS = 1_000_000  # of a fixed size, in one solve
LEAST = 4  # units in the last place: the smallest relative tolerance of a dtype

Tolerance = float | Tensor
State = Tensor | tuple[Tensor, ...]
Given = float | Tensor | Sequence[float | Tensor]
"""A tolerance: of all elements, of each, or of each part of a tuple."""


class Scheme(NamedTuple):
    """solver: of every piece of the times. cuts: float64 on the host, where pieces meet; sided:
    whether f is called strictly on a piece's own side of them. gridded: whether the cuts are the
    steps themselves.
    """

    solver: Solver
    cuts: Tensor
    sided: bool = False
    gridded: bool = False


class Task(NamedTuple):
    """What is to be solved: func, y0 and t as given; times: t, float64 on the host."""

    func: Callable[..., Any]
    y0: State
    t: Tensor
    times: Tensor


def refused(message: str) -> SolverError:
    return SolverError("bad_input", message)


def scheme_of(
    task: Task, method: str | None, options: dict[str, Any] | None, rtol: Given, atol: Given
) -> Scheme:
    """How torchdiffeq would have been told to solve. Raises SolverError (bad_input)."""
    name = "dopri5" if method is None else method
    given = dict(options or {})
    if given.pop("norm", None) is not None:
        raise refused(
            "the option norm is not taken: the error is a root mean square, for a tuple the "
            "largest of its parts'; weigh elements by tensors of rtol and atol, and leave "
            "parameters out by adjoint_options=dict(norm='seminorm')"
        )
    kind = kind_of(name)
    _check_names(name, kind, given)
    if kind == "fixed":
        return _fixed(task, FIXED[name], given)
    tolerances = tolerance_of(rtol, task.y0, least=True), tolerance_of(atol, task.y0)
    if kind == "scipy_solver":
        return _lsoda(given, *tolerances)
    return _adaptive(task, ADAPTIVE[name], given, *tolerances)


def kind_of(method: str) -> str:
    """The key of OPTIONS that a method's name belongs to."""
    if method in ADAPTIVE:
        return "adaptive"
    if method in FIXED:
        return "fixed"
    if method == "scipy_solver":
        return method
    if method in ADAMS:
        raise refused(
            f"method={method!r}, Adams formulas of fixed steps, is not here: take "
            "node_repro.ode.odeint with node_repro.ode.host.vode_adams.VodeAdams, whose steps and "
            "orders adapt, or method='rk4'"
        )
    known = ", ".join((*ADAPTIVE, *FIXED, "scipy_solver"))
    raise refused(f"unknown method {method!r}; there are {known}")


def _check_names(method: str, kind: str, given: dict[str, Any]) -> None:
    for name in given:
        if name in OPTIONS[kind]:
            continue
        others = [other for other, names in OPTIONS.items() if name in names]
        where = f"it belongs to {others[0]} methods; " if others else ""
        raise refused(
            f"method={method!r} has no option {name!r}: {where}it takes {', '.join(OPTIONS[kind])}"
        )


def tolerance_of(value: Given, y0: State, *, least: bool = False) -> Tolerance:
    """A number, or one for every element: of a tuple, value has one entry a part. least: raised to
    what y0's dtype can keep.
    """
    like = y0[0] if isinstance(y0, tuple) else y0
    floor = LEAST * torch.finfo(like.dtype.to_real()).eps if least else 0.0
    if isinstance(value, Tensor) and value.requires_grad:
        raise refused("a tolerance cannot want a gradient: detach it")
    if not isinstance(value, Sequence) and torch.as_tensor(value).dim() == 0:
        number = float(value)
        return max(number, floor) if number > 0 else number
    if isinstance(y0, tuple):
        values = () if isinstance(value, int | float) else tuple(value)
        if len(values) != len(y0):
            raise refused(
                f"there are {len(values)} tolerances for a state of {len(y0)} parts: give one "
                "number, or one entry a part"
            )
        pairs = zip(map(torch.as_tensor, values), y0, strict=True)
        # theirs has one vector for all elements of a part
        parts = [v.reshape(y.shape) if v.numel() == y.numel() else v for v, y in pairs]
        tensor = Layout.of(y0).tolerance(parts, like)
    else:
        tensor = torch.as_tensor(value, dtype=torch.float64, device=like.device)
    return torch.where(tensor > 0, tensor.clamp_min(floor), tensor)


def adjoint_norm(
    adjoint_options: dict[str, Any] | None, options: dict[str, Any] | None
) -> tuple[dict[str, Any], RmsNorm]:
    """The options of the backward solve, those of the forward one unless given, and its norm."""
    if adjoint_options is None:
        return {name: value for name, value in (options or {}).items() if name != "norm"}, FULL
    given = dict(adjoint_options)
    norm = given.pop("norm", None)
    if norm is None:
        return given, FULL
    if norm != "seminorm":
        raise refused(
            "adjoint_options' norm may only be 'seminorm': without it the norm is the largest of "
            "the root mean squares of the state, its adjoint and every parameter's gradient"
        )
    return given, SEMI


def same(back: dict[str, Any], options: dict[str, Any] | None) -> bool:
    """Whether the backward solve is told the very same as the forward one."""
    ahead = options or {}
    return back.keys() == ahead.keys() and all(back[name] is ahead[name] for name in back)


def scheme_back(
    task: Task,
    ahead: Scheme,
    method: str | None,
    given: dict[str, Any],
    options: dict[str, Any] | None,
    rtol: Given,
    atol: Given,
) -> tuple[Scheme, Solver]:
    """The forward scheme, cut where the backward solve is to stop too, and the backward solver."""
    for name in ("grid_constructor", "perturb"):
        if given.get(name) and given[name] is not (options or {}).get(name):
            raise refused(
                f"{name} in adjoint_options must be that of options, whose pieces are solved back "
                "one by one: leave it out, or give a step_size"
            )
    back = scheme_of(task, method, given, rtol, atol)
    if not _controlled(back) or not len(back.cuts):
        return ahead, back.solver
    if not _controlled(ahead):
        raise refused("step_t and jump_t in adjoint_options need an adaptive method forwards too")
    cuts = torch.cat((ahead.cuts, back.cuts))
    return ahead._replace(cuts=cuts, sided=True), back.solver


def _controlled(scheme: Scheme) -> bool:
    return isinstance(scheme.solver, RungeKutta) and scheme.solver.controller.adaptive


def _adaptive(
    task: Task, method: Method, given: dict[str, Any], rtol: Tolerance, atol: Tolerance
) -> Scheme:
    if given.get("dtype", torch.float64) is not torch.float64:
        raise refused(
            f"dtype={given['dtype']} is not taken: times are float64 on the host, whatever y0 is "
            "and wherever it lies; leave the option out"
        )
    least, most = _number(given, "min_step", 0.0), _number(given, "max_step", math.inf)
    controller = Integral(
        rtol=rtol,
        atol=atol,
        safety=_number(given, "safety", 0.9),
        factor_min=_number(given, "dfactor", 0.2),
        factor_max=_number(given, "ifactor", 10.0),
        first_step=_number(given, "first_step", 0.0) if "first_step" in given else None,
        min_step=None if least == 0.0 else least,
        max_step=None if most == math.inf else most,
    )
    # theirs is the number of steps from one output to the next
    each = _number(given, "max_num_steps", 0.0)
    attempts = int(each) * max(len(task.t) - 1, 1) if "max_num_steps" in given else ATTEMPTS
    stops = [_times(given[name]) for name in ("step_t", "jump_t") if given.get(name) is not None]
    cuts = torch.cat(stops) if stops else task.times[:0]
    return Scheme(RungeKutta(method, controller, max_steps=attempts), cuts, sided=len(cuts) > 0)


def _fixed(task: Task, method: Method, given: dict[str, Any]) -> Scheme:
    interp, sided = given.get("interp", "linear"), bool(given.get("perturb", False))
    if interp not in ("linear", "cubic"):
        raise refused(f"interp={interp!r} is unknown: take 'linear' or 'cubic'")
    size, constructor = given.get("step_size"), given.get("grid_constructor")
    times = task.times.detach()
    t0, span = times[0], times[-1] - times[0]
    if size is not None:
        if constructor is not None:
            raise refused("step_size and grid_constructor exclude each other: give one of them")
        constant = Constant(_number(given, "step_size", 0.0))
        counts = torch.arange(1, math.ceil(abs(span.item()) / constant.step_size))
        cuts = t0 + counts * torch.copysign(torch.tensor(constant.step_size), span)
        solver = RungeKutta(method, constant, max_steps=STEPS)
        return Scheme(solver, cuts if sided else cuts[:0], sided)
    grid = task.times
    if constructor is not None:
        grid = _times(constructor(task.func, task.y0, task.t))
        if len(grid) == 0 or grid[0] != task.times[0] or grid[-1] != task.times[-1]:
            raise refused(
                "grid_constructor must give times that begin with t[0] and end with t[-1]"
            )
    # every piece of the times is one step
    solver = RungeKutta(method, Constant(abs(span.item()) or 1.0), max_steps=STEPS)
    return Scheme(solver, grid[1:-1], sided, gridded=True)


def _lsoda(given: dict[str, Any], rtol: Tolerance, atol: Tolerance) -> Scheme:
    name = given.get("solver", "LSODA")
    if name != "LSODA":
        raise refused(
            f"of scipy's solvers there is LSODA, not {name!r}: take method='dopri5' (RK45), "
            "'bosh3' (RK23) or 'dopri8' (DOP853), or LSODA for stiff problems (Radau, BDF)"
        )
    for option, idle in (("min_step", 0.0), ("max_step", math.inf)):
        if _number(given, option, idle) != idle:
            raise refused(f"LSODA's steps are its own here: leave the option {option!r} out")
    from node_repro.ode.host.lsoda import Lsoda  # scipy is needed for this method alone

    return Scheme(Lsoda(rtol, atol, max_steps=ATTEMPTS), torch.empty(0, dtype=torch.float64))


def _number(given: dict[str, Any], name: str, otherwise: float) -> float:
    value = given.get(name)
    if value is None:
        return otherwise
    try:
        return float(value)
    except (TypeError, ValueError):
        raise refused(f"the option {name!r} must be a number, not {value!r}") from None


def _times(value: Any) -> Tensor:  # noqa: ANN401
    """Float64 on the host."""
    return torch.as_tensor(value, dtype=torch.float64).cpu().reshape(-1)
