"""f as a function of its parameters, and the modules that f consists of.

Compiled loops differentiate f with respect to its parameters by `torch.func.vjp`;
`torch.func.functional_call` makes every module a function of them.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from node_repro.ode.field import VectorField, Wrapper


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
        places = (name.rpartition(".") for name in self.names)
        return tuple(getattr(self.module.get_submodule(path), name) for path, _, name in places)

    def with_parameters(
        self, parameters: Sequence[Tensor], use: Callable[[VectorField], Any]
    ) -> Any:  # noqa: ANN401
        """Call use(f), where f has these parameters during the call."""
        given = dict(zip(self.names, views(parameters), strict=True))
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
    module = _Enclosing(f, [] if isinstance(f, nn.Module) else modules_of(f))
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


def modules_of(f: Any) -> list[nn.Module]:  # noqa: ANN401
    """The modules that a function consists of: itself, or those that it refers to directly."""
    found: list[nn.Module] = []
    pending, seen = [f], set()
    while pending:
        x = pending.pop(0)
        if id(x) in seen:
            continue
        seen.add(id(x))
        if isinstance(x, nn.Module):
            found.append(x)
        elif isinstance(x, Wrapper):
            pending.append(x.f)
        elif isinstance(x, partial):
            pending += (x.func, *x.args, *x.keywords.values())
        elif isinstance(x, MethodType):
            pending += (x.__self__, *([] if isinstance(x.__self__, nn.Module) else [x.__func__]))
        elif isinstance(x, FunctionType):
            pending += [c.cell_contents for c in x.__closure__ or () if not _is_empty(c)]
            used = map(x.__globals__.get, x.__code__.co_names)
            found += [m for m in used if isinstance(m, nn.Module)]
    return found


def _is_empty(cell: CellType) -> bool:
    try:
        return cell.cell_contents is cell
    except ValueError:
        return True


def kind_of(f: Any, *tensors: Tensor) -> Hashable:  # noqa: ANN401
    """What distinguishes solves that need different graphs: f's code and modes, and shapes."""
    f = f.module.f if isinstance(f, Parametrized) else f
    modes = tuple(m.training for m in modules_of(f))
    return _code(f), modes, tuple((x.shape, x.dtype, x.device) for x in tensors)


def _code(f: Any) -> Hashable:  # noqa: ANN401
    if isinstance(f, Wrapper):
        return type(f), _code(f.f)
    return _code(f.func) if isinstance(f, partial) else getattr(f, "__code__", type(f))


@contextmanager
def refused_changes(f: Any) -> Iterator[None]:  # noqa: ANN401
    """Check that f changes no buffers in the block, in which it is evaluated.

    A loop evaluates f at other times, and more often, than the eager engine.

    Raises:
        NotCompilableError: A buffer was changed. The change is undone.
    """
    f = f.module.f if isinstance(f, Parametrized) else f
    holders = {id(m): m for module in modules_of(f) for m in module.modules()}.values()
    buffers = [(m, name, x) for m in holders for name, x in m._buffers.items() if x is not None]
    values = [x.clone() for _, _, x in buffers]
    yield
    changed = False
    for (module, name, x), value in zip(buffers, values, strict=True):
        # by value: kernels such as that of batch normalisation do not count their changes
        if module._buffers[name] is not x or not torch.equal(x, value):
            changed, module._buffers[name] = True, x
            with torch.no_grad():
                x.copy_(value)
    if changed:
        raise NotCompilableError(
            "f changes buffers of a module, as batch normalisation does in training mode"
        )


def views(parameters: Sequence[Tensor]) -> list[Tensor]:
    """Views made inside the loop: dynamo moves properties such as W.T of other tensors out of it,
    where two of them alias each other, which it refuses.
    """
    return [p.view_as(p) for p in parameters]
