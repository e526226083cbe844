"""Augmented dimensions: zeros appended to the state before an ODE (Dupont et al. 2019).

Solutions of an ODE cannot cross. In a space of more dimensions they can pass each other.
"""

import torch
from torch import Tensor, nn


class Augmentation(nn.Module):
    """Appends components that are zero: channels of an image, dimensions of a vector.

    Args:
        extra: Number of components; 0 returns the input.

    References:
        Dupont, Doucet, Teh: Augmented neural ODEs, 2019, section 4.
    """

    def __init__(self, extra: int) -> None:
        super().__init__()
        self.extra = extra

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C + extra, ...) of x (B, C, ...)."""
        if self.extra == 0:
            return x
        zeros = x.new_zeros(x.shape[0], self.extra, *x.shape[2:])
        return torch.cat((x, zeros), dim=1)
