"""Step-size controllers: the interface that accepts or rejects a step and sizes the next one.

A controller receives numbers only, never a state: the engine measures the error of a step
(`norm.error_ratio`, a function of tensors) and asks for a decision on the result. Numbers are
floats; the controllers of this package, except Prescribed, also take the scalar tensors of a
compiled loop.
"""

from typing import Generic, NamedTuple, Protocol, TypeVar

from node_repro.ode.methods import Field, Slope, State
from node_repro.ode.norm import Norm, Tolerances

Memory = TypeVar("Memory")
"""The state that a controller keeps from one step to the next, of its own type."""


class SolveStart(NamedTuple):
    """The start of a solve, from which the first step size is chosen.

    Attributes:
        f: The field.
        t: The time of the start.
        state: The state there.
        slope: f(t, state).
        end: The time at which the solve ends, before or after t.
        error_order: The power of h with which the method's error estimate falls.
        norm: Measures a state in units of its tolerances.

    Example:
        >>> from node_repro import ode
        >>> def tenth_of_the_span(start: ode.SolveStart) -> float:
        ...     return (start.end - start.t) / 10
    """

    f: Field
    t: float
    state: State
    slope: Slope
    end: float
    error_order: int
    norm: Norm


class StepDecision(NamedTuple, Generic[Memory]):
    """A controller's decision on a step.

    Attributes:
        accept: Whether the step is accepted.
        h: The size of the next step, or of the next attempt if this one is rejected. It has the
            sign of this step's.
        state: The controller's memory, to be given to its next decision.

    Example:
        >>> from node_repro import ode
        >>> decision = ode.Constant(0.1).judge(error=0.0, h=0.1, error_order=1, state=None)
        >>> decision.accept, decision.h
        (True, 0.1)
    """

    accept: bool
    h: float
    state: Memory


class Controller(Protocol[Memory]):
    """Chooses the sizes of the steps. Sizes are signed: negative ones lead back in time.

    To add a controller that keeps to tolerances, derive it from
    `node_repro.ode.controllers.adaptive.AdaptiveController`; others implement this protocol.

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> class Halving:  # every step is half as long as the one before it
        ...     tolerances = None
        ...     def first(self, start):
        ...         return (start.end - start.t) / 2
        ...     def judge(self, error, h, error_order, state):
        ...         return ode.StepDecision(True, max(h / 2, 0.1), None)
        >>> solver = ode.RungeKutta(ode.RK4, Halving())
        >>> ts = torch.tensor([0.0, 2.0])
        >>> ys, stats = ode.odeint(
        ...     lambda t, y: -y, torch.ones(1), ts, solver=solver, gradient=ode.Direct()
        ... )
        >>> [round(h, 3) for h in stats.sizes]
        [1.0, 0.5, 0.25, 0.125, 0.1, 0.025]
    """

    @property
    def tolerances(self) -> Tolerances | None:
        """The tolerances of a step's error; None if no error is controlled."""
        ...

    def first(self, start: SolveStart) -> float:
        """The signed size of the first step."""
        ...

    def judge(
        self, error: float, h: float, error_order: int, state: Memory | None
    ) -> StepDecision[Memory]:
        """Decide on a step that was attempted.

        Args:
            error: The norm of the step's error estimate in units of the tolerances: at most 1 is
                within them. It may be infinite or NaN. 0 where no error is controlled.
            h: The signed size of the step.
            error_order: The power of h with which the error estimate falls.
            state: The state of the previous decision; None for the first step of a solve.
        """
        ...
