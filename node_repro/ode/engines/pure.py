"""Fields as pure functions of tensors: without checks, counts and graphs, for compiled loops.

The adjoint differentiates f inside the loop by `torch.func.vjp`, so f must be a function of its
parameters.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp

from node_repro.ode.engines.parametrized import NotCompilableError, Parametrized, views
from node_repro.ode.field import Counted, Plain, VectorField, at_times
from node_repro.ode.methods import (
    Field,
    Linear,
    Method,
    Rate,
    ReversibleMethod,
    Slope,
    State,
    Time,
)
from node_repro.ode.solution import Stats

METHODS = 64  # whose counts are kept


def _with_views(f: VectorField) -> VectorField:
    """A module with views of its parameters."""
    if not isinstance(f, nn.Module) or hasattr(f, "at_times"):
        return f
    own = dict(f.named_parameters())
    return lambda t, y: functional_call(
        f, dict(zip(own, views(list(own.values())), strict=True)), (t, y)
    )


class Clip(NamedTuple):
    """The interval of times at which f may be evaluated, () float64 each."""

    low: Tensor
    high: Tensor

    def __call__(self, t: Time, y: Tensor) -> Tensor:
        """The time as f receives it."""
        assert isinstance(t, Tensor)
        return torch.clamp(t, self.low, self.high).to(y.dtype)


class PureField:
    """A field without integrands.

    Args:
        f: The vector field.
        parameters: Empty, as f has its own.
        clip: Where f may be evaluated.
    """

    def __init__(self, f: VectorField, parameters: tuple[Tensor, ...], clip: Clip) -> None:
        self.f, self.parameters, self.clip = _with_views(f), parameters, clip

    def __call__(self, t: Time, y: Tensor, *, integrands: bool) -> Slope:
        return Slope(self.f(self.clip(t, y), y))

    def at_times(self, times: Sequence[Time], like: Tensor) -> Sequence[Rate]:
        ts = [self.clip(t, like) for t in times]
        fields = at_times(self.f, ts)
        return [partial(_rate, f, t) for f, t in zip(fields, ts, strict=True)]

    def jacobian(self, t: Time, y: Tensor) -> Linear:
        raise NotCompilableError("implicit methods are not compiled as a whole")

    @property
    def vjps(self) -> Stats | None:
        return None


def _rate(f: VectorField, t: Tensor, y: Tensor, *, integrands: bool) -> Slope:
    return Slope(f(t, y))


class PureAdjoint(PureField):
    """The field of the adjoint's backward solve: see `gradients.adjoint`.

    Args:
        f: The vector field as a function of its parameters.
        parameters: The parameters.
        clip: Where f may be evaluated.
    """

    def __init__(self, f: Parametrized, parameters: tuple[Tensor, ...], clip: Clip) -> None:
        super().__init__(f.module.f, parameters, clip)
        self.pure = f

    def __call__(self, t: Time, y: Tensor, *, integrands: bool) -> Slope:
        return self._slope(self.clip(t, y), y, integrands=integrands)

    def at_times(self, times: Sequence[Time], like: Tensor) -> Sequence[Rate]:
        return [partial(self._slope, self.clip(t, like)) for t in times]

    def _slope(self, t: Tensor, y: Tensor, *, integrands: bool) -> Slope:
        z, a = y[0], y[1]

        def f(z: Tensor, parameters: tuple[Tensor, ...]) -> Tensor:
            return self.pure.with_parameters(parameters, lambda f: f(t, z))

        if integrands and self.parameters:
            pulled: Any = vjp(f, z, self.parameters)
            dz, pull = pulled
            da, gs = pull(-a)
            return Slope(torch.stack((dz, da)), tuple(gs))
        pulled = vjp(lambda z: f(z, self.parameters), z)
        dz, pull = pulled
        return Slope(torch.stack((dz, pull(-a)[0])))


class Traced(NamedTuple):
    """What a compiled graph makes its field of: `make(f, parameters, clip)`."""

    make: Callable[[Any, tuple[Tensor, ...], Clip], PureField]
    f: Any
    parameters: tuple[Tensor, ...]


@runtime_checkable
class Traceable(Protocol):
    """A field that can be compiled."""

    f: VectorField

    def traced(self) -> Traced:
        """The field as a function of tensors. Raises NotCompilableError if f is none."""
        ...

    def around(self, f: VectorField) -> Field:
        """The same field around another function."""
        ...


def traced(field: Field) -> Traced:
    """A field as a function of tensors. Raises NotCompilableError if it is none."""
    if isinstance(field, Plain):
        return Traced(PureField, field.f, ())
    if isinstance(field, Traceable):
        return field.traced()
    raise NotCompilableError("gradient=forward is not compiled as a whole")


@lru_cache(maxsize=METHODS)
def evaluations(method: Method, *, advance_only: bool = False) -> int:
    """The evaluations of f in a step of a method whose first slope is known."""
    counts, f, y = _counting()
    carry = method.init(f, 0.0, y)
    before = counts.nfe
    method.step(f, 0.0, 1.0, State(y), carry, advance_only=advance_only)
    return counts.nfe - before


@lru_cache(maxsize=METHODS)
def inversion_evaluations(method: ReversibleMethod) -> int:
    """The evaluations of f in the inversion of a step."""
    counts, f, y = _counting()
    method.unstep(f, 0.0, 1.0, y, y)
    return counts.nfe


@lru_cache(maxsize=METHODS)
def stage_count(method: Method) -> int:
    """The number of slopes that a step keeps for its dense output."""
    _, f, y = _counting()
    return len(method.step(f, 0.0, 1.0, State(y), method.init(f, 0.0, y)).stages)


def _counting() -> tuple[Stats, Counted, Tensor]:
    """A field that is 0 everywhere, with its counts and a state."""
    counts = Stats()
    y = torch.zeros(1, dtype=torch.float64)
    return counts, Counted(Plain(lambda t, y: torch.zeros_like(y)), counts, (0.0, 1.0)), y
