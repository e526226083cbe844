"""Encoder, ODE, decoder, where the times t0 and t1 of the ODE are trained.

The gradients with respect to the times are those of algorithm 2 of the paper.
"""

from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import nn

from node_repro.models.encoded_ode import EncodedODE
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.solver import Solver


class TrainedSpanODE(EncodedODE):
    """An encoded ODE whose times are parameters.

    Args:
        features: Components of x.
        outputs: Components of y.
        dimensions: Components of the ODE's state. None starts the ODE at x itself.
        hidden: Units in the hidden layer of f.
        start: t0 at the start of training.
        end: t1 at the start of training.
        trained: Which times are trained.
        solver: Solver of the ODE.
        gradient: How the solution is differentiated.
    """

    def __init__(
        self,
        *,
        features: int,
        outputs: int,
        dimensions: Annotated[int, Ge(1)] | None,
        hidden: Annotated[int, Ge(1)],
        start: float,
        end: float,
        trained: Literal["t0", "t1", "both"],
        solver: Solver,
        gradient: GradientMethod,
    ) -> None:
        super().__init__(
            features=features,
            outputs=outputs,
            dimensions=dimensions,
            hidden=hidden,
            end=end,
            solver=solver,
            gradient=gradient,
        )
        self.block.span = [
            nn.Parameter(torch.tensor(time)) if trained in (name, "both") else time
            for name, time in (("t0", start), ("t1", end))
        ]
