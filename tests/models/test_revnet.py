"""The reversible residual network: its gradient, its inverse, and what it holds for backward."""

import pytest
import torch
from torch import Tensor

from node_repro.models.revnet import ReversibleBlock, ReversibleBlocks, RevNet
from node_repro.runs.meters import SavedBytes


def blocks(channels: int, count: int) -> ReversibleBlocks:
    torch.manual_seed(0)
    return ReversibleBlocks(channels, count).double()


def states(channels: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, channels, 5, 4, generator=generator, dtype=torch.float64)
    return x.requires_grad_()


@pytest.mark.parametrize("channels", [2, 5, 8])
def test_the_gradient_is_that_of_autograd_through_the_same_blocks(channels: int) -> None:
    network, x = blocks(channels, 3), states(channels)
    cotangent = torch.randn_like(x)
    inputs = (x, *network.parameters())
    plain = x
    for block in network.blocks:
        plain = block(plain)
    found = network(x)
    torch.testing.assert_close(found, plain, rtol=0, atol=0)
    torch.testing.assert_close(
        torch.autograd.grad(found, inputs, cotangent),
        torch.autograd.grad(plain, inputs, cotangent),
        rtol=1e-9,
        atol=1e-9,
    )


def test_backpropagation_returns_the_input_of_the_block() -> None:
    torch.manual_seed(0)
    block, x = ReversibleBlock(4).double(), states(4)
    y = block(x).detach()
    found, *_ = block.backpropagate(y, torch.ones_like(y))
    torch.testing.assert_close(found, x.detach(), rtol=1e-12, atol=1e-12)


def test_bytes_held_for_backward_are_those_of_one_state_for_any_number_of_blocks() -> None:
    held = []
    for count in (1, 4):
        network, x = blocks(4, count), states(4)
        with SavedBytes(exclude=network.parameters()) as meter:
            y = network(x)
            held.append(meter.held_bytes)
        del y
    assert held == [states(4).nbytes] * 2


def test_a_changed_weight_before_the_backward_pass_is_an_error() -> None:
    network, x = blocks(4, 2), states(4)
    y = network(x).sum()
    with torch.no_grad():
        next(network.parameters()).add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_a_training_step_lowers_the_loss_of_its_batch() -> None:
    torch.manual_seed(0)
    model = RevNet(stem="conv", blocks=2, channels=8)
    images, labels = torch.rand(8, 1, 28, 28), torch.arange(8)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(2):
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[1] < losses[0]
