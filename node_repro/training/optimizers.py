"""Optimizers of torch with their options."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar, Protocol

import torch
from annotated_types import Ge, Gt, Lt
from torch import nn


class Optimizer(Protocol):
    """Interface of an optimizer choice: makes a torch optimizer of given parameters."""

    lr_batch: ClassVar[int | None]
    """Batch size for which lr is given; lr is scaled in proportion to the run's batch size (Goyal
    et al. 2017). None: lr is not scaled.
    """

    def __call__(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer: ...


@dataclass(frozen=True, kw_only=True)
class SGD:
    """Stochastic gradient descent with momentum.

    Args:
        lr: Learning rate for a batch size of 128; proportional to the batch size for others.
        momentum: Momentum.
    """

    lr: Annotated[float, Gt(0)]
    momentum: Annotated[float, Ge(0), Lt(1)]
    lr_batch: ClassVar[int | None] = 128

    def __call__(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, **asdict(self))


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam (Kingma and Ba 2015).

    Args:
        lr: Learning rate.
    """

    lr: Annotated[float, Gt(0)]
    lr_batch: ClassVar[int | None] = None

    def __call__(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, **asdict(self))


@dataclass(frozen=True, kw_only=True)
class RMSprop:
    """RMSprop (Tieleman and Hinton 2012).

    Args:
        lr: Learning rate.
        momentum: Momentum.
    """

    lr: Annotated[float, Gt(0)]
    momentum: Annotated[float, Ge(0), Lt(1)]
    lr_batch: ClassVar[int | None] = None

    def __call__(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(parameters, **asdict(self))
