"""A stand-in for an accelerator, for tests on machines without one.

Inside of `StandIn()`, tensors of `DEVICE` hold their numbers on the CPU and say that they are
elsewhere. As on CUDA, an operation on them and on a CPU tensor that is not a scalar raises an
error, and so does a random generator of the CPU. It is counted how often the host would wait for
the device: what it reads, and what it copies there without non_blocking=True. The results are those
of the CPU.
"""

import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Self
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

DEVICE = torch.device("meta")  # autograd knows it everywhere, and it needs no stream or thread

NOT_CALLERS = (str(Path(torch.__file__).parent), __file__)
COPIES = ("aten::_to_copy", "aten::copy_")
ONE_DEVICE = ("aten::cat", "aten::stack", "aten::gather", "aten::scatter", "aten::index_select")
"""Operations that take no scalar of the CPU; below, those that read how large their result is."""
SIZED_BY_VALUES = ("aten::nonzero", "aten::masked_select", "aten::_unique", "aten::unique")

Argument = Any  # or a result of an operation: a tensor, a number, a list of such, ...


class WrongDevice(RuntimeError):
    """An operation whose arguments are on different devices."""


class Elsewhere(Tensor):
    """A tensor on DEVICE; `held` is the CPU tensor with its numbers."""

    held: Tensor
    is_meta = False  # torch warns of copies into meta tensors, which have no effect
    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore

    @staticmethod
    def __new__(cls: type, held: Tensor) -> "Elsewhere":
        kind = {"dtype": held.dtype, "device": DEVICE}
        made = Tensor._make_wrapper_subclass(cls, held.size(), strides=held.stride(), **kind)
        made.held = held
        return made

    def __repr__(self, **_: object) -> str:
        return f"Elsewhere({self.held})"

    @property
    def data(self) -> Tensor:
        return Tensor.data.__get__(self)  # pyright: ignore

    @data.setter
    def data(self, other: "Elsewhere") -> None:
        """What Module.double() and the like assign to a parameter."""
        Tensor.data.__set__(self, other)  # pyright: ignore
        self.held = other.held

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.held.untyped_storage()

    def tolist(self) -> Argument:  # torch's own function refuses subclasses
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Argument, *_: Argument) -> Argument:
        raise WrongDevice(f"{func} of a tensor on the stand-in, outside of StandIn()")


class StandIn(TorchDispatchMode):
    """The device is present inside of this context.

    Attributes:
        reads: How often the host read from the device, by the line outside of torch.
        uploads: How often it copied to the device and waited for the end of the copy.
    """

    def __init__(self) -> None:
        super().__init__()
        self.forget()
        self._patches = ExitStack()

    def __enter__(self) -> Self:
        for name in ("tensor", "as_tensor"):
            made = partial(_built, getattr(torch, name))
            self._patches.enter_context(mock.patch.object(torch, name, made))
        return super().__enter__()

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        self._patches.close()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # its import, which takes seconds, is not needed

    def forget(self) -> None:
        """Count from here on."""
        self.reads: Counter[str] = Counter()
        self.uploads: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Argument, types: Argument, args: Argument = (), kwargs: Argument = None
    ) -> Argument:
        options, name = dict(kwargs or {}), func.name()
        tensors = _tensors((args, *options.values()))
        away = [x for x in tensors if isinstance(x, Elsewhere)]
        if (to := options.get("device")) is not None:
            result_away, options["device"] = torch.device(to).type == DEVICE.type, "cpu"
        else:
            result_away = isinstance(args[0], Elsewhere) if name == "aten::copy_" else bool(away)
        if not away and not result_away:
            return func(*args, **options)
        if name not in COPIES and (len(away) < len(tensors) or "generator" in options):
            _refuse_mixed(func, name, tensors, options)
        here = partial(_each, lambda x: x.held if isinstance(x, Elsewhere) else x)
        out = func(*here(args), **{key: here(x) for key, x in options.items()})
        if away and _reads(name, args, out, result_away=result_away):
            self.reads[_caller()] += 1
        if result_away and _uploads(name, tensors, args, options):
            self.uploads[_caller()] += 1
        if not result_away:
            return out
        own = {id(x.held): x for x in away}  # an operation in place returns its own tensor

        def dressed(x: Tensor) -> Tensor:  # the bits that torch resolves later are not on Elsewhere
            return own[id(x)] if id(x) in own else Elsewhere(x.resolve_conj().resolve_neg())

        out = _each(dressed, out)
        # after squeeze_ and the like the shape changes here too
        changed = torch.Tag.inplace_view in func.tags
        return return_and_correct_aliasing(func, args, options, out) if changed else out


def _built(make: Argument, data: Argument, *, device: Argument = None, **options: Any) -> Tensor:
    """torch.tensor or as_tensor, by way of the CPU: on "meta" the numbers would be lost."""
    x = make(data, **options)
    return x if device is None else x.to(device)


def _each(change: Callable[[Argument], Argument], x: Argument) -> Argument:
    """The arguments of an operation, or its results, with every tensor changed."""
    if isinstance(x, Tensor):
        return change(x)
    return type(x)(_each(change, item) for item in x) if isinstance(x, list | tuple) else x


def _tensors(x: Argument) -> list[Tensor]:
    found: list[Tensor] = []
    _each(found.append, x)
    return found


def _refuse_mixed(func: Argument, name: str, tensors: list[Tensor], options: dict) -> None:
    """Raises WrongDevice for arguments with which an operation on the device would fail."""
    if options.get("generator") is not None:
        raise WrongDevice(f"{name} on the device draws from a generator of the CPU")
    if name.startswith("aten::index_put"):
        tensors = [tensors[0], tensors[-1]]  # the indices between them may be on the CPU
    elif name.startswith("aten::index."):
        tensors = tensors[:1]
    for i, x in enumerate(tensors):
        written = i == 0 and func._schema.is_mutable
        shaped = x.dim() > 0 or written or name.startswith(ONE_DEVICE)
        if shaped and not isinstance(x, Elsewhere):
            raise WrongDevice(f"{name}: tensor {i}, {x.shape}, is on the CPU, others are not")


def _reads(name: str, args: Argument, out: Argument, *, result_away: bool) -> bool:
    """Whether an operation on tensors of the device waits for their values."""
    if name in COPIES:
        return not result_away
    if name.startswith("aten::index"):  # a mask is converted to indices
        masks = [x for x in _tensors(args[1:2]) if x.dtype in (torch.bool, torch.uint8)]
        return any(isinstance(x, Elsewhere) for x in masks)
    number = isinstance(out, bool | int | float | complex) and name != "aten::is_same_size"
    return number or name.startswith(SIZED_BY_VALUES)


def _uploads(name: str, tensors: list[Tensor], args: Argument, options: dict[str, Any]) -> bool:
    """Whether an operation with a result on the device copies to it, and waits for the copy."""
    if name in COPIES:
        later = options.get("non_blocking", False) or True in args[2:3]
        return not later and not isinstance(tensors[-1], Elsewhere)
    indices = _tensors(args[1:2]) if name.startswith("aten::index") else []
    return any(not isinstance(x, Elsewhere) for x in indices)


def _caller() -> str:
    """The innermost line of the stack outside of torch, as folder/file:line."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(NOT_CALLERS):
        frame = frame.f_back
    return f"{'/'.join(Path(frame.f_code.co_filename).parts[-2:])}:{frame.f_lineno}"
