"""torchdiffeq's options, converted to solvers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from node_repro.ode.controllers.constant import Constant
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.drop_in.failures import AssertingEngine
from node_repro.ode.drop_in.grids import STEPS, OnGrid, Perturbed, checked_grid
from node_repro.ode.drop_in.methods import (
    ADAPTIVE,
    SCIPY,
    checked_options,
    fixed_method,
)
from node_repro.ode.drop_in.tolerances import Given, Tolerance, to_tolerance
from node_repro.ode.engines import StepCallbacks
from node_repro.ode.gradients.saved_function import SavedFunction
from node_repro.ode.methods import Method
from node_repro.ode.methods.adams import Adams
from node_repro.ode.solution import SolverError
from node_repro.ode.solver import RungeKutta, Solver
from node_repro.ode.state import Layout

SNAP = 1e-10  # a remainder of the span shorter than this fraction of a step is not a step
UNLIMITED = 2**53  # stands for infinity
ATTEMPTS = 100_000  # default limit of the steps of one solve

State = Tensor | tuple[Tensor, ...]
N = TypeVar("N", float, None)


class Task(NamedTuple):
    """The problem.

    Attributes:
        func: The vector field.
        y0: The initial state.
        t: The times as given.
        times: t as float64 on the host.
    """

    func: Callable[..., Any]
    y0: State
    t: Tensor
    times: Tensor

    def back(self) -> "Task":
        """The problem with the times reversed."""
        return self._replace(t=self.t.flip(0), times=self.times.flip(0))


class Scheme(NamedTuple):
    """How a task is solved.

    Attributes:
        solver: Solves every piece of the times.
        cuts: The times at which pieces meet, float64 on the host.
        sided: Whether f is called strictly within each piece.
        gridded: Whether the steps are those of a grid that ends at the last time.
    """

    solver: Solver
    cuts: Tensor
    sided: bool = False
    gridded: bool = False


class Request(NamedTuple):
    """The user's choices: a checked method, its options as given, tolerances and callbacks."""

    method: str
    options: dict[str, Any] | None
    rtol: Tolerance
    atol: Tolerance
    callbacks: StepCallbacks | None


def bad_input(message: str) -> SolverError:
    return SolverError("bad_input", message)


def make_request(
    y0: State,
    method: str,
    options: dict[str, Any] | None,
    rtol: Given,
    atol: Given,
    callbacks: StepCallbacks | None,
) -> Request:
    """The request, with tolerances in the form of the solver."""
    tolerances = to_tolerance(rtol, y0, least=True), to_tolerance(atol, y0)
    return Request(method, options, *tolerances, callbacks)


def make_scheme(
    task: Task, request: Request, *, stepwise: bool = False, until: bool = False
) -> Scheme:
    """The solver that a request describes.

    Args:
        task: The problem.
        request: The user's choices.
        stepwise: Whether to solve the steps of a grid one by one where the method allows it, so
            that autograd sees the times of the grid.
        until: Whether the solve ends at an event.

    Raises:
        SolverError: An option is out of its range (kind bad_input).
    """
    method, options = request.method, checked_options(request.method, request.options)
    tolerances = request.rtol, request.atol
    if method == SCIPY:
        return Scheme(_scipy(options, *tolerances), task.times[:0])
    if method in ADAPTIVE:
        return _adaptive(task, ADAPTIVE[method], options, *tolerances, request.callbacks)
    chosen = fixed_method(method, options, *tolerances)
    return _fixed(task, chosen, options, request.callbacks, stepwise=stepwise, until=until)


def _adaptive(
    task: Task,
    method: Method,
    options: dict[str, Any],
    rtol: Tolerance,
    atol: Tolerance,
    callbacks: StepCallbacks | None,
) -> Scheme:
    dtype = options.get("dtype", torch.float64)
    if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise bad_input(f"the option 'dtype' must be a floating point type of torch, not {dtype!r}")
    most = _number(options, "max_step", math.inf)
    controller = Integral(
        rtol=rtol,
        atol=atol,
        safety=_number(options, "safety", 0.9),
        factor_min=_number(options, "dfactor", 0.2),
        factor_max=_number(options, "ifactor", 10.0),
        first_step=_number(options, "first_step", None),
        min_step=_number(options, "min_step", None),
        max_step=None if most == math.inf else most,
    )
    attempts, between = ATTEMPTS, _number(options, "max_num_steps", None)
    if between is not None:  # max_num_steps is the limit between two outputs
        attempts = int(min(between, UNLIMITED)) * max(len(task.t) - 1, 1)
    stops = [_times(options[key]) for key in ("step_t", "jump_t") if options.get(key) is not None]
    cuts = torch.cat(stops) if stops else task.times[:0]
    solver = RungeKutta(method, controller, attempts, AssertingEngine(), callbacks)
    return Scheme(solver, cuts, sided=len(cuts) > 0)


