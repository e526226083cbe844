"""The contract of a gradient method: it solves, and knows how to differentiate what it solved."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from node_repro.ode.field import VectorField
from node_repro.ode.norm import Norm, RmsNorm
from node_repro.ode.solution import Solution, SolverError
from node_repro.ode.solver import Solver

Parameters = tuple[Tensor, ...] | None
"""What f depends on besides t and y; None where that is unknown."""


class Problem(NamedTuple):
    """dy/dt = f(t, y), y(ts[0]) = y0: (*S), wanted at ts: (T,) float64 on the host.

    parts: the numbers of elements of a tuple's parts that y packs together, empty for one tensor.
    error_norm: of the forward solve's error, None for the largest root mean square of the parts.
    """

    f: VectorField
    y0: Tensor
    ts: Tensor
    parameters: Parameters
    parts: tuple[int, ...] = ()
    error_norm: Norm | None = None

    @property
    def norm(self) -> Norm:
        """Of the forward solve's error."""
        return self.error_norm or RmsNorm(parts=self.parts)


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
    once = tuple({id(p): p for p in parameters}.values())
    for p in once:
        if p.grad_fn is not None:
            _refuse_ancestors(p, once)
    return once


def _refuse_ancestors(p: Tensor, parameters: tuple[Tensor, ...]) -> None:
    """Raises SolverError (bad_input) if p was made from another one: its gradient would be counted
    through f, and through p once more.
    """
    others = {get_gradient_edge(q).node for q in parameters if q is not p and q.requires_grad}
    others -= {p.grad_fn}  # parts of one split are not made of each other
    pending, seen = [p.grad_fn], set()
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        if node in others:
            raise SolverError(
                "bad_input",
                f"parameters hold a tensor of shape {tuple(p.shape)} and another one that it was "
                "made from: declare only what f uses itself",
            )
        seen.add(node)
        pending.extend(after for after, _ in node.next_functions)


def _edge(x: Tensor) -> tuple[Any, int]:
    """Where x leaves the graph: the node, and which of its outputs."""
    edge = get_gradient_edge(x)
    return edge.node, edge.output_nr


def refuse_undeclared(dy: Tensor, known: Iterable[Tensor]) -> None:
    """Raises SolverError (bad_input) if f depends on a trained tensor that is none of the known.

    Its gradient would be lost in silence. Walks f's graph once.
    """
    ends = {_edge(x) for x in known if x.requires_grad}
    pending, seen = [_edge(dy)] if dy.requires_grad else [], set()
    while pending:
        node, output = pending.pop()
        if node is None or node in seen or (node, output) in ends:
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
        pending.extend(node.next_functions)


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
