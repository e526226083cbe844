"""The contract of a gradient method: it solves, and knows how to differentiate what it solved."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from node_repro.ode.field import VectorField
from node_repro.ode.norm import RmsNorm
from node_repro.ode.solution import Solution, SolverError
from node_repro.ode.solver import Solver

Parameters = tuple[Tensor, ...] | None
"""What f depends on besides t and y; None where that is unknown."""


class Problem(NamedTuple):
    """dy/dt = f(t, y), y(ts[0]) = y0: (*S), wanted at ts: (T,) float64 on the host.

    parts: the numbers of elements of a tuple's parts that y packs together, empty for one tensor.
    """

    f: VectorField
    y0: Tensor
    ts: Tensor
    parameters: Parameters
    parts: tuple[int, ...] = ()

    @property
    def norm(self) -> RmsNorm:
        """Of the forward solve's error."""
        return RmsNorm(parts=self.parts)


Context = Any
"""autograd's ctx: it takes any attribute."""


def declared(parameters: Parameters, method: str) -> tuple[Tensor, ...]:
    """The parameters, which a method that evaluates f again must know. Raises SolverError."""
    if parameters is None:
        raise SolverError(
            "bad_input",
            f"gradient={method} needs to know what f depends on: make f an nn.Module, or pass "
            "parameters=(...), empty if there are none",
        )
    return parameters


def refuse_undeclared(dy: Tensor, known: Iterable[Tensor]) -> None:
    """Raises SolverError (bad_input) if f depends on a trained tensor that is none of the known.

    Its gradient would be lost in silence. Walks f's graph once.
    """
    ends = {get_gradient_edge(x).node for x in known if x.requires_grad}
    pending, seen = [dy.grad_fn], set()
    while pending:
        node = pending.pop()
        if node is None or node in seen or node in ends:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            shape = tuple(node.variable.shape)  # pyright: ignore[reportAttributeAccessIssue]
            raise SolverError(
                "bad_input",
                f"f depends on a tensor of shape {shape} that wants a gradient and is not among "
                "its parameters: pass parameters=(...) with all that f uses, or take "
                "gradient=direct",
            )
        pending.extend(after for after, _ in node.next_functions)


def refuse_second_derivative(method: str) -> None:
    """Raises SolverError (bad_input) in a backward pass that is itself to be differentiated."""
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
