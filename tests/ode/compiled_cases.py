"""What several tests of the compiled engine use."""

from chosen import real
from torch import Tensor, nn

from node_repro import ode

UNCOMPILED = ode.Compiled(backend="uncompiled")


def given(gradient: Tensor | None) -> Tensor:
    """A gradient that there must be."""
    assert gradient is not None
    return gradient


class Growth(nn.Module):
    """dy/dt = rate y, with a rate for every element."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(real(0.3, -0.4))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.rate * y
