"""Solvers: the interface, and `RungeKutta`, which combines a method, a controller and an engine.

`adaptive` and `fixed` make one from any method.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Protocol

import torch
from annotated_types import Ge
from torch import Tensor

from node_repro.ode.controllers import Controller
from node_repro.ode.controllers.adaptive import AdaptiveController
from node_repro.ode.controllers.constant import Constant
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.controllers.pi import PI
from node_repro.ode.engines import DEFAULT_OPTIONS, Engine, SolveOptions, StepCallbacks, Trajectory
from node_repro.ode.engines.eager import Eager
from node_repro.ode.methods import Field, Method, State
from node_repro.ode.methods.implicit import ImplicitRungeKutta
from node_repro.ode.norm import Norm
from node_repro.ode.solution import SolverError
from node_repro.ode.tableau import ButcherTableau, ImplicitTableau

EAGER = Eager()


class Solver(Protocol):
    """Integrates a field from ts[0] to ts[-1], forwards or backwards in time.

    RungeKutta and scipy's solvers implement this protocol.

    Examples:
        >>> from node_repro import ode
        >>> solver = ode.dopri5(rtol=1e-3, atol=1e-3)
        >>> solver.differentiable, solver.controls_error
        (True, True)
        >>> tight = solver.with_tolerance(1e-8, None)
        >>> tight.controller.rtol, tight.controller.atol
        (1e-08, 0.001)
    """

    @property
    def differentiable(self) -> bool:
        """Whether autograd can differentiate through a solve."""
        ...

    @property
    def controls_error(self) -> bool:
        """Whether tolerances control the step sizes."""
        ...

    def solve(
        self, f: Field, state: State, ts: Tensor, options: SolveOptions = DEFAULT_OPTIONS
    ) -> Trajectory:
        """Integrate f.

        Args:
            f: The field.
            state: The state at ts[0].
            ts: The times of the outputs, (T,) float64 on the host, monotone.
            options: See SolveOptions.

        Raises:
            SolverError: An argument is invalid (kind bad_input), or the solve failed.
        """
        ...

    def with_tolerance(self, rtol: float | Tensor | None, atol: float | Tensor | None) -> "Solver":
        """The same solver with other tolerances; None keeps one.

        Raises:
            SolverError: A tolerance is given but no error is controlled (kind bad_input).
        """
        ...


_EXPECTED = {
    "solver": "solver=ode.dopri5(rtol=..., atol=...)",
    "gradient": "gradient=ode.Adjoint()",
    "method": "ode.DOPRI5",
}


def _unexpected(argument: str, value: object) -> SolverError:
    if isinstance(value, str):
        given = f"the string {value!r}"
    elif isinstance(value, type):
        given = f"the class {value.__name__}"
    elif inspect.isroutine(value):
        given = f"the function {value.__name__}"
    else:
        given = f"an object of type {type(value).__name__}"
    return SolverError("bad_input", f"{argument} must be as in {_EXPECTED[argument]}, not {given}")


def check_choices(**choices: object) -> None:
    """Check that solver= and gradient= are such objects, not names, classes or functions.

    Raises:
        SolverError: One is not (kind bad_input).
    """
    for argument, value in choices.items():
        right = hasattr(value, "solve") and not isinstance(value, type)
        if not right or hasattr(value, "controls_error") != (argument == "solver"):
            raise _unexpected(argument, value)


def _check_method(method: object) -> None:
    if isinstance(method, ButcherTableau):
        kind = "Implicit" if isinstance(method, ImplicitTableau) else "Explicit"
        raise SolverError(
            "bad_input",
            f"method is the tableau {method.name}: wrap it as ode.{kind}RungeKutta(tableau)",
        )
    if isinstance(method, type) or not hasattr(method, "step"):
        raise _unexpected("method", method)


def refuse_unused_norm(norm: Norm | None, solver: Solver) -> None:
    """Raises SolverError (bad_input) for a norm if no error is controlled."""
    if norm is not None and not solver.controls_error:
        raise SolverError(
            "bad_input",
            "the solver has constant or prescribed steps, so a norm has no effect: leave out "
            "norm=, or use an error-controlled solver",
        )


@dataclass(frozen=True)
class RungeKutta:
    """A method whose step sizes a controller chooses.

    Args:
        method: Takes a step of a given size.
        controller: Chooses the sizes.
        max_steps: Attempted steps, accepted or not, after which a solve fails.
        engine: Runs the steps: Eager, Compiled or Auto.
        callbacks: Functions to be called at every step; None for none.

    Raises:
        SolverError: The controller needs an error estimate that the method does not give, or
            max_steps is below 1, or method is not a Method (kind bad_input).

    Examples:
        >>> from node_repro import ode
        >>> controller = ode.PI(rtol=1e-5, atol=1e-5)
        >>> solver = ode.RungeKutta(ode.TSIT5, controller, max_steps=1_000)
        >>> solver.controls_error, solver.method.order
        (True, 5)
    """

    method: Method
    controller: Controller[Any]
    max_steps: Annotated[int, Ge(1)] = 10_000
    engine: Engine = EAGER
    callbacks: StepCallbacks | None = None

    def __post_init__(self) -> None:
        _check_method(self.method)
        if self.controls_error and not self.method.adaptive:
            raise SolverError(
                "bad_input",
                f"{self.method.name} estimates no error, so its steps cannot be controlled by a "
                "tolerance: use constant steps, or an adaptive method",
            )
        if not (isinstance(self.max_steps, int) and self.max_steps >= 1):
            raise SolverError(
                "bad_input", f"max_steps must be at least 1, a whole number, not {self.max_steps}"
            )

    @property
    def differentiable(self) -> bool:
        """True."""
        return True

    @property
    def controls_error(self) -> bool:
        """Whether the controller has tolerances."""
        return self.controller.tolerances is not None

    def solve(
        self, f: Field, state: State, ts: Tensor, options: SolveOptions = DEFAULT_OPTIONS
    ) -> Trajectory:
        """See Solver.solve."""
        if self.controller.tolerances is not None:
            self.controller.tolerances.check(state.y)
        return self.engine.integrate(self._stepper(options.norm), f, state, ts, options)

    def _stepper(self, norm: Norm) -> "RungeKutta":
        """The solver; an implicit method gets the tolerances, for the accuracy of its stages."""
        method, tolerances = self.method, self.controller.tolerances
        if not isinstance(method, ImplicitRungeKutta) or tolerances is None:
            return self

        def measure(change: Tensor, y: Tensor) -> Tensor:
            sizes = [norm.measure(State(part), tolerances, State(y)) for part in change]
            return sizes[0] if len(sizes) == 1 else torch.stack(sizes).max()

        return replace(self, method=replace(method, measure=measure))

    def with_tolerance(
        self, rtol: float | Tensor | None, atol: float | Tensor | None
    ) -> "RungeKutta":
        """See Solver.with_tolerance."""
        if rtol is None and atol is None:
            return self
        controller = self.controller
        if not isinstance(controller, AdaptiveController):
            raise SolverError(
                "bad_input",
                f"{type(controller).__name__} does not control the error, so it has no tolerances: "
                "remove rtol and atol, or use an error-controlled solver",
            )
        return replace(self, controller=controller.with_tolerance(rtol, atol))


def adaptive(
    method: Method,
    rtol: float | Tensor,
    atol: float | Tensor,
    *,
    controller: Callable[..., Controller] | None = None,
    max_steps: int = 10_000,
    callbacks: StepCallbacks | None = None,
    engine: Engine = EAGER,
    **control: Any,
) -> RungeKutta:
    """A solver that keeps the error of each step below atol + rtol |y|.

    Args:
        method: A method with an error estimate.
        rtol: Relative tolerance, a number or a tensor that broadcasts to the state.
        atol: Absolute tolerance, in the units of the state; a number or a tensor as for rtol.
        controller: The class of the step-size controller. None takes Integral for explicit methods
            and PI for implicit ones.
        max_steps: Attempted steps after which a solve fails.
        callbacks: Functions that are called at every step.
        engine: Runs the steps: Eager, Compiled or Auto.
        **control: Further arguments of the controller, such as first_step, max_step or safety.

    Returns:
        The solver, for odeint and the other functions.

    Raises:
        SolverError: The method estimates no error, or a number is out of its range (kind
            bad_input).

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> solver = ode.adaptive(ode.DOPRI5, rtol=1e-5, atol=1e-5)
        >>> ts = torch.tensor([0.0, 1.0])
        >>> ys, stats = ode.odeint(
        ...     lambda t, y: -y, torch.ones(1), ts, solver=solver, gradient=ode.Direct()
        ... )
        >>> torch.allclose(ys[-1], torch.exp(-ts[-1]), rtol=1e-2)
        True
    """
    if controller is None:
        controller = PI if isinstance(method, ImplicitRungeKutta) else Integral
    chosen = controller(rtol=rtol, atol=atol, **control)
    return RungeKutta(method, chosen, max_steps, engine, callbacks)


def fixed(
    method: Method,
    step_size: float,
    *,
    max_steps: int = 10_000,
    callbacks: StepCallbacks | None = None,
    engine: Engine = EAGER,
) -> RungeKutta:
    """A solver whose steps have one size; the last one is cut to end at the last time.

    Args:
        method: A method, with or without an error estimate.
        step_size: The size of a step, positive, in the units of time.
        max_steps: Steps after which a solve fails.
        callbacks: Functions that are called at every step.
        engine: Runs the steps: Eager, Compiled or Auto.

    Returns:
        The solver, for odeint and the other functions.

    Raises:
        SolverError: A number is out of its range (kind bad_input).

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> solver = ode.fixed(ode.RK4, step_size=0.1)
        >>> ts = torch.tensor([0.0, 1.0])
        >>> ys, stats = ode.odeint(
        ...     lambda t, y: -y, torch.ones(1), ts, solver=solver, gradient=ode.Direct()
        ... )
        >>> stats.accepted, torch.allclose(ys[-1], torch.exp(-ts[-1]), rtol=0.1)
        (10, True)
    """
    return RungeKutta(method, Constant(step_size), max_steps, engine, callbacks)