def _fixed(
    task: Task,
    method: Method,
    options: dict[str, Any],
    callbacks: StepCallbacks | None,
    *,
    stepwise: bool,
    until: bool,
) -> Scheme:
    if options.get("interp", "linear") not in ("linear", "cubic"):
        raise bad_input(f"interp={options['interp']!r} is unknown: use 'linear' or 'cubic'")
    multistep, perturb = isinstance(method, Adams), bool(options.get("perturb", False))
    ends = task.times[0].item(), task.times[-1].item()
    single = Perturbed(method, ends) if perturb else method
    constructor, none = options.get("grid_constructor"), task.times[:0]
    if options.get("step_size") is not None:
        if constructor is not None:
            raise bad_input("step_size and grid_constructor exclude each other: give one of them")
        constant = Constant(_number(options, "step_size", 0.0))
        if perturb and not until:
            return Scheme(OnGrid(method, _Equal(constant.step_size), callbacks, perturb), none)
        return Scheme(RungeKutta(single, constant, STEPS, AssertingEngine(), callbacks), none)
    constructed = None if constructor is None else _Constructed(task, constructor)
    if not stepwise or multistep:
        return Scheme(
            OnGrid(method, constructed or _outputs, callbacks, perturb), none, gridded=True
        )
    # each piece is one step
    span = abs((task.times[-1] - task.times[0]).item()) or 1.0
    solver = RungeKutta(single, Constant(span), STEPS, AssertingEngine(), callbacks)
    grid = task.times if constructor is None else _times(constructor(task.func, task.y0, task.t))
    return Scheme(solver, checked_grid(grid, task.times)[1:-1], gridded=True)


def _outputs(ts: Tensor, y: Tensor) -> Tensor:
    """The default grid: the times of the outputs."""
    return ts


@dataclass(frozen=True)
class _Equal:
    """The grid of equal steps; the last one is cut to end at the last time."""

    size: float

    def __call__(self, ts: Tensor, y: Tensor) -> Tensor:
        span = ts[-1] - ts[0]
        count = math.ceil(abs(span.item()) / self.size * (1 - SNAP))
        steps = torch.arange(max(count, 1), dtype=torch.float64) * math.copysign(self.size, span)
        return torch.cat((ts[0] + steps, ts[-1:]))


class _Constructed:
    """The grid of a constructor, which is called for the whole forward solve and for every interval
    of the backward solve, as in torchdiffeq.
    """

    def __init__(self, task: Task, constructor: Callable[..., Any]) -> None:
        self.constructor, self.func = constructor, SavedFunction(task.func, ())
        if isinstance(task.y0, tuple):
            self.layout = Layout.from_parts(task.y0)
            self.shape = torch.Size((sum(self.layout.sizes),))
        else:
            self.layout, self.shape = None, task.y0.shape
        self.device, self.dtype = task.t.device, task.t.dtype

    def __call__(self, ts: Tensor, y: Tensor) -> Tensor:
        """The grid of a solve from y, or from y and its adjoint, (2, *S)."""
        state = y if y.shape == self.shape else y[0]
        start = self.layout.unpack(state) if self.layout else state
        t = ts.to(device=self.device, dtype=self.dtype)
        with self.func.restored() as func:
            return checked_grid(_times(self.constructor(func, start, t)), ts)


def _scipy(options: dict[str, Any], rtol: Tolerance, atol: Tolerance) -> Solver:
    from node_repro.ode.scipy.lsoda import Lsoda  # scipy is imported for this method only
    from node_repro.ode.scipy.solve_ivp import SOLVERS, SolveIvp

    name = options.get("solver", "LSODA")
    most = _number(options, "max_step", math.inf)
    if name == "LSODA":
        return Lsoda(rtol, atol, max_steps=ATTEMPTS, max_step=most)
    if name not in SOLVERS:
        raise bad_input(f"unknown solver {name!r} of scipy; there are LSODA, {', '.join(SOLVERS)}")
    return SolveIvp(rtol, atol, max_steps=ATTEMPTS, scipy_method=name, max_step=most)


def _number(options: dict[str, Any], name: str, otherwise: N) -> float | N:
    value = options.get(name)
    if value is None:
        return otherwise
    try:
        return float(value)
    except (TypeError, ValueError):
        raise bad_input(f"the option {name!r} must be a number, not {value!r}") from None


def _times(value: Any) -> Tensor:  # noqa: ANN401
    """Float64 on the host."""
    return torch.as_tensor(value, dtype=torch.float64).cpu().reshape(-1)
