"""A pass over graphs that are compiled for a CPU, which torch's compiler makes slow.

* The compiler fuses a function of a few numbers into the loop over the elements it is broadcast to.
  In f(t, y) = cos(t) y it computes cos(t) again for every sixteen elements of y, which takes longer
  than the rest of the step. The pass stores such values in memory of their own.
* Its tanh of float32 takes five times as long as that of uncompiled torch. The pass writes it as
  1 - 2 / (exp(2 |x|) + 1), and near 0 as a rational function of least maximal relative error; both
  are right to a few rounding errors, and so is 1 - tanh^2 (`tests/ode/test_cpu_pass.py`).
"""

import torch
from torch import Tensor
from torch._inductor import test_operators  # noqa: F401  (defines _inductor_test.realize)
from torch._inductor.custom_graph_pass import CustomGraphPass
from torch._inductor.decomposition import select_decomp_table
from torch.fx import Graph, Node
from torch.fx.experimental.proxy_tensor import make_fx

BROADCAST = 16  # how many times larger what uses a value must be
SMALLEST = 1024  # the least number of elements for which it pays

P = (1.0, 0.09491888663493077)
Q = (1.0, 0.42825215673156414, 0.009418772368521544)
NEAR = 0.625  # up to which tanh(x) is x P(x^2) / Q(x^2)

aten = torch.ops.aten
EXPENSIVE = frozenset(
    (
        *(aten.sin.default, aten.cos.default, aten.tan.default, aten.atan2.default),
        *(aten.sinh.default, aten.cosh.default, aten.tanh.default, aten.sigmoid.default),
        *(aten.exp.default, aten.exp2.default, aten.expm1.default, aten.erf.default),
        *(aten.log.default, aten.log2.default, aten.log1p.default, aten.log10.default),
        *(aten.pow.Tensor_Tensor, aten.pow.Tensor_Scalar, aten.pow.Scalar),
    )
)
VIEWS = frozenset((aten.expand.default, aten.unsqueeze.default, aten.view.default))


class CpuPass(CustomGraphPass):
    """Change a graph of aten operators in place."""

    def __call__(self, graph: Graph) -> None:
        for node in list(graph.nodes):
            if node.target in EXPENSIVE and _broadcast(node):
                _store(graph, node)
            if node.target is aten.tanh.default and node.meta["val"].dtype == torch.float32:
                _write_tanh(graph, node)

    def uuid(self) -> str:
        """What distinguishes this version of the pass in the compiler's cache on disk."""
        return "node_repro.CpuPass.2"


def tanh(x: Tensor) -> Tensor:
    """The tanh of float32 that the pass writes."""
    u = x * x
    near = x * _horner(P, u) / _horner(Q, u)
    far = 1 - 2 / (torch.exp(2 * x.abs()) + 1)
    return torch.where(x.abs() < NEAR, near, torch.sign(x) * far)


def _horner(coefficients: tuple[float, ...], u: Tensor) -> Tensor:
    value = u * coefficients[-1]
    for c in coefficients[-2:0:-1]:
        value = (value + c) * u
    return value + coefficients[0]


def _write_tanh(graph: Graph, node: Node) -> None:
    """Replace a node by the operators of `tanh`."""
    (given,) = node.args
    assert isinstance(given, Node)
    written = make_fx(tanh, select_decomp_table())(torch.empty(1)).graph
    placeholder = next(iter(written.nodes))
    with graph.inserting_before(node):
        copies: dict[Node, Node] = {placeholder: given}
        value = graph.graph_copy(written, copies)
    assert isinstance(value, Node)
    for copy in set(copies.values()) - {given}:
        copy.meta = dict(node.meta)
    node.replace_all_uses_with(value)
    graph.erase_node(node)


def _store(graph: Graph, node: Node) -> None:
    """Let a value be computed once and kept in memory."""
    with graph.inserting_after(node):
        stored = graph.call_function(torch.ops._inductor_test.realize.default, (node,))
    stored.meta = dict(node.meta)
    node.replace_all_uses_with(stored, lambda user: user is not stored)


def _broadcast(node: Node) -> bool:
    """Whether a value is broadcast to many elements."""
    return _largest_use(node) >= max(BROADCAST * _elements(node), SMALLEST)


def _largest_use(node: Node) -> int:
    """The largest number of elements of what uses a value, directly or through a view."""
    sizes = [_largest_use(u) if u.target in VIEWS else _elements(u) for u in node.users]
    return max(sizes, default=0)


def _elements(node: Node) -> int:
    value = node.meta.get("val")
    return value.numel() if isinstance(value, Tensor) else 0
