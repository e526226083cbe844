"""The stand-in for an accelerator does what CUDA does, as far as tests rely on it."""

from collections.abc import Callable

import pytest
import torch
from stand_in import DEVICE, Elsewhere, StandIn, WrongDevice
from torch import Tensor, nn

MIXED: dict[str, Callable[[Tensor], object]] = {
    "a sum": lambda x: x + torch.zeros(3),
    "a product with a matrix": lambda x: torch.zeros(2, 3) @ x,
    "a stack with a scalar": lambda x: torch.stack((x.sum(), torch.tensor(1.0))),
    "a vector of the CPU at an index of the device": lambda x: torch.zeros(3)[x.argsort()],
    "a change of a scalar of the CPU": lambda x: torch.tensor(0.0).add_(x.sum()),
    "numbers of a generator of the CPU": lambda x: torch.randn(
        3, generator=torch.Generator(), device=DEVICE
    ),
}
ALLOWED: dict[str, Callable[[Tensor], Tensor]] = {
    "a scalar of the CPU": lambda x: x * torch.tensor(2.0),
    "an index of the CPU": lambda x: x[torch.tensor([2, 0])],
    "a copy": lambda x: torch.zeros(3).to(x),
    "a copy in place": lambda x: torch.empty_like(x).copy_(torch.ones(3)),
    "numbers of the device's generator": lambda x: torch.randn(3, device=DEVICE),
}
READS: dict[str, Callable[[Tensor], object]] = {
    "item": lambda x: x[0].item(),
    "float": lambda x: float(x.sum()),
    "a condition": lambda x: bool((x > 0).all()),
    "tolist": lambda x: x.tolist(),
    "a copy": lambda x: x.cpu(),
    "a copy in place": lambda x: torch.empty(3).copy_(x),
    "a comparison": lambda x: torch.equal(x, x),
    "a mask": lambda x: x[x > 1],
    "the places of a mask": lambda x: torch.nonzero(x > 1),
}
UPLOADS: dict[str, Callable[[Tensor], object]] = {
    "numbers": lambda x: torch.tensor([1.0, 2.0], device=DEVICE),
    "a copy": lambda x: torch.zeros(3).to(DEVICE),
    "a copy in place": lambda x: x.detach().copy_(torch.zeros(3)),
    "an index": lambda x: x[torch.tensor([0])],
}


def vector() -> Tensor:
    return torch.tensor([1.0, 2.0, 3.0], device=DEVICE)


@pytest.mark.parametrize("operation", MIXED.values(), ids=MIXED.keys())
def test_tensors_of_two_devices_do_not_meet(operation: Callable[[Tensor], object]) -> None:
    with StandIn(), pytest.raises(WrongDevice):
        operation(vector())


@pytest.mark.parametrize("operation", ALLOWED.values(), ids=ALLOWED.keys())
def test_what_cuda_allows_gives_a_tensor_of_the_device(
    operation: Callable[[Tensor], Tensor],
) -> None:
    with StandIn() as device:
        x = vector()
        device.forget()
        found = operation(x)
        assert isinstance(found, Elsewhere) and found.device == DEVICE
        assert not device.reads


@pytest.mark.parametrize("operation", READS.values(), ids=READS.keys())
def test_a_read_is_counted_with_its_line(operation: Callable[[Tensor], object]) -> None:
    with StandIn() as device:
        x = vector()
        device.forget()
        operation(x)
        (place,) = device.reads.elements()
        assert place.startswith("tests/test_stand_in.py:") and not device.uploads


@pytest.mark.parametrize("operation", UPLOADS.values(), ids=UPLOADS.keys())
def test_a_copy_to_the_device_is_counted_if_it_waits(
    operation: Callable[[Tensor], object],
) -> None:
    with StandIn() as device:
        x = vector()
        device.forget()
        operation(x)
        assert device.uploads.total() == 1 and not device.reads
        torch.zeros(3).to(DEVICE, non_blocking=True)
        assert device.uploads.total() == 1


def test_a_module_moves_is_trained_and_changes_its_precision() -> None:
    def weights(device: torch.device) -> list[Tensor]:
        torch.manual_seed(0)
        layer = nn.Linear(3, 2).to(device)
        optimizer = torch.optim.Adam(layer.parameters())
        layer(torch.ones(3, device=device)).square().sum().backward()
        optimizer.step()
        return [p.detach().cpu() for p in layer.double().parameters()]

    expected = weights(torch.device("cpu"))
    with StandIn():
        found = weights(DEVICE)
    assert all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))


def test_a_tensor_of_the_device_is_of_no_use_without_it() -> None:
    with StandIn():
        x = vector()
    with pytest.raises(WrongDevice):
        torch.neg(x)
