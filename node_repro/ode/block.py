"""A layer that integrates: y(t0) in, y(t1) out."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from node_repro.ode.gradients import GradientMethod
from node_repro.ode.odeint import odeint
from node_repro.ode.odeint import span as between
from node_repro.ode.solution import SolverError, Stats
from node_repro.ode.solver import Solver

_NO_FIELD = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


class _Trained(NamedTuple):
    """A time that is one of a block's parameters, which may be replaced by others (load_state_dict,
    functional_call): so the block refers to it by its place.
    """

    index: int


class SolvesODE(nn.Module):
    """A module that solves an ODE whenever it is evaluated.

    Args:
        solver: Method, step-size control and tolerances.
        gradient: How the solution is differentiated.

    Attributes:
        stats: The cost of the last solve.
    """

    def __init__(self, *, solver: Solver, gradient: GradientMethod) -> None:
        super().__init__()
        self.solver = solver
        self.gradient = gradient
        self.stats = Stats()


class ODEBlock(SolvesODE):
    """dy/dt = f(t, y) over span = (t0, t1), as a module.

    A batch is solved as one system, with one sequence of steps.

    Args:
        f: The vector field, f(t, y) -> dy/dt with y of shape (*S).
        solver: Method, step-size control and tolerances.
        gradient: How the result is differentiated.
        span: (t0, t1). A time that is an nn.Parameter is trained with the rest.

    Attributes:
        stats: What the last solve cost.
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
            if isinstance(module, _NO_FIELD):
                warnings.warn(
                    f"{name or 'f'} is a {type(module).__name__} inside a vector field: it makes "
                    "f change from stage to stage, and the solver cannot converge on it; use "
                    "GroupNorm or LayerNorm, and dropout outside of the solve",
                    stacklevel=2,
                )
        self.f = f
        self.span = span

    def __setstate__(self, state: dict[str, Any]) -> None:
        span = state.pop("span", None)  # of blocks that were pickled when it was an attribute
        super().__setstate__(state)
        if span is not None:
            self.span = span

    @property
    def span(self) -> tuple[float | Tensor, float | Tensor]:
        """(t0, t1), where a trained time is the module's present parameter."""
        t0, t1 = (
            self.trained_times[time.index] if isinstance(time, _Trained) else time
            for time in self._span
        )
        return t0, t1

    @span.setter
    def span(self, span: Sequence[float | Tensor]) -> None:
        if len(span) != 2:
            raise SolverError("bad_input", f"span must be (t0, t1), not {len(span)} times")
        trained: list[nn.Parameter] = []
        self._span: list[float | Tensor | _Trained] = []
        for time in span:
            if isinstance(time, nn.Parameter):
                trained.append(time)
                self._span.append(_Trained(len(trained) - 1))
            else:
                self._span.append(time)
        self.trained_times = nn.ParameterList(trained)

    def forward(self, y: Tensor) -> Tensor:
        """y(t1): (*S). Raises SolverError."""
        return self.along(y, between(*self.span))[-1]

    def along(self, y: Tensor, ts: Tensor) -> Tensor:
        """The states at the times ts: (T,) instead of the span, from y at ts[0]: (T, *S)."""
        if not isinstance(y, Tensor):
            raise SolverError(
                "bad_input", "a block takes one tensor: call odeint for a tuple of states"
            )
        solution = odeint(self.f, y, ts, solver=self.solver, gradient=self.gradient)
        self.stats = solution.stats
        return solution.ys
