"""A layer that integrates: y(t0) in, y(t1) out."""

import warnings
from collections.abc import Sequence

from torch import Tensor, nn

from node_repro.ode.gradients import GradientMethod
from node_repro.ode.odeint import odeint
from node_repro.ode.odeint import span as between
from node_repro.ode.solution import SolverError, Stats
from node_repro.ode.solver import Solver

_NO_FIELD = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


class ODEBlock(nn.Module):
    """dy/dt = f(t, y) over span = (t0, t1), as a module. stats: what the last solve cost.

    f(t, y) -> dy/dt, y: (*S); a batch is solved as one system, with one sequence of steps.
    A time that is an nn.Parameter is trained with the rest.
    """

    def __init__(
        self,
        f: nn.Module,
        *,
        solver: Solver,
        gradient: GradientMethod,
        span: Sequence[float | Tensor] = (0.0, 1.0),
    ) -> None:
        super().__init__()
        for name, module in f.named_modules():
            if isinstance(module, _NO_FIELD):
                warnings.warn(
                    f"{name or 'f'} is a {type(module).__name__} inside a vector field: it makes "
                    "f change from stage to stage, and the solver cannot converge on it; use "
                    "GroupNorm or LayerNorm, and dropout outside of the solve",
                    stacklevel=2,
                )
        self.f = f
        self.solver = solver
        self.gradient = gradient
        if len(span) != 2:
            raise SolverError("bad_input", f"span must be (t0, t1), not {len(span)} times")
        self.span = tuple(span)
        self.trained_times = nn.ParameterList(t for t in span if isinstance(t, nn.Parameter))
        self.stats = Stats()

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
