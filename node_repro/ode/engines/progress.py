"""What a stepping loop of tensors carries from step to step, and what it is given."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from node_repro.ode.controllers.adaptive import StepHistory


class Stops(NamedTuple):
    """Times at which steps end, and what happens to the state there: see `engines.Jump`.

    Attributes:
        ts: The times, (T,) float64; the first is the start and the last the end.
        tensors: The tensors of the jump, (T, ...).
    """

    ts: Tensor
    tensors: tuple[Tensor, ...]


class Limits(NamedTuple):
    """The scalars that differ from solve to solve, as tensors, so that nothing is recompiled.

    Attributes:
        end: The time of the end, () float64.
        shortest: The length of the shortest step as a fraction of the span, () float64.
        max_steps: The most attempted steps from one stop to the next, () int64.
    """

    end: Tensor
    shortest: Tensor
    max_steps: Tensor


class Progress(NamedTuple):
    """What changes from step to step.

    Attributes:
        t: The current time, () float64.
        h: The planned signed size of the next step, () float64.
        y: The state, (*S).
        integrals: The integrals.
        slope: f(t, y) and the integrands; where every step evaluates it anew, that of the first.
        twin: The second state of a reversible method, or nothing.
        history: What the controller keeps: its numbers are scalar tensors.
        retry: Whether the last attempt since the last stop was rejected, () bool.
        accepted: Accepted steps since the buffers were empty, () int64.
        attempted: Attempted steps, () int64.
        since: Attempted steps since the last stop, () int64.
        stop: The index of the next stop, () int64.
        code: RUNNING or the reason of a failure, () int64.
        size: The signed size of the last attempt, () float64.
        error: Its error in units of the tolerances, () float64.
        deviation: The largest deviation that a jump measured, () float64.
        points: The ends of the accepted steps, (C,) float64.
    """

    t: Tensor
    h: Tensor
    y: Tensor
    integrals: tuple[Tensor, ...]
    slope: tuple[Tensor, ...]
    twin: tuple[Tensor, ...]
    history: Any
    retry: Tensor
    accepted: Tensor
    attempted: Tensor
    since: Tensor
    stop: Tensor
    code: Tensor
    size: Tensor
    error: Tensor
    deviation: Tensor
    points: Tensor

    def flat(self) -> tuple[Tensor, ...]:
        """The tensors in one tuple, with all scalars in one, as a loop pays for each tensor."""
        t, h, y, integrals, slope, twin, history, *scalars, points = self
        return (packed((t, h, *history, *scalars)), points, y, *integrals, *slope, *twin)

    def from_flat(self, flat: Sequence[Tensor]) -> "Progress":
        """Tensors in one tuple, in the form of this progress."""
        packed, points, y, *more = flat
        parts: list[Any] = []
        for part in (self.integrals, self.slope, self.twin):
            parts.append(tuple(more[: len(part)]))
            more = more[len(part) :]
        now = packed.unbind()
        scalars = (self.t, self.h, *self.history, *self[7:-1])
        t, h, error, rejected, *rest = (
            x.to(scalar.dtype) for x, scalar in zip(now, scalars, strict=True)
        )
        fields: list[Any] = [t, h, y, *parts, StepHistory(error, rejected), *rest, points]
        return Progress(*fields)


class Buffers(NamedTuple):
    """What the loop writes for every attempted step, at the number of steps accepted before it.

    The last row is for the attempts of a full block and for those after the end.

    Attributes:
        starts: The state at its start, (C, *S), or nothing.
        twins: The second state at its start, (C, *S), or nothing.
        stages: The slopes of its stages, (C, s, *S), or nothing.
    """

    starts: tuple[Tensor, ...]
    twins: tuple[Tensor, ...]
    stages: tuple[Tensor, ...]


def packed(scalars: Sequence[Tensor]) -> Tensor:
    """Scalars as one vector of float64, by a single kernel where `stack` has one for each."""
    i = torch.arange(len(scalars), device=scalars[0].device)
    vector = torch.zeros(len(scalars), dtype=torch.float64, device=i.device)
    for n, scalar in enumerate(scalars):
        vector = torch.where(i == n, scalar.double(), vector)
    return vector


def row_at(x: Tensor, i: Tensor) -> Tensor:
    """Row i of a tensor, for a scalar tensor i."""
    return x.index_select(0, i.reshape(1))[0]
