"""Bytes held for backward: every storage once, for as long as it is held."""

import pytest
import torch
from torch import Tensor, nn

from node_repro.runs.meters import SavedBytes, peak_memory_bytes, reset_peak_memory

KILO = 250  # float32 numbers in 1,000 bytes


def leaf(size: int = KILO) -> Tensor:
    return torch.rand(size, requires_grad=True)


def test_each_storage_is_counted_once_however_often_it_is_saved() -> None:
    x, w = leaf(), leaf()
    with SavedBytes() as saved:
        y = x * w  # saves x and w
        z = (x * x + y * w[:10].sum()).sum()  # x, w again; y, and the sum of 4 bytes
    assert saved.held_bytes == saved.peak_bytes == saved.total_bytes == 3004
    z.backward()
    assert saved.held_bytes == 0 and saved.peak_bytes == 3004


def test_views_count_as_the_storage_they_keep_alive() -> None:
    x = leaf(4 * KILO)
    with SavedBytes() as saved:
        y = x[:5].square() + x[5:10].square()
    assert saved.held_bytes == 4000
    del y
    assert saved.held_bytes == 0


def test_excluded_parameters_and_their_views_are_left_out() -> None:
    model = nn.Linear(10, 10)
    x = torch.rand(25, 10, requires_grad=True)
    with SavedBytes(exclude=model.parameters()) as saved:
        loss = model(x).square().sum()
    assert saved.held_bytes == 1000 + 1000
    loss.backward()


def test_storage_freed_and_used_again_in_the_block_is_neither_missed_nor_counted_twice() -> None:
    addresses = set()
    with SavedBytes() as saved:
        for _ in range(20):
            x = leaf(100_000)
            addresses.add(x.data_ptr())
            x.square().sum().backward()
            del x
    assert len(addresses) < 20  # or the test says nothing
    assert saved.total_bytes == 20 * 400_000
    assert saved.peak_bytes == 400_000 and saved.held_bytes == 0


def test_peak_is_of_one_moment_and_total_of_all() -> None:
    x = leaf()
    with SavedBytes(exclude=[x]) as saved:
        for _ in range(3):
            x.exp().sum().backward()  # saves its result
    assert (saved.peak_bytes, saved.total_bytes) == (1000, 3000)


def test_nothing_is_held_without_a_gradient() -> None:
    with SavedBytes() as saved, torch.no_grad():
        leaf().exp().sum()
    assert saved.total_bytes == 0


def test_graph_of_the_block_is_followed_until_it_is_dropped() -> None:
    x = leaf()
    with SavedBytes() as saved:
        y = x.exp().exp().sum()
    assert saved.held_bytes == 2000
    del y
    assert saved.held_bytes == 0


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        with torch.enable_grad():  # as the adjoint does: a graph of its own inside backward
            again = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad((again.exp() * again).sum(), again)
        return grad * (3 * x**2 + 0 * slope)


def test_what_a_function_saves_and_what_its_backward_builds_are_seen() -> None:
    x = leaf()
    with SavedBytes() as saved:
        y = Cube.apply(x)
        assert saved.held_bytes == 1000
        y.sum().backward()  # type: ignore[union-attr]
    assert saved.peak_bytes == 2000  # x (its storage is shared by the copy) and exp(x)
    assert saved.held_bytes == 0


def test_gradients_are_the_same_bit_for_bit() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.GroupNorm(4, 16), nn.ReLU(), nn.Linear(16, 1))
    x = torch.rand(5, 8)
    expected = torch.autograd.grad(model(x).exp().sum(), list(model.parameters()))
    with SavedBytes():
        measured = torch.autograd.grad(model(x).exp().sum(), list(model.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(expected, measured, strict=True))


def test_second_derivative_is_the_same_too() -> None:
    x = leaf()

    def curvature() -> Tensor:
        (slope,) = torch.autograd.grad((x.exp() * x.sin()).sum(), x, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), x)[0]

    expected = curvature()
    with SavedBytes() as saved:
        assert torch.equal(curvature(), expected)
    assert saved.held_bytes == 0


def test_peak_memory_is_none_on_a_cpu() -> None:
    reset_peak_memory(torch.device("cpu"))
    assert peak_memory_bytes(torch.device("cpu")) is None


@pytest.mark.cuda
def test_peak_memory_on_cuda_is_what_was_allocated_since_the_reset() -> None:
    device = torch.device("cuda")
    before = torch.cuda.memory_allocated(device)
    reset_peak_memory(device)
    x = torch.empty(2**20, device=device)
    del x
    peak = peak_memory_bytes(device)
    assert peak is not None and peak - before == 4 * 2**20


@pytest.mark.cuda
def test_what_backward_builds_in_its_own_thread_on_cuda_is_seen() -> None:
    x = torch.rand(KILO, device="cuda", requires_grad=True)
    with SavedBytes() as saved:
        Cube.apply(x).sum().backward()  # type: ignore[union-attr]
    assert saved.peak_bytes == 2000 and saved.held_bytes == 0
