"""The devices on which a test runs: the stand-in everywhere, CUDA where there is one.

`make test-cuda` runs the second.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from stand_in import DEVICE, StandIn
from torch import Tensor

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
NEEDS_CUDA = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
on_devices = pytest.mark.parametrize(
    "device",
    [pytest.param(DEVICE, id="stand_in"), pytest.param(CUDA, id="cuda", marks=NEEDS_CUDA)],
)


def present(device: torch.device) -> AbstractContextManager:
    """The context in which there is such a device."""
    return StandIn() if device == DEVICE else nullcontext()


def assert_as_on_the_cpu(
    results: Callable[[torch.device], Sequence[Tensor]], device: torch.device
) -> None:
    """Check that a computation has the results of the CPU.

    On the stand-in up to rounding errors only: gradients may be added in another order.
    """
    expected = results(CPU)
    with present(device):
        found = [x.detach().cpu() for x in results(device)]
    for x, true in zip(found, expected, strict=True):
        eps = torch.finfo(x.dtype).eps if x.is_floating_point() or x.is_complex() else 0.0
        rtol, atol = (32 * eps, 32 * eps) if device == DEVICE else (1e-5, 1e-8)
        torch.testing.assert_close(x, true.detach(), rtol=rtol, atol=atol, equal_nan=True)
