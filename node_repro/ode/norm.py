"""Tolerances, and norms of an error in units of them: a step is accepted if its norm is at most 1.

Hairer, Norsett, Wanner: Solving ODEs I, equation (II.4.11).
"""

# pyright: reportPrivateImportUsage=false
# (torch exports its fused operations on lists of tensors under private names)
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Real
from typing import NamedTuple, Protocol

import torch
from torch import (
    Tensor,
    _foreach_abs,
    _foreach_add_,
    _foreach_div,
    _foreach_maximum_,
    _foreach_mul_,
    _foreach_norm,
)

from node_repro.ode.methods import State, Step, to_device
from node_repro.ode.solution import SolverError

SMALLEST_RTOL = 4
"""The smallest relative tolerance, in units of the dtype's rounding error (`torch.finfo.eps`)."""


class Tolerances(NamedTuple):
    """The tolerances of the elements of a state: atol + rtol |y|.

    Attributes:
        rtol: Relative tolerance, a number or a tensor that broadcasts to y.
        atol: Absolute tolerance, a number or a tensor that broadcasts to y.
        integrals: (rtol, atol) of the integrals: the strictest of those of y. In a compiled loop
            they are scalar tensors, as rtol and atol are.
        zero: Whether atol is 0 somewhere.
    """

    rtol: float | Tensor
    atol: float | Tensor
    integrals: tuple[float, float] | tuple[Tensor, Tensor]
    zero: bool

    @classmethod
    def create(cls, rtol: float | Tensor, atol: float | Tensor) -> "Tolerances":
        """Check the tolerances.

        Raises:
            SolverError: One is negative or not finite, or both are 0 (kind bad_input).
        """
        least = []
        for name, value in (("rtol", rtol), ("atol", atol)):
            if not isinstance(value, Real | Tensor):
                raise SolverError("bad_input", f"{name} must be a number >= 0, not {value!r}")
            values = torch.as_tensor(value, dtype=torch.float64)
            if values.numel() == 0 or not bool((torch.isfinite(values) & (values >= 0)).all()):
                shown = value if not isinstance(value, Tensor) else "a tensor with other elements"
                raise SolverError("bad_input", f"{name} must be a number >= 0, not {shown}")
            least.append(float(values.min()))
        if least == [0.0, 0.0]:
            where = "" if isinstance(rtol, Real) and isinstance(atol, Real) else " somewhere"
            raise SolverError(
                "bad_input", f"rtol and atol are both 0{where}: give at least one of them"
            )
        return cls(rtol, atol, (least[0], least[1]), least[1] == 0)

    def scale(self, *sizes: Tensor) -> Tensor:
        """The allowed error of each element, (*S): atol + rtol max |size| over some states."""
        scale = sizes[0].abs()
        for size in sizes[1:]:
            scale = torch.maximum(scale, size.abs())
        rtol, atol = self.rtol, self.atol
        if isinstance(rtol, Tensor):
            scale = scale * rtol.to(scale)
        else:
            scale.mul_(rtol)
        scale = scale + atol.to(scale) if isinstance(atol, Tensor) else scale.add_(atol)
        return _positive(scale) if self.zero else scale

    def check(self, y: Tensor) -> None:
        """Check the tolerances against a state y.

        Raises:
            SolverError: rtol is too small for the dtype of y, or a tensor does not match y in its
                shape or device (kind bad_input).
        """
        allowed = SMALLEST_RTOL * torch.finfo(y.dtype.to_real()).eps
        least = self.integrals[0]
        if 0 < least < allowed:
            raise SolverError(
                "bad_input",
                f"rtol = {least:g} cannot be met in {y.dtype}: the smallest allowed is "
                f"{allowed:.3g}; use a larger rtol or float64",
            )
        for name, value in (("rtol", self.rtol), ("atol", self.atol)):
            if not isinstance(value, Tensor):
                continue
            if value.device != y.device:
                raise SolverError(
                    "bad_input", f"{name} is on {value.device} and y on {y.device}: move one"
                )
            if not _broadcasts(value.shape, y.shape):
                raise SolverError(
                    "bad_input",
                    f"{name} of shape {tuple(value.shape)} does not broadcast to a state of shape "
                    f"{tuple(y.shape)}",
                )


