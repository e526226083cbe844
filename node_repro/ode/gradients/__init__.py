"""The contract of a gradient method: it solves, and knows how to differentiate what it solved."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from node_repro.ode.field import VectorField
from node_repro.ode.norm import Norm, RmsNorm
from node_repro.ode.solution import Solution, SolverError
from node_repro.ode.solver import Solver
from node_repro.ode.transforms import batched

Parameters = tuple[Tensor, ...] | None
"""What f depends on besides t and y; None where that is unknown."""


class Problem(NamedTuple):
    """dy/dt = f(t, y), y(ts[0]) = y0, wanted at the times ts.

    Attributes:
        f: The vector field.
        y0: The initial state, (*S).
        ts: The times, (T,) float64 on the host.
        parameters: What f depends on besides t and y.
        parts: The numbers of elements of a tuple's parts that y packs together, empty for one
            tensor.
        frozen: What f depends on and what gets no gradient all the same.
        error_norm: Of the forward solve's error, None for the largest root mean square of the
            parts.
    """

    f: VectorField
    y0: Tensor
    ts: Tensor
    parameters: Parameters
    parts: tuple[int, ...] = ()
    frozen: tuple[Tensor, ...] = ()
    error_norm: Norm | None = None

    @property
    def norm(self) -> Norm:
        """Of the forward solve's error."""
        return self.error_norm or RmsNorm(parts=self.parts)


Context = Any
"""autograd's ctx: it takes any attribute."""


def saved_tensors(ctx: Context, gys: Tensor, method: str) -> tuple[Tensor, ...]:
    """What the forward pass saved, for a backward pass that gives first derivatives.

    Raises:
        SolverError: The backward pass is to be differentiated itself or is under torch.vmap, or a
            saved tensor was changed since the forward pass (kind bad_input).
    """
    _refuse_other_derivatives(gys, method)
    try:
        return ctx.saved_tensors
    except RuntimeError as error:
        if "inplace operation" not in str(error):
            raise
        raise SolverError(
            "bad_input",
            "y0, the times or a parameter of f was changed in place between the solve and its "
            "backward pass, such as by optimizer.step(): call backward() first",
        ) from error


def _refuse_other_derivatives(gys: Tensor, method: str) -> None:
    if batched(gys):
        raise SolverError(
            "bad_input",
            f"the backward pass of gradient={method} cannot be batched by torch.vmap (as by "
            "is_grads_batched=True or vectorize=True): take one cotangent after the other",
        )
    if torch.is_grad_enabled():
        raise SolverError(
            "bad_input",
            f"gradient={method} gives first derivatives only: for create_graph=True take "
            "gradient=direct",
        )


def spread(gradients: Iterable[Tensor | None], needed: Sequence[bool]) -> list[Tensor | None]:
    """The gradients of those that need one, with None for the others between them."""
    found = iter(gradients)
    return [next(found) if need else None for need in needed]


class GradientMethod(Protocol):
    """Gives dL/dy0, dL/dtheta and dL/dt for every requested time."""

    def solve(self, problem: Problem, solver: Solver) -> Solution[Tensor]:
        """ys: (T, *S). solution.stats.backward is filled by the backward pass."""
        ...
