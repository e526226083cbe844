"""`ODEBlock`: an ODE as a layer, y(t0) in and y(t1) out."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from node_repro.ode.gradients import GradientMethod
from node_repro.ode.odeint import odeint, time_span
from node_repro.ode.solution import SolverError, Stats
from node_repro.ode.solver import Solver, check_choices

_VARYING = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


class _TrainedTime(NamedTuple):
    """The index of a time among the trained times of a block.

    A block refers to it by index, as its parameters may be replaced (load_state_dict,
    functional_call).
    """

    index: int


class SolvesODE(nn.Module):
    """A module that solves an ODE whenever it is evaluated.

    Args:
        solver: A method with its step sizes and tolerances.
        gradient: How the result is differentiated.

    Attributes:
        stats: The cost of the last solve.

    Raises:
        SolverError: solver or gradient is not an object of this kind (kind bad_input).

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> class Decay(ode.SolvesODE):
        ...     def forward(self, y):
        ...         solution = ode.odeint(
        ...             lambda t, y: -y,
        ...             y,
        ...             torch.tensor([0.0, 1.0]),
        ...             solver=self.solver,
        ...             gradient=self.gradient,
        ...         )
        ...         self.stats = solution.stats
        ...         return solution.ys[-1]
        >>> decay = Decay(solver=ode.rk4(step_size=0.5), gradient=ode.Direct())
        >>> decay(torch.ones(3)).shape, decay.stats.nfe
        (torch.Size([3]), 8)
    """

    def __init__(self, *, solver: Solver, gradient: GradientMethod) -> None:
        check_choices(solver=solver, gradient=gradient)
        super().__init__()
        self.solver = solver
        self.gradient = gradient
        self.stats = Stats()


class ODEBlock(SolvesODE):
    """A module that maps y(t0) to y(t1), where dy/dt = f(t, y).

    A batch is solved as one system, with one sequence of steps.

    Args:
        f: The vector field, f(t, y) -> dy/dt with t a scalar and y of shape (*S).
        solver: A method with its step sizes and tolerances.
        gradient: How the result is differentiated.
        span: (t0, t1). A time that is an nn.Parameter is trained with the other parameters.

    Attributes:
        stats: The cost of the last solve.

    Raises:
        SolverError: span does not hold two times, or as for SolvesODE (kind bad_input).

    References:
        Chen, Rubanova, Bettencourt, Duvenaud: Neural ordinary differential equations, 2018,
        section 3.

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> class Field(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = torch.nn.Linear(2, 2)
        ...
        ...     def forward(self, t, y):
        ...         return torch.tanh(self.layer(y))
        >>> block = ode.ODEBlock(
        ...     Field(), solver=ode.dopri5(rtol=1e-3, atol=1e-3), gradient=ode.Adjoint()
        ... )
        >>> model = torch.nn.Sequential(torch.nn.Linear(5, 2), block, torch.nn.Linear(2, 1))
        >>> model(torch.zeros(8, 5)).shape
        torch.Size([8, 1])
        >>> block.stats.nfe > 0
        True
    """

    def __init__(
        self,
        f: nn.Module,
        *,
        solver: Solver,
        gradient: GradientMethod,
        span: Sequence[float | Tensor] = (0.0, 1.0),
    ) -> None:
        super().__init__(solver=solver, gradient=gradient)
        for name, module in f.named_modules():
            if isinstance(module, _VARYING):
                warnings.warn(
                    f"{name or 'f'} is a {type(module).__name__} inside a vector field: it makes f "
                    "vary between evaluations, so that the solver cannot converge; use "
                    "GroupNorm or LayerNorm, and dropout outside of the solve",
                    stacklevel=2,
                )
        self.f = f
        self.span = span

    def __setstate__(self, state: dict[str, Any]) -> None:
        span = state.pop("span", None)  # an attribute of blocks pickled by former versions
        super().__setstate__(state)
        if span is not None:
            self.span = span

    @property
    def span(self) -> tuple[float | Tensor, float | Tensor]:
        """(t0, t1). A trained time is the parameter that the module has now."""
        t0, t1 = (
            self.trained_times[time.index] if isinstance(time, _TrainedTime) else time
            for time in self._span
        )
        return t0, t1

    @span.setter
    def span(self, span: Sequence[float | Tensor]) -> None:
        if len(span) != 2:
            raise SolverError("bad_input", f"span must be (t0, t1), not {len(span)} times")
        trained: list[nn.Parameter] = []
        self._span: list[float | Tensor | _TrainedTime] = []
        for time in span:
            if isinstance(time, nn.Parameter):
                trained.append(time)
                self._span.append(_TrainedTime(len(trained) - 1))
            else:
                self._span.append(time)
        self.trained_times = nn.ParameterList(trained)

    def forward(self, y: Tensor) -> Tensor:
        """The state at t1.

        Args:
            y: The state at t0, (*S).

        Returns:
            y(t1), (*S).

        Raises:
            SolverError: y is no tensor (kind bad_input), or the solve failed.
        """
        return self.along(y, time_span(*self.span))[-1]

    def along(self, y: Tensor, ts: Tensor) -> Tensor:
        """The states at times of your own, in place of span.

        Args:
            y: The state at ts[0], (*S).
            ts: The times, (T,), rising or falling.

        Returns:
            The states, (T, *S).

        Raises:
            SolverError: As forward, or the times are not sorted (kind bad_input).
        """
        if not isinstance(y, Tensor):
            raise SolverError(
                "bad_input", "a block takes one tensor: call odeint for a tuple of states"
            )
        solution = odeint(self.f, y, ts, solver=self.solver, gradient=self.gradient)
        self.stats = solution.stats
        return solution.ys
