"""torchdiffeq's tolerances: one number, or one for each element or part."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor

from node_repro.ode.methods import State
from node_repro.ode.norm import SMALLEST_RTOL, Norm, Tolerances
from node_repro.ode.solution import SolverError
from node_repro.ode.state import Layout

Tolerance = float | Tensor
Given = float | Tensor | Sequence[float | Tensor]
"""A tolerance of all elements, of each element, or of each part of a tuple."""


def to_tolerance(
    value: Given, y0: Tensor | tuple[Tensor, ...], *, least: bool = False
) -> Tolerance:
    """A tolerance as a number, or as a tensor with one for every element.

    Args:
        value: The tolerance in torchdiffeq's form; for a tuple y0, one entry for each part.
        y0: The state.
        least: Whether to raise it to the smallest that the dtype of y0 allows.

    Raises:
        SolverError: The tolerance requires a gradient or does not fit y0 (kind bad_input).
    """
    like = y0[0] if isinstance(y0, tuple) else y0
    floor = SMALLEST_RTOL * torch.finfo(like.dtype.to_real()).eps if least else 0.0
    if isinstance(value, Tensor) and value.requires_grad:
        raise SolverError("bad_input", "a tolerance cannot require a gradient: detach it")
    if not isinstance(value, Sequence) and torch.as_tensor(value).dim() == 0:
        number = float(value)
        return max(number, floor) if number > 0 else number
    if isinstance(y0, tuple):
        values = () if isinstance(value, int | float) else tuple(value)
        if len(values) != len(y0):
            raise SolverError(
                "bad_input",
                f"there are {len(values)} tolerances for a state of {len(y0)} parts: give one "
                "number, or one entry per part",
            )
        pairs = zip(map(torch.as_tensor, values), y0, strict=True)
        tensor = Layout.from_parts(y0).tolerance([_shaped(v, y) for v, y in pairs], like)
    else:
        tensor = torch.as_tensor(value, dtype=torch.float64, device=like.device)
    return torch.where(tensor > 0, tensor.clamp_min(floor), tensor)


def _shaped(value: Tensor, like: Tensor) -> Tensor:
    """The value in the shape of a part; torchdiffeq also accepts a vector of all elements."""
    return value.reshape(like.shape) if value.numel() == like.numel() else value


def several(value: Given | None) -> TypeGuard[Sequence[float | Tensor] | Tensor]:
    """Whether there is a tolerance for each of several parts."""
    return isinstance(value, Sequence) or (isinstance(value, Tensor) and value.dim() > 0)


@dataclass(frozen=True)
class PartNorm:
    """A norm with a separate tolerance for every integral.

    Args:
        norm: Measures the scaled state and integrals.
        rtol: The relative tolerance of each integral, a number or a tensor that broadcasts to it.
        atol: The absolute tolerance of each integral, a number or a tensor that broadcasts to it.
    """

    norm: Norm
    rtol: tuple[Tolerance, ...]
    atol: tuple[Tolerance, ...]

    @property
    def integrals(self) -> bool:
        return self.norm.integrals

    def with_parts(self, parts: tuple[int, ...]) -> "PartNorm":
        return PartNorm(self.norm.with_parts(parts), self.rtol, self.atol)

    def measure(self, value: State, tolerances: Tolerances, *sizes: State) -> Tensor:
        scaled = []
        for i, q in enumerate(value.integrals if self.integrals else ()):
            largest = torch.stack([size.integrals[i].abs() for size in sizes]).amax(0)
            allowed = largest * self.rtol[i] + self.atol[i]
            scaled.append(q / allowed.clamp_min(torch.finfo(allowed.dtype).tiny))
        units = tolerances._replace(integrals=(0.0, 1.0))
        return self.norm.measure(State(value.y, tuple(scaled)), units, *sizes)


def adjoint_tolerances(
    rtol: Given, atol: Given, y0: Tensor | tuple[Tensor, ...], parameters: tuple[Tensor, ...]
) -> tuple[Tolerance, Tolerance, tuple[Tolerance, ...], tuple[Tolerance, ...]]:
    """Tolerances of a backward solve with one entry per part: the gradient of the time, the state,
    its adjoint, and every parameter.

    Returns:
        rtol and atol of the state and its adjoint, (2, *S), and those of the parameters.

    Raises:
        SolverError: There are not as many entries as parts (kind bad_input).
    """
    flat = torch.cat([part.detach().reshape(-1) for part in y0]) if isinstance(y0, tuple) else y0
    found: list[tuple[Tensor, tuple[Tolerance, ...]]] = []
    for name, value in (("adjoint_rtol", rtol), ("adjoint_atol", atol)):
        entries = tuple(value) if several(value) else (value,) * (3 + len(parameters))
        if len(entries) != 3 + len(parameters):
            raise SolverError(
                "bad_input",
                f"{name} has {len(entries)} entries, but the backward solve has "
                f"{3 + len(parameters)} parts (the time's gradient, the state, its adjoint and "
                "every parameter's gradient): give one number, or one entry per part",
            )
        least = name == "adjoint_rtol"
        _, *states = entries[:3]
        both = [
            torch.as_tensor(
                to_tolerance(_shaped(torch.as_tensor(v), flat), flat, least=least),
                dtype=torch.float64,
            ).expand(flat.shape)
            for v in states
        ]
        of_each = tuple(
            to_tolerance(_shaped(torch.as_tensor(v), p), p, least=least)
            for v, p in zip(entries[3:], parameters, strict=True)
        )
        found.append((torch.stack(both).to(flat.device), of_each))
    return found[0][0], found[1][0], found[0][1], found[1][1]