def _broadcasts(shape: torch.Size, target: torch.Size) -> bool:
    """Whether a shape can be expanded to the target."""
    pairs = zip(reversed(shape), reversed(target), strict=False)
    return len(shape) <= len(target) and all(n in (1, m) for n, m in pairs)


class Norm(Protocol):
    """Measures a state in units of its tolerances.

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> norm: ode.Norm = ode.CallableNorm(lambda y, integrals: y.abs().max())
        >>> solution = ode.odeint(
        ...     lambda t, y: -y,
        ...     torch.ones(2),
        ...     torch.tensor([0.0, 1.0]),
        ...     solver=ode.dopri5(rtol=1e-3, atol=1e-3),
        ...     gradient=ode.Direct(),
        ...     norm=norm,
        ... )
    """

    @property
    def integrals(self) -> bool:
        """Whether the norm includes the integrals."""
        ...

    def measure(self, value: State, tolerances: Tolerances, *sizes: State) -> Tensor:
        """The norm of value / (atol + rtol max |size|) over some states, a scalar tensor."""
        ...

    def with_parts(self, parts: tuple[int, ...]) -> "Norm":
        """The norm for states that are packed from parts of these numbers of elements."""
        ...


@dataclass(frozen=True)
class RmsNorm:
    """The largest of the root mean squares of the parts of a state.

    STATE is the norm of a forward solve. FULL, SEMI and FLAT are norms for the backward solve of
    Adjoint: all errors; those of the state and its adjoint only; one mean over all errors.

    Args:
        segments: The number of equal blocks along the first dimension of y: 1 for a state, 2 for a
            state and its adjoint.
        parts: The numbers of elements of the parts of a block, each of which has its own mean.
            Empty: a block is one part.
        integrals: Whether every integral counts as one more part. The gradients of parameters are
            integrals of the backward solve.
        flat: Use one mean over everything, as in scipy's solvers, instead of the largest of the
            means.

    References:
        Kidger, Chen, Lyons: "Hey, that's not an ODE": faster ODE adjoints via seminorms, 2021.

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> y0 = torch.ones(2, requires_grad=True)
        >>> solution = ode.odeint(
        ...     lambda t, y: -y,
        ...     y0,
        ...     torch.tensor([0.0, 1.0]),
        ...     solver=ode.dopri5(rtol=1e-5, atol=1e-5),
        ...     gradient=ode.Adjoint(norm=ode.SEMI),
        ...     parameters=(),
        ... )
        >>> solution.ys[-1].sum().backward()
        >>> torch.allclose(y0.grad, torch.full((2,), -1.0).exp(), atol=1e-4)
        True
    """

    segments: int = 1
    parts: tuple[int, ...] = ()
    integrals: bool = False
    flat: bool = False

    def with_parts(self, parts: tuple[int, ...]) -> "RmsNorm":
        return replace(self, parts=parts)

    def measure(self, value: State, tolerances: Tolerances, *sizes: State) -> Tensor:
        scaled = value.y / tolerances.scale(*(size.y for size in sizes))
        integrals = value.integrals if self.integrals else ()
        norms, counts = self._part_norms(scaled)
        if integrals:
            scaled_integrals = _scaled(integrals, tolerances, *(size.integrals for size in sizes))
            norms = torch.cat((norms, _norms(scaled_integrals)))
            counts = counts + [q.numel() for q in integrals]
        if self.flat:
            return torch.linalg.vector_norm(norms) / math.sqrt(max(sum(counts), 1))
        if len(set(counts)) == 1:
            return norms.max() / math.sqrt(max(counts[0], 1))
        return (norms / _roots(counts, norms)).max()

    def _part_norms(self, scaled: Tensor) -> tuple[Tensor, list[int]]:
        """The 2-norms of the parts of y and their numbers of elements."""
        blocks = scaled.reshape(self.segments, -1)
        if not self.parts or self.flat:
            norms = torch.linalg.vector_norm(blocks, dim=1)
            return norms, [blocks.shape[1]] * self.segments
        pieces = [torch.linalg.vector_norm(x, dim=1) for x in blocks.split(self.parts, dim=1)]
        return torch.cat(pieces), [n for n in self.parts for _ in range(self.segments)]


