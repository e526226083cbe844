"""What a function refers to: the tensors that it reads, and the values that decide what it does."""

from collections.abc import Hashable, Mapping
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

_FIXED = (type, ModuleType, BuiltinFunctionType, torch.dtype, torch.device)
_VALUES = (bool, int, float, complex, str, bytes, type(None))


class References(NamedTuple):
    """What a function refers to.

    Attributes:
        key: Equal for a later call that reads the same memory in the same way.
        objects: What the key knows by identity only. It must live as long as the key is used.
    """

    key: Hashable
    objects: tuple[Any, ...]


def references(function: Any, device: torch.device) -> References:  # noqa: ANN401
    """What a function refers to: through arguments, closures, attributes, containers and globals.

    Tensors of the device are known by their addresses, scalars of the host by their values.

    Args:
        function: A function, module, partial, bound method, or a tuple of such.
        device: Where the function is captured.
    """
    walk = _Walk(device)
    return References(walk.key(function), tuple(walk.objects))


class _Walk:
    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seen: dict[int, int] = {}
        self.objects: list[Any] = []
        self.held: list[Any] = []  # so that no two objects of a walk have one id

    def key(self, x: Any) -> Hashable:  # noqa: ANN401
        """The key of an object."""
        if isinstance(x, _VALUES):
            return type(x), repr(x) if isinstance(x, float) else x  # NaN equals itself
        if isinstance(x, Tensor):
            return self._tensor(x)
        if id(x) in self.seen:
            return "seen", self.seen[id(x)]
        self.seen[id(x)] = len(self.seen)
        self.held.append(x)
        if isinstance(x, _FIXED):
            return self._identity(x)
        if isinstance(x, FunctionType):
            return self._function(x)
        if isinstance(x, MethodType):
            return "method", self.key(x.__func__), self.key(x.__self__)
        if isinstance(x, partial):
            return "partial", self.key(x.func), self._all(x.args), self._named(x.keywords)
        if isinstance(x, tuple | list):
            return type(x), self._all(x)
        if isinstance(x, set | frozenset) and all(isinstance(item, _VALUES) for item in x):
            return type(x), frozenset(x)
        if isinstance(x, Mapping):
            return type(x), self._named(x)
        if isinstance(x, nn.Module):
            return type(x), self.key(type(x).forward), self._named(vars(x))
        if getattr(x, "__dict__", None) is not None:
            return type(x), self._named(vars(x))
        return self._identity(x)

    def _identity(self, x: Any) -> Hashable:  # noqa: ANN401
        self.objects.append(x)
        return type(x), id(x)

    def _tensor(self, x: Tensor) -> Hashable:
        form = x.dtype, x.device, x.shape
        if x.layout is not torch.strided:
            return self._identity(x)
        if x.device.type == "cpu" != self.device.type and x.numel() == 1:
            return *form, repr(x.item())  # a kernel takes it as a number
        return *form, x.stride(), x.data_ptr()

    def _function(self, f: FunctionType) -> Hashable:
        cells = [self._cell(cell) for cell in f.__closure__ or ()]
        names = (name for name in f.__code__.co_names if name in f.__globals__)
        used = {name: f.__globals__[name] for name in names}
        variables = {name: v for name, v in used.items() if not self._foreign(f, v)}
        defaults = self._all(f.__defaults__ or ()), self._named(f.__kwdefaults__ or {})
        return f.__code__, tuple(cells), defaults, self._named(variables)

    @staticmethod
    def _foreign(f: FunctionType, x: Any) -> bool:  # noqa: ANN401
        """Whether a global of f is a module, a class, or a function of another module."""
        elsewhere = isinstance(x, FunctionType) and x.__module__ != f.__module__
        return elsewhere or isinstance(x, _FIXED)

    def _cell(self, cell: Any) -> Hashable:  # noqa: ANN401
        try:
            return self.key(cell.cell_contents)
        except ValueError:  # it is empty
            return "empty"

    def _all(self, items: Any) -> Hashable:  # noqa: ANN401
        return tuple(self.key(x) for x in items)

    def _named(self, items: Mapping[Any, Any]) -> Hashable:
        """The key of named values; empty containers, of which modules have many, are left out."""
        return tuple(
            (self.key(name), self.key(x))
            for name, x in items.items()
            if not (isinstance(x, dict | list | tuple | set) and not x)
        )
