"""The contract of a solver, and ours: a method, a controller and an engine."""

from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from node_repro.ode.controllers import Controller
from node_repro.ode.controllers.tolerance import Tolerance
from node_repro.ode.engines import Engine, StepCallbacks, Trajectory, Watch
from node_repro.ode.engines.eager import Eager
from node_repro.ode.methods import Field, Method, State
from node_repro.ode.methods.implicit import ImplicitRungeKutta
from node_repro.ode.norm import STATE, Norm
from node_repro.ode.solution import SolverError


class Solver(Protocol):
    """Integrates a field from ts[0] to ts[-1], forwards or backwards in time."""

    @property
    def differentiable(self) -> bool:
        """Whether autograd sees through a solve."""
        ...

    def solve(
        self,
        f: Field,
        state: State,
        ts: Tensor,
        *,
        norm: Norm = STATE,
        first_step: float | None = None,
        keep: bool = False,
        watch: Watch | None = None,
    ) -> Trajectory:
        """See Engine.integrate. first_step: signed; None leaves it to the controller."""
        ...

    def with_tolerance(self, rtol: float | Tensor | None, atol: float | Tensor | None) -> "Solver":
        """The same solver with other tolerances; None keeps one. Raises SolverError (bad_input) for
        a tolerance where no error is controlled.
        """
        ...


@dataclass(frozen=True)
class RungeKutta:
    """A method under a step-size controller.

    Args:
        method: How a step is taken.
        controller: How long the steps are.
        max_steps: Attempts allowed in one solve.
        engine: The loop.
        callbacks: Functions to be called at every step.

    Raises:
        SolverError: an error-controlling controller with a method that estimates no error, or
            max_steps below 1 (kind bad_input).
    """

    method: Method
    controller: Controller
    max_steps: int = 10_000
    engine: Engine = field(default_factory=Eager)
    callbacks: StepCallbacks | None = None

    def __post_init__(self) -> None:
        if self.controller.adaptive and not self.method.adaptive:
            raise SolverError(
                "bad_input",
                f"{self.method.name} estimates no error, so its steps cannot be controlled by a "
                "tolerance: give it constant steps, or take an adaptive method",
            )
        if not (isinstance(self.max_steps, int) and self.max_steps >= 1):
            raise SolverError(
                "bad_input", f"max_steps must be at least 1, a whole number, not {self.max_steps}"
            )

    @property
    def differentiable(self) -> bool:
        return True

    def solve(
        self,
        f: Field,
        state: State,
        ts: Tensor,
        *,
        norm: Norm = STATE,
        first_step: float | None = None,
        keep: bool = False,
        watch: Watch | None = None,
    ) -> Trajectory:
        self.controller.check(state.y)
        return self.engine.integrate(
            f,
            state,
            ts,
            self._method(norm),
            self.controller,
            norm=norm,
            max_steps=self.max_steps,
            first_step=first_step,
            keep=keep,
            watch=watch,
            callbacks=self.callbacks,
        )

    def _method(self, norm: Norm) -> Method:
        """The method; an implicit one finds its stages to a part of the tolerance."""
        method, controller = self.method, self.controller
        if not (isinstance(method, ImplicitRungeKutta) and isinstance(controller, Tolerance)):
            return method
        tolerances = controller.tolerances

        def measure(change: Tensor, y: Tensor) -> Tensor:
            sizes = [norm.measure(State(part), tolerances, State(y)) for part in change]
            return sizes[0] if len(sizes) == 1 else torch.stack(sizes).max()

        return replace(method, measure=measure)

    def with_tolerance(
        self, rtol: float | Tensor | None, atol: float | Tensor | None
    ) -> "RungeKutta":
        return replace(self, controller=self.controller.with_tolerance(rtol, atol))
