"""What f depends on besides t and y, and checks that no gradient is lost in silence.

A method that evaluates f again in its backward pass returns gradients to the tensors that it was
given, and to no others.
"""

import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch._C._autograd import _get_sequence_nr
from torch.autograd.forward_ad import unpack_dual
from torch.autograd.graph import get_gradient_edge
from torch.nn.utils import parametrize

from node_repro.ode.field import Evaluate, VectorField, evaluate
from node_repro.ode.gradients import Problem
from node_repro.ode.solution import SolverError
from node_repro.ode.transforms import transformed


def declared(problem: Problem, method: str) -> tuple[Tensor, ...]:
    """The tensors that f depends on, once each, for a method that evaluates f again.

    Args:
        problem: What is to be solved.
        method: The name of the gradient method, for messages.

    Raises:
        SolverError: The tensors are unknown, one was made from another, or the solve is inside of
            something that such a method cannot differentiate (kind bad_input).
    """
    if problem.parameters is None:
        raise SolverError(
            "bad_input",
            f"gradient={method} needs to know what f depends on: make f an nn.Module, or pass "
            "parameters=(...), empty if there are none",
        )
    once = tuple({id(p): p for p in problem.parameters}.values())
    _refuse_transforms(method, (problem.y0, problem.ts, *once))
    for p in once:
        if p.grad_fn is not None:
            _refuse_ancestors(p, once)
    return once


def _refuse_transforms(method: str, inputs: tuple[Tensor, ...]) -> None:
    """Raises SolverError (bad_input) where torch would fail inside, or f would lose its graph."""
    if transformed():
        raise SolverError(
            "bad_input",
            f"gradient={method} cannot be used inside of torch.vmap or torch.func's grad, jvp, "
            "jacrev or jacfwd: take gradient=direct for the derivatives, or torch.autograd.grad",
        )
    if torch._C._is_fwd_grad_enabled() and any(unpack_dual(x).tangent is not None for x in inputs):
        raise SolverError(
            "bad_input",
            f"gradient={method} has no forward-mode derivatives (a tangent came in with y0, ts or "
            "a parameter): take gradient=direct",
        )
    if parametrize._cache_enabled:
        raise SolverError(
            "bad_input",
            f"gradient={method} evaluates f without autograd first, and parametrize.cached() "
            "would keep those values for the backward pass: solve outside of it, or take "
            "gradient=direct",
        )


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


class Declared:
    """Evaluates f and checks that it depends on declared tensors only.

    The check walks the graph of an evaluation, which costs about a tenth of it. So it is made at
    the first evaluation, whenever the number of the graph's nodes changes, and at evaluations
    number 2, 4, 8, ...

    Args:
        tensors: What f may depend on besides t and y.
        expected: Whether to warn if f depends on none of them. A function around a module whose
            parameters were replaced since the solve depends on the new ones.
    """

    def __init__(self, tensors: Iterable[Tensor], *, expected: bool) -> None:
        self._edges = {_edge(x) for x in tensors if x.requires_grad}
        self._expected = expected and bool(self._edges)
        self._evaluations, self._nodes = 0, -1

    def evaluate(self, f: VectorField, t: Tensor, y: Tensor) -> Tensor:
        """f(t, y). Raises SolverError (bad_input) if f depends on an undeclared tensor."""
        before = _get_sequence_nr()
        dy = evaluate(f, t, y)
        if not dy.requires_grad:
            return dy
        nodes = _get_sequence_nr() - before
        self._evaluations += 1
        n = self._evaluations
        if nodes != self._nodes or n & (n - 1) == 0:
            self._nodes = nodes
            self._check(f, t, y, dy)
        return dy

    def _check(self, f: VectorField, t: Tensor, y: Tensor, dy: Tensor) -> None:
        unknown = self._unknown(dy, t, y)
        if self._expected:
            self._expected = False
            warnings.warn(
                "f does not depend on any of the tensors in parameters=(...), so they get no "
                "gradient; if f is a function around a module whose parameters were replaced since "
                "the solve (load_state_dict, functional_call), pass the module itself",
                stacklevel=2,
            )
        if not unknown:
            return
        # f may mark tensors of its own as wanting a gradient: those are new ones every time
        again = self._unknown(evaluate(f, t, y), t, y)
        lasting = [x for x in unknown if any(x is other for other in again)]
        if lasting:
            raise SolverError(
                "bad_input",
                f"f depends on a tensor of shape {tuple(lasting[0].shape)} that wants a gradient "
                "and is not among its parameters: pass parameters=(...) with all that f uses, or "
                "take gradient=direct without parameters",
            )
        memory = y.untyped_storage().data_ptr()
        if any(x.untyped_storage().data_ptr() == memory for x in unknown):
            raise SolverError(
                "bad_input",
                "f detaches y and marks the result with requires_grad_(): its dependence on y is "
                "lost; mark y itself, which has a graph when it needs one",
            )

    def _unknown(self, dy: Tensor, t: Tensor, y: Tensor) -> list[Tensor]:
        """The leaves of f's graph besides t, y and what was declared."""
        ends = self._edges | {_edge(x) for x in (t, y) if x.requires_grad}
        pending, seen, leaves = [_edge(dy)] if dy.requires_grad else [], set(), []
        while pending:
            node, output = pending.pop()
            if (node, output) in self._edges:
                self._expected = False
            if node is None or node in seen or (node, output) in ends:
                continue
            seen.add(node)
            if hasattr(node, "variable"):
                leaves.append(node.variable)
            pending.extend(node.next_functions)
        return leaves


class FirstChecked:
    """Evaluates f, the first time with a graph, to see that it depends on no other trained tensor.

    This is for solves without a backward pass that could look: nothing that was declared wants a
    gradient, or autograd makes the backward pass.

    Args:
        tensors: What f may depend on besides t and y.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self._declared: Declared | None = Declared(tensors, expected=False)

    def __call__(self, f: VectorField, t: Tensor, y: Tensor) -> Tensor:
        """f(t, y). Raises SolverError (bad_input) if f depends on an undeclared tensor."""
        first, self._declared = self._declared, None
        if first is None:
            return evaluate(f, t, y)
        if torch.is_grad_enabled():
            return first.evaluate(f, t, y)
        with torch.enable_grad():
            return first.evaluate(f, t, y).detach()


def evaluation(problem: Problem, known: tuple[Tensor, ...]) -> Evaluate:
    """How the forward pass of a method that evaluates f again evaluates it the first time."""
    inputs = (problem.y0, problem.ts, *known)
    if not torch.is_grad_enabled() or any(x.requires_grad for x in inputs):
        return evaluate
    return FirstChecked((*known, *problem.frozen))


def _edge(x: Tensor) -> tuple[Any, int]:
    """Where x leaves the graph: the node, and which of its outputs."""
    edge = get_gradient_edge(x)
    return edge.node, edge.output_nr


def vjp(*arguments: Any, **options: Any) -> tuple[Any, ...]:
    """torch.autograd.grad through f, for inputs that f need not depend on.

    Raises:
        SolverError: f uses the graph of a tensor that was computed before the solve, which can be
            traversed once only (kind bad_input).
    """
    try:
        return torch.autograd.grad(*arguments, allow_unused=True, **options)
    except RuntimeError as error:
        if "backward through the graph a second time" not in str(error):
            raise
        raise SolverError(
            "bad_input",
            "f uses a tensor that was computed, with a graph, before the solve: pass that tensor "
            "in parameters=(...) instead of what it was computed from, or take gradient=direct",
        ) from error
