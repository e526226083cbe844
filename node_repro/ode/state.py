"""Packing of states of several tensors into one vector."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from node_repro.ode.field import Wrapper
from node_repro.ode.solution import SolverError

TupleField = Callable[[Tensor, tuple[Tensor, ...]], Sequence[Tensor]]
"""f(t, (y1, y2, ...)) -> (dy1/dt, dy2/dt, ...)."""


class Layout(NamedTuple):
    """The shapes of the parts of a state, in the order of the vector."""

    shapes: tuple[torch.Size, ...]

    @classmethod
    def from_parts(cls, y: Sequence[Tensor]) -> "Layout":
        """The layout of some parts.

        Raises:
            SolverError: There is no part, or parts differ in dtype or device (kind bad_input).
        """
        if not y or not all(isinstance(part, Tensor) for part in y):
            raise SolverError("bad_input", "a tuple of states must hold tensors, at least one")
        kinds = sorted({f"{part.dtype} on {part.device}" for part in y})
        if len(kinds) > 1:
            raise SolverError(
                "bad_input",
                f"the parts of a state must have one dtype and device, not {' and '.join(kinds)}: "
                "convert them",
            )
        return cls(tuple(part.shape for part in y))

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of elements of each part."""
        return tuple(shape.numel() for shape in self.shapes)

    def pack(self, y: Sequence[Tensor]) -> Tensor:
        """The parts as one vector, (N,)."""
        return torch.cat([part.reshape(-1) for part in y])

    def unpack(self, y: Tensor) -> tuple[Tensor, ...]:
        """The parts (..., *S_i) of vectors (..., N)."""
        pieces = y.split(self.sizes, dim=-1)
        return tuple(
            piece.reshape((*y.shape[:-1], *shape))
            for piece, shape in zip(pieces, self.shapes, strict=True)
        )

    def tolerance(self, values: Sequence[float | Tensor], like: Tensor) -> Tensor:
        """A tolerance for every element, (N,), from one for each part: a number, or a tensor that
        broadcasts to the part.
        """
        parts = [
            torch.as_tensor(value, dtype=torch.float64, device=like.device).expand(shape)
            for value, shape in zip(values, self.shapes, strict=True)
        ]
        return self.pack(parts)


class Packed(Wrapper):
    """The vector field of the packed state."""

    def __init__(self, f: TupleField, layout: Layout) -> None:
        self.f, self.layout = f, layout

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        layout = self.layout
        dy = self.f(t, layout.unpack(y))
        if not isinstance(dy, tuple | list):
            raise SolverError(
                "bad_input", f"f must return a tuple like the state, not {type(dy).__name__}"
            )
        got = [
            tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in dy
        ]
        if got != [tuple(shape) for shape in layout.shapes]:
            raise SolverError(
                "bad_input",
                f"f must return tensors like those of the state, of shapes "
                f"{[tuple(shape) for shape in layout.shapes]}, and gave {got}",
            )
        others = sorted({str(part.dtype) for part in dy if part.dtype != y.dtype})
        if others:
            raise SolverError(
                "bad_input",
                f"f must return tensors like those of the state, of {y.dtype}, and gave "
                f"{' and '.join(others)}",
            )
        return layout.pack(tuple(dy))
