"""Optimizers of torch with their options."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Lt
from torch import nn


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """Base of the optimizer choices: makes a torch optimizer of given parameters."""

    lr_batch: ClassVar[int | None] = None
    """Batch size for which lr is given; lr is scaled in proportion to the run's batch size (Goyal
    et al. 2017). None: lr is not scaled.
    """
    make: ClassVar[Callable[..., torch.optim.Optimizer]]
    """torch's class, whose options are the fields."""

    def __call__(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return self.make(parameters, **asdict(self))


@dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum.

    Args:
        lr: Learning rate for a batch size of 128; proportional to the batch size for others.
        momentum: Momentum.
    """

    lr: Annotated[float, Gt(0)]
    momentum: Annotated[float, Ge(0), Lt(1)]
    lr_batch: ClassVar[int | None] = 128
    make = torch.optim.SGD


@dataclass(frozen=True, kw_only=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015).

    Args:
        lr: Learning rate.
    """

    lr: Annotated[float, Gt(0)]
    make = torch.optim.Adam


@dataclass(frozen=True, kw_only=True)
class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton 2012).

    Args:
        lr: Learning rate.
        momentum: Momentum.
    """

    lr: Annotated[float, Gt(0)]
    momentum: Annotated[float, Ge(0), Lt(1)]
    make = torch.optim.RMSprop
