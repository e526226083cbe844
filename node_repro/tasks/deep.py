"""What regression and classification ask of a model: the kind "map", x -> y through a depth."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn


class Path(Protocol):
    @property
    def ts(self) -> Tensor: ...

    @property
    def z(self) -> Tensor: ...


class Deep(Protocol):
    """A map of x (B, features) to y (B, outputs) whose state z (B, D) goes through a depth, by
    layers or by an ODE.
    """

    @property
    def depth(self) -> float: ...

    def __call__(self, x: Tensor) -> Tensor: ...

    @property
    def decoder(self) -> Callable[[Tensor], Tensor]:
        """y of the last state."""
        ...

    def rate(self, t: float, z: Tensor) -> Tensor:
        """How the state changes at depth t, in a layer or a unit of depth: (B, D)."""
        ...

    def path(self, x: Tensor) -> Path:
        """Depths ts (T,) and the states there, z (T, B, D)."""
        ...

    def evaluated(self, x: Tensor) -> Path:
        """Where layers or field are evaluated for one input, (1, features): (n,) and (n, D)."""
        ...


def as_deep(model: nn.Module) -> Deep:
    """The model in the type of its kind."""
    return model  # pyright: ignore[reportReturnType]


def padded(parts: list[Tensor]) -> np.ndarray:
    """Vectors of different lengths as the rows of one array, filled up with NaN."""
    return torch.nn.utils.rnn.pad_sequence(
        [part.double().cpu() for part in parts], batch_first=True, padding_value=float("nan")
    ).numpy()


def plain(x: Tensor) -> np.ndarray:
    """As an array on the host."""
    return x.detach().cpu().numpy()
