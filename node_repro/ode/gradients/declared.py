"""Declared parameters of f, and checks that f depends on no other tensor that requires a gradient.

A method that evaluates f again in its backward pass computes gradients of declared parameters only,
so the gradient of an undeclared tensor would be missing.
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
    """The declared parameters without duplicates, for a method that evaluates f again.

    Args:
        problem: The problem.
        method: The name of the gradient method, for messages.

    Raises:
        SolverError: The parameters are unknown, one was computed from another, or the solve is
            inside of a transform that such a method does not support (kind bad_input).
    """
    if problem.parameters is None:
        raise SolverError(
            "bad_input",
            f"gradient={method} requires the parameters of f: make f an nn.Module, or pass "
            "parameters=(...), empty if there are none",
        )
    once = tuple({id(p): p for p in problem.parameters}.values())
    _refuse_transforms(method, (problem.y0, problem.ts, *once))
    for p in once:
        if p.grad_fn is not None:
            _refuse_ancestors(p, once)
    return once


def _refuse_transforms(method: str, inputs: tuple[Tensor, ...]) -> None:
    """Raises SolverError (bad_input) inside of transforms that the method does not support."""
    if transformed():
        raise SolverError(
            "bad_input",
            f"gradient={method} cannot be used inside of torch.vmap or torch.func's grad, jvp, "
            "jacrev or jacfwd: use gradient=direct, or torch.autograd.grad",
        )
    if torch._C._is_fwd_grad_enabled() and any(unpack_dual(x).tangent is not None for x in inputs):
        raise SolverError(
            "bad_input",
            f"gradient={method} has no forward-mode derivatives (y0, ts or a parameter has a "
            "tangent): use gradient=direct",
        )
    if parametrize._cache_enabled:
        raise SolverError(
            "bad_input",
            f"gradient={method} evaluates f without autograd first, and parametrize.cached() "
            "would reuse these values in the backward pass: solve outside of it, or use "
            "gradient=direct",
        )


def _refuse_ancestors(p: Tensor, parameters: tuple[Tensor, ...]) -> None:
    """Raises SolverError (bad_input) if p was computed from another parameter, whose gradient would
    then be counted twice: through f and through p.
    """
    others = {get_gradient_edge(q).node for q in parameters if q is not p and q.requires_grad}
    others -= {p.grad_fn}  # parts of one split share a node but are independent
    pending, seen = [p.grad_fn], set()
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        if node in others:
            raise SolverError(
                "bad_input",
                f"parameters contain a tensor of shape {tuple(p.shape)} and another one from which "
                "it was computed: pass only the tensors that f uses directly",
            )
        seen.add(node)
        pending.extend(after for after, _ in node.next_functions)


class Declared:
    """Evaluates f and checks that it depends on declared tensors only.

    The check traverses the graph of an evaluation, at about a tenth of its cost. So it is made at
    the first evaluation, whenever the number of the graph's nodes changes, and at evaluations
    number 2, 4, 8, ...

    Args:
        tensors: The tensors that f may depend on besides t and y.
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
        # f may create tensors that require a gradient: these differ from call to call
        again = self._unknown(evaluate(f, t, y), t, y)
        lasting = [x for x in unknown if any(x is other for other in again)]
        if lasting:
            raise SolverError(
                "bad_input",
                f"f depends on a tensor of shape {tuple(lasting[0].shape)} that requires a "
                "gradient and is not among its parameters: pass all tensors that f uses in "
                "parameters=(...), or use gradient=direct without parameters",
            )
        memory = y.untyped_storage().data_ptr()
        if any(x.untyped_storage().data_ptr() == memory for x in unknown):
            raise SolverError(
                "bad_input",
                "f calls requires_grad_() on a detached y, which loses its dependence on y: "
                "differentiate with respect to y itself",
            )

    def _unknown(self, dy: Tensor, t: Tensor, y: Tensor) -> list[Tensor]:
        """The leaves of f's graph except t, y and the declared tensors."""
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
    """Evaluates f, and checks the first evaluation for undeclared tensors that require a gradient.

    For solves whose backward pass does not check it: no declared tensor requires a gradient, or
    autograd runs the backward pass itself.

    Args:
        tensors: The tensors that f may depend on besides t and y.
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
    """The function that evaluates f in the forward pass of a method that evaluates f again."""
    inputs = (problem.y0, problem.ts, *known)
    if not torch.is_grad_enabled() or any(x.requires_grad for x in inputs):
        return evaluate
    return FirstChecked((*known, *problem.frozen))


def _edge(x: Tensor) -> tuple[Any, int]:
    """The graph node that computed x, and the number of its output."""
    edge = get_gradient_edge(x)
    return edge.node, edge.output_nr


def vjp(*arguments: Any, **options: Any) -> tuple[Any, ...]:
    """torch.autograd.grad through f, with None for inputs that f does not use.

    Raises:
        SolverError: f uses a tensor that was computed with a graph before the solve; autograd can
            traverse that graph only once (kind bad_input).
    """
    try:
        return torch.autograd.grad(*arguments, allow_unused=True, **options)
    except RuntimeError as error:
        if "backward through the graph a second time" not in str(error):
            raise
        raise SolverError(
            "bad_input",
            "f uses a tensor that was computed, with a graph, before the solve: pass that tensor "
            "in parameters=(...) instead of what it was computed from, or use gradient=direct",
        ) from error