def _roots(counts: list[int], like: Tensor) -> Tensor:
    """The square roots of the counts, in one tensor."""
    roots = [math.sqrt(max(n, 1)) for n in counts]
    if torch.compiler.is_compiling():  # in a loop the compiler loses constants of many elements
        return torch.stack([like.new_full((), root) for root in roots])
    return to_device(torch.tensor(roots), like)


@dataclass(frozen=True)
class CallableNorm:
    """A norm defined by a function.

    Args:
        function: A function of a state and its integrals, each element divided by its tolerance. It
            returns one real number, a float or a tensor of one element, whose absolute value is the
            norm. In the backward solve of Adjoint the state is (2, *S), the state and its adjoint,
            and the integrals are the gradients of the parameters.
        integrals: Whether the function gets the integrals.

    Raises:
        SolverError: In a solve, the function returns something else (kind bad_input).

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> largest = ode.CallableNorm(lambda y, integrals: y.abs().max())
        >>> solution = ode.odeint(
        ...     lambda t, y: -y * torch.tensor([1.0, 100.0]),
        ...     torch.ones(2),
        ...     torch.tensor([0.0, 1.0]),
        ...     solver=ode.dopri5(rtol=1e-3, atol=1e-3),
        ...     gradient=ode.Direct(),
        ...     norm=largest,
        ... )
    """

    function: Callable[[Tensor, tuple[Tensor, ...]], Tensor | float]
    integrals: bool = False

    def with_parts(self, parts: tuple[int, ...]) -> "CallableNorm":
        """The norm itself: the function handles the parts."""
        return self

    def measure(self, value: State, tolerances: Tolerances, *sizes: State) -> Tensor:
        scaled = value.y / tolerances.scale(*(size.y for size in sizes))
        integrals = ()
        if self.integrals and value.integrals:
            integrals = _scaled(value.integrals, tolerances, *(size.integrals for size in sizes))
        result = torch.as_tensor(self.function(scaled, integrals), device=scaled.device)
        if result.numel() != 1 or result.is_complex():
            raise SolverError(
                "bad_input",
                "a norm must return one real number, not a tensor of shape "
                f"{tuple(result.shape)} and {result.dtype}",
            )
        return result.detach().abs().reshape(())


STATE = RmsNorm()
SEMI = RmsNorm(segments=2)
FULL = RmsNorm(segments=2, integrals=True)
FLAT = RmsNorm(segments=2, integrals=True, flat=True)


def _scaled(
    values: tuple[Tensor, ...], tolerances: Tolerances, *sizes: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """value / (atol + rtol max |size|) for every integral."""
    rtol, atol = tolerances.integrals
    if isinstance(rtol, Tensor) and isinstance(
        atol, Tensor
    ):  # in a compiled loop, which fuses single operations
        largest = [
            functools.reduce(torch.maximum, [q.abs() for q in qs])
            for qs in zip(*sizes, strict=True)
        ]
        scales = [size * rtol.to(size) + atol.to(size) for size in largest]
        return tuple(q / scale for q, scale in zip(values, map(_positive, scales), strict=True))
    scales = _foreach_abs(sizes[0])
    for size in sizes[1:]:
        _foreach_maximum_(scales, _foreach_abs(size))
    _foreach_mul_(scales, rtol)
    _foreach_add_(scales, atol)
    return _foreach_div(values, list(map(_positive, scales)) if tolerances.zero else scales)


def _norms(values: tuple[Tensor, ...]) -> Tensor:
    """The 2-norms of some tensors."""
    if torch.compiler.is_compiling():
        return torch.stack([torch.linalg.vector_norm(q) for q in values])
    # one kernel launch for all integrals, as there is an integral for every parameter
    return torch.stack(_foreach_norm(values))


def _positive(scale: Tensor) -> Tensor:
    """The scale without zeros, as an element and its error that are both 0 would give 0 / 0."""
    return scale.clamp_min_(torch.finfo(scale.dtype).tiny)


def error_ratio(before: State, step: Step, tolerances: Tolerances, norm: Norm) -> Tensor:
    """The norm of a step's error estimate in units of the tolerances, a scalar tensor."""
    if step.error is None:
        raise ValueError("the method gives no error estimate")
    return norm.measure(step.error, tolerances, before, step.end)
