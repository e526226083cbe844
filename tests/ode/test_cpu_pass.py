"""What the pass changes in graphs that are compiled for a CPU."""

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from node_repro.ode.engines.cpu_pass import CpuPass, tanh

aten = torch.ops.aten


def test_its_tanh_of_float32_is_right_to_rounding_errors() -> None:
    x = torch.cat((torch.linspace(-12, 12, 200_001), torch.logspace(-30, 0, 10_001)))
    exact = torch.tanh(x.double())
    found = tanh(x)
    off = (found.double() - exact).abs()
    assert float((off / exact.abs()).nan_to_num().max()) < 3.5e-7  # eps of float32: 1.2e-7
    # what is left to 1 is as exact as by torch's own tanh
    left, theirs = (1 - y.double() ** 2 for y in (found, torch.tanh(x)))
    aim = 1 - exact**2
    assert float((left - aim).abs().max()) <= 2 * float((theirs - aim).abs().max())
    far = x.abs() > 4
    assert float((left - aim)[far].abs().max()) <= float((theirs - aim)[far].abs().max()) + 6e-8
    assert tanh(torch.zeros(1)) == 0
    assert tanh(torch.full((1,), torch.nan)).isnan()
    assert tanh(torch.full((1,), torch.inf)) == 1
    assert tanh(torch.full((1,), -torch.inf)) == -1


def passed(f: object, *inputs: Tensor) -> tuple[torch.fx.GraphModule, list[object]]:
    """The graph of a function after the pass, without what only the compiler can run."""
    graph = make_fx(f)(*inputs)  # type: ignore[arg-type]
    CpuPass()(graph.graph)
    graph.recompile()
    return graph, [node.target for node in graph.graph.nodes]


def test_tanh_of_float32_is_rewritten_and_that_of_float64_is_not() -> None:
    x = torch.linspace(-3, 3, 50)
    graph, targets = passed(torch.tanh, x)
    assert aten.tanh.default not in targets
    torch.testing.assert_close(graph(x), torch.tanh(x), rtol=4e-7, atol=0)
    _, targets = passed(torch.tanh, x.double())
    assert aten.tanh.default in targets


@pytest.mark.parametrize("elements", [2000, 20])
def test_a_cosine_of_t_is_stored_where_it_is_broadcast_to_many_elements(elements: int) -> None:
    _, targets = passed(lambda t, y: torch.cos(t) * y, torch.ones(()), torch.ones(elements))
    stored = torch.ops._inductor_test.realize.default in targets
    assert stored == (elements == 2000)
