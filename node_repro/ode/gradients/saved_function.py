"""The vector field of a solve, saved in autograd's graph for the backward pass."""

import math
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from node_repro.ode.field import VectorField, Wrapper
from node_repro.ode.solution import SolverError

SHARED = ("_parameters", "_buffers", "_modules")


class SavedFunction:
    """The f of a solve, saved in autograd's graph for the backward pass.

    Python's garbage collector does not follow references through autograd's graph: if the graph
    referred to a module, a module that stores its own solution would never be freed. So a module
    is referred to weakly. If it no longer exists in the backward pass, a shallow copy is used,
    which shares its parameters, buffers and submodules.

    A module's parameters and buffers may be replaced after the solve
    (torch.func.functional_call, load_state_dict(assign=True)). The backward pass uses those of the
    solve.

    Args:
        f: The vector field.
        parameters: The declared parameters of f.
    """

    def __init__(self, f: VectorField, parameters: Sequence[Tensor]) -> None:
        self._wrappers: list[Wrapper] = []
        inner: Any = f
        while isinstance(inner, Wrapper):
            self._wrappers.append(inner.around(None))
            inner = inner.f
        module = inner if isinstance(inner, nn.Module) else getattr(inner, "__self__", None)
        self._inner: Any = inner
        self._value: Tensor | None = None
        self._module: weakref.ref[nn.Module] | None = None
        self._tensors: list[tuple[dict[str, Any], dict[str, Any]]] = []
        if not isinstance(module, nn.Module) or isinstance(module, torch.jit.ScriptModule):
            return
        self._inner = None if module is inner else inner.__func__
        self._module = weakref.ref(module)
        self._parameters = parameters
        self._copy: nn.Module = object.__new__(type(module))
        self._left_out = _copy_attributes(module, self._copy, parameters)
        self._tensors = _tensors(module)

    @property
    def restorable(self) -> bool:
        """Whether the backward pass restores the parameters of f."""
        return self._module is not None or isinstance(self._inner, torch.jit.ScriptModule)

    @contextmanager
    def solving(self) -> Iterator[VectorField]:
        """f for the forward pass, which may set attributes of f, such as noise."""
        yield self._function()
        module = None if self._module is None else self._module()
        if module is not None:
            self._left_out = _copy_attributes(module, self._copy, self._parameters)
            self._tensors = _tensors(module)

    @contextmanager
    def restored(self) -> Iterator[VectorField]:
        """f with the parameters and buffers of the forward pass.

        Raises:
            SolverError: The module no longer exists, and f uses an attribute that had a graph (kind
                bad_input).
        """
        replaced = [pair for pair in self._tensors if _differ(*pair)]
        present = [(kind, dict(kind)) for kind, _ in replaced]
        _install(replaced)
        try:
            yield self._function()
        except AttributeError as error:
            gone = self._module is not None and self._module() is None
            missing = [name for name in self._left_out if name in str(error)] if gone else []
            if not missing:
                raise
            raise SolverError(
                "bad_input",
                f"f was deleted before the backward pass and needs its attribute {missing[0]!r}, "
                "which has a graph: keep f until then, or pass that tensor in parameters=(...)",
            ) from error
        finally:
            _install(present)

    def remember(self, y: Tensor, dy: Tensor | None) -> None:
        """Store a fingerprint of a value dy = f(t, y) of the forward pass, if f was evaluated."""
        if dy is not None:
            self._value = _fingerprint(y, dy)

    def deviation(self, y: Tensor, dy: Tensor) -> Tensor:
        """The distance of f's value from the stored one for the same t and y.

        Returns:
            A scalar, at most 1 if the difference can be rounding; 0 if nothing was stored.
        """
        if self._value is None:
            return torch.zeros((), dtype=y.dtype.to_real(), device=y.device)
        now = _fingerprint(y, dy)
        size = torch.sqrt(now[0])
        one = torch.ones_like(size)
        sizes = size * torch.stack((size, torch.linalg.vector_norm(y), one, one))
        smallest = torch.finfo(now.dtype).tiny
        relative = (now - self._value).abs() / sizes.detach().clamp_min(smallest)
        return relative.max() / math.sqrt(torch.finfo(now.dtype).eps)

    def check(self, deviation: float, again: Callable[[], Tensor], dy: Tensor) -> None:
        """Report that f has changed since the forward pass, if it deviates.

        Args:
            deviation: See `deviation`.
            again: Evaluates f for the t and y of the comparison once more.
            dy: f's value in the backward pass.

        Raises:
            SolverError: f has changed since the forward pass (kind bad_input). There is only a
                warning if the values of f differ from call to call.
        """
        if not deviation > 1.0:
            return
        if torch.equal(again(), dy):
            raise SolverError(
                "bad_input",
                "f has changed since the solve (its value differs for the same t and y), so the "
                "gradient would be that of another function: call backward() before changing "
                "weights, inputs or other attributes of f",
            )
        warnings.warn(
            "f gives other values for the same t and y in the backward pass than in the solve, as "
            "with dropout or noise drawn inside of f: the gradient is not that of the solution; "
            "draw the noise once per solve, or use gradient=direct",
            stacklevel=2,
        )

    def _function(self) -> VectorField:
        f: Any = self._inner
        if self._module is not None:
            module = self._module()
            if module is None:  # not "or": a module may have a length of 0
                module = self._copy
            f = module if f is None else MethodType(f, module)
        for wrapper in reversed(self._wrappers):
            f = wrapper.around(f)
        return f


def _tensors(module: nn.Module) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The dictionaries of a module's parameters and buffers, with copies of their content."""
    kinds = (kind for m in module.modules() for kind in (m._parameters, m._buffers))
    # a scripted submodule does not have these dictionaries
    return [(kind, dict(kind)) for kind in kinds if kind and type(kind) is dict]


def _differ(kind: dict[str, Any], saved: dict[str, Any]) -> bool:
    return len(kind) != len(saved) or any(kind.get(name) is not x for name, x in saved.items())


def _install(pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    for kind, tensors in pairs:
        kind.clear()
        kind.update(tensors)


def _copy_attributes(module: nn.Module, copy: nn.Module, parameters: Sequence[Tensor]) -> list[str]:
    """Make a shallow copy of a module's attributes, and return the names of those left out.

    Left out are attributes with tensors that have a graph, such as earlier solutions, unless they
    are declared parameters.
    """
    known = {id(p) for p in parameters}
    attributes = vars(module)
    left_out = [
        name for name, x in attributes.items() if name not in SHARED and _has_graph(x, known)
    ]
    vars(copy).update({name: x for name, x in attributes.items() if name not in left_out})
    return left_out


def _has_graph(x: Any, known: set[int]) -> bool:  # noqa: ANN401
    if isinstance(x, Tensor):
        return x.grad_fn is not None and id(x) not in known
    if isinstance(x, dict):
        return any(_has_graph(value, known) for value in x.values())
    return isinstance(x, list | tuple | set) and any(_has_graph(value, known) for value in x)


def _fingerprint(y: Tensor, dy: Tensor) -> Tensor:
    """A fingerprint of a value of f, (4,): the products of dy with itself and with y, and the sums
    of every second and every third element, which depend on signs and order.
    """
    values = _reals(dy)
    products = torch.stack((values, _reals(y))) @ values
    return torch.cat((products, torch.stack((values[::2].sum(), values[::3].sum()))))


def _reals(x: Tensor) -> Tensor:
    x = x.detach()
    return (torch.view_as_real(x.resolve_conj()) if x.is_complex() else x).reshape(-1)
