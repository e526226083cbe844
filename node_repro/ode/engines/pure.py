"""Fields as pure functions of tensors: without checks, counts and graphs, for compiled loops.

The adjoint and the replay of a step differentiate f inside the loop by `torch.func.vjp`. For that f
must be a function of its parameters, which `torch.func.functional_call` makes of every module.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp

from node_repro.ode.field import Counted, Plain, VectorField, Wrapper, at_times
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


class NotCompilableError(Exception):
    """A solve cannot be compiled as a whole; the message is the reason."""


class Parametrized(NamedTuple):
    """f as a function of its parameters.

    Attributes:
        module: A module that contains f.
        names: The names of the parameters in it.
    """

    module: "_Enclosing"
    names: tuple[str, ...]

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """The parameters as they are in the module: a graph depends on their type."""
        return tuple(map(self.module.get_parameter, self.names))

    def with_parameters(
        self, parameters: Sequence[Tensor], use: Callable[[VectorField], Any]
    ) -> Any:  # noqa: ANN401
        """Call use(f), where f has these parameters during the call."""
        given = dict(zip(self.names, _views(parameters), strict=True))
        return functional_call(self.module, given, (use,))


class _Enclosing(nn.Module):
    """A module that contains f and the modules that f uses, so that their parameters have names."""

    def __init__(self, f: VectorField, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.f = f
        self.used = nn.ModuleList(modules)

    def forward(self, use: Callable[[VectorField], Any]) -> Any:  # noqa: ANN401
        return use(self.f)


def parametrized(f: VectorField, parameters: Sequence[Tensor]) -> Parametrized:
    """f as a function of its parameters, which must belong to modules that f consists of.

    Args:
        f: A module, a method of one, or a function or wrapper around modules.
        parameters: The tensors to differentiate with respect to.

    Raises:
        NotCompilableError: A parameter belongs to no such module.
    """
    module = _Enclosing(f, [] if isinstance(f, nn.Module) else _modules(f))
    own = dict(module.named_parameters())
    by_identity = {id(p): name for name, p in own.items()}
    # hooks on saved tensors hand the backward pass other objects with the same memory
    by_memory = {_memory(p): name for name, p in own.items() if p.numel()}
    names = [by_identity.get(id(p)) or by_memory.get(_memory(p)) for p in parameters]
    found = tuple(name for name in names if name is not None)
    if len(found) < len(names):
        raise NotCompilableError(
            "f is a function of tensors that are not parameters of a module it refers to"
        )
    return Parametrized(module, found)


def check_single_path(f: Parametrized, t: Tensor, y: Tensor) -> None:
    """Raises NotCompilableError if f reaches a parameter not only by its name in a module.

    A reference in a list or a closure would keep the parameter itself, which is a constant for the
    derivatives of the loop.
    """
    own = [p for p in f.parameters if p.requires_grad]
    copies = [p.detach().clone().requires_grad_(p.requires_grad) for p in f.parameters]
    with torch.enable_grad():
        dy = f.with_parameters(copies, lambda f: f(t, y.detach()))
        if not (own and dy.requires_grad):
            return
        found = torch.autograd.grad(dy.sum(), own, allow_unused=True)
    if any(g is not None for g in found):
        raise NotCompilableError("f uses a parameter of a module by another reference, too")


def _memory(p: Tensor) -> Hashable:
    return p.device, p.data_ptr(), p.dtype, p.shape, p.stride()


def _modules(f: Any) -> list[nn.Module]:  # noqa: ANN401
    """The modules that a function refers to directly."""
    if isinstance(f, nn.Module):
        return [f]
    if isinstance(f, Wrapper):
        return _modules(f.f)
    if isinstance(f, partial):
        return [m for x in (f.func, *f.args, *f.keywords.values()) for m in _modules(x)]
    bound = getattr(f, "__self__", None)
    if isinstance(bound, nn.Module):
        return [bound]
    cells = getattr(f, "__closure__", None) or ()
    found = [
        m for cell in cells if cell.cell_contents is not f for m in _modules(cell.cell_contents)
    ]
    code, known = getattr(f, "__code__", None), getattr(f, "__globals__", {})
    names = code.co_names if code is not None else ()
    return found + [m for name in names if isinstance(m := known.get(name), nn.Module)]


def _views(parameters: Sequence[Tensor]) -> list[Tensor]:
    """Views made inside the loop: dynamo moves properties such as W.T of other tensors out of it,
    where two of them alias each other, which it refuses.
    """
    return [p.view_as(p) for p in parameters]


def _with_views(f: VectorField) -> VectorField:
    """A module with views of its parameters."""
    if not isinstance(f, nn.Module) or hasattr(f, "at_times"):
        return f
    own = dict(f.named_parameters())
    return lambda t, y: functional_call(
        f, dict(zip(own, _views(list(own.values())), strict=True)), (t, y)
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


def evaluations(method: Method, *, advance_only: bool = False) -> int:
    """The evaluations of f in a step of a method whose first slope is known."""
    counts, f, y = _counting()
    carry = method.init(f, 0.0, y)
    before = counts.nfe
    method.step(f, 0.0, 1.0, State(y), carry, advance_only=advance_only)
    return counts.nfe - before


def inversion_evaluations(method: ReversibleMethod) -> int:
    """The evaluations of f in the inversion of a step."""
    counts, f, y = _counting()
    method.unstep(f, 0.0, 1.0, y, y)
    return counts.nfe


def stage_count(method: Method) -> int:
    """The number of slopes that a step keeps for its dense output."""
    _, f, y = _counting()
    return len(method.step(f, 0.0, 1.0, State(y), method.init(f, 0.0, y)).stages)


def _counting() -> tuple[Stats, Counted, Tensor]:
    """A field that is 0 everywhere, with its counts and a state."""
    counts = Stats()
    y = torch.zeros(1, dtype=torch.float64)
    return counts, Counted(Plain(lambda t, y: torch.zeros_like(y)), counts, (0.0, 1.0)), y
