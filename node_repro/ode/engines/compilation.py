"""Calls of torch.compile: the compiler, and the functions that it has compiled."""

import atexit
import gc
import os
import shutil
import time
import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from types import FunctionType
from typing import Any, Protocol

import torch
from torch import Tensor
from torch._C._autograd import (
    _pop_saved_tensors_default_hooks,
    _push_saved_tensors_default_hooks,
    _top_saved_tensors_default_hooks,
)
from torch._higher_order_ops.while_loop import while_loop_op

from node_repro.ode.engines.captured import run_captured
from node_repro.ode.engines.interruption import CompilationInterruptedError, interruptible
from node_repro.ode.engines.parametrized import NotCompilableError
from node_repro.ode.solution import SolverError

FUNCTIONS = 128  # that are kept; the one that was unused for longest is dropped
LOOPS = {f"{while_loop_op.__module__}.{while_loop_op.__name__}": "1"}
"""Graphs with this operator are kept on disk too; a loop is a function of its subgraphs alone."""


@dataclass
class Compilations:
    """What this process has compiled so far.

    Attributes:
        graphs: The number of compiled or captured graphs.
        seconds: The time of the calls that compiled one.
        interrupted: Whether a signal ended one: the process is about to end, and compiles no more.
    """

    graphs: int = 0
    seconds: float = 0.0
    interrupted: bool = False


COMPILATIONS = Compilations()
INTERRUPTED = "a signal ended the compilation"
_reported: set[str] = set()


@cache
def has_compiler() -> bool:
    """Whether torch finds a C++ compiler, which it needs on a CPU and for Triton."""
    names = (os.environ.get("CXX"), "g++", "clang++", "c++")
    return any(shutil.which(name) for name in names if name)


def report_once(message: str) -> None:
    """Warn, once for every message."""
    if message not in _reported:
        _reported.add(message)
        warnings.warn(message, stacklevel=2)


class Specialized(Protocol):
    """What a loop function is specialised to, besides f and the shapes; hashable."""

    def function(self) -> Callable[..., Any]:
        """The function (f, parameters, *inputs): all are tensors but f, or tuples of them."""
        ...


class LoopFunction:
    """A function of tensors with one loop, compiled when it is first called.

    Args:
        function: The function.
        backend: See `Compiled`.
    """

    def __init__(self, function: Callable[..., Any], backend: str) -> None:
        self._function, self._backend = function, backend
        self._call = compiled(function, fullgraph=True) if backend == "inductor" else function
        self._checked = False
        self._failure: str | None = None

    def __call__(
        self, check: Callable[[], object], *arguments: Any, steps: int | None = None
    ) -> Any:  # noqa: ANN401
        """Call the function.

        Args:
            check: Evaluates f with the checks of the eager engine; called for every new graph.
            arguments: The arguments of the function, of which the first is f.
            steps: The number of steps of its loop, if the host knows it.

        Raises:
            NotCompilableError: The function cannot be compiled.
        """
        if self._failure is not None:
            raise NotCompilableError(self._failure)
        graphs, checked = COMPILATIONS.graphs, self._checked
        if not checked:
            self._check(check)
        try:
            with without_hooks():
                if self._backend == "graphs":
                    result = run_captured(self._function, steps, _count, *arguments)
                elif checked:
                    result = self._call(*arguments)
                else:
                    with warnings.catch_warnings(), interruptible():
                        warnings.simplefilter("ignore")  # those of the compiler are not about f
                        result = self._call(*arguments)
        except (SolverError, NotCompilableError):
            raise
        except Exception as error:
            if self._backend == "uncompiled":
                raise
            self._failure = first_lines(error)
            raise NotCompilableError(self._failure) from error
        if checked and COMPILATIONS.graphs > graphs:
            self._check(check)  # another f of the same code: it may refer to other tensors
        self._checked = True
        return result

    def _check(self, check: Callable[[], object]) -> None:
        try:
            check()
        except NotCompilableError as error:
            self._failure = str(error)
            raise


@lru_cache(maxsize=FUNCTIONS)
def loop_function(specialized: Specialized, backend: str, kind: Hashable) -> LoopFunction:
    """The loop function for one kind of f and of its arguments: see `kind_of`."""
    return LoopFunction(specialized.function(), backend)


def compiled(function: Callable[..., Any], *, fullgraph: bool) -> Callable[..., Any]:
    """A function compiled by torch, with its compilations counted.

    Raises:
        NotCompilableError: When it is called: a signal ended the compilation. With fullgraph also
            if the function cannot be traced as a whole.
    """
    own = _with_own_code(function)
    call = torch.compile(own, fullgraph=fullgraph, dynamic=False, backend=_inductor)

    def counted(*arguments: Any) -> Any:  # noqa: ANN401
        graphs, began = COMPILATIONS.graphs, time.perf_counter()
        try:
            return call(*arguments)
        except CompilationInterruptedError:
            COMPILATIONS.interrupted = True
            raise NotCompilableError(INTERRUPTED) from None
        finally:
            if COMPILATIONS.graphs > graphs:
                COMPILATIONS.seconds += time.perf_counter() - began

    return counted


def _with_own_code(function: Callable[..., Any]) -> Callable[..., Any]:
    """A copy of a function with its own code object, as torch limits the graphs of each."""
    assert isinstance(function, FunctionType)
    return FunctionType(
        function.__code__.replace(),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )


def _inductor(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:  # noqa: ANN401
    """The backend: torch's own, on a CPU without Python between the kernels."""
    if COMPILATIONS.interrupted:
        raise CompilationInterruptedError
    _freeze_at_exit()
    COMPILATIONS.graphs += 1
    on_cpu = all(x.device.type == "cpu" for x in inputs if isinstance(x, Tensor))
    options: dict[str, Any] = {"cpp_wrapper": on_cpu, "unsafe_marked_cacheable_functions": LOOPS}
    if on_cpu:
        from node_repro.ode.engines.cpu_pass import CpuPass  # imports the compiler

        options["post_grad_custom_post_pass"] = CpuPass()
    with interruptible():
        return torch._inductor.compile(graph, inputs, options=options)


def _count() -> None:
    COMPILATIONS.graphs += 1


@cache
def _freeze_at_exit() -> None:
    """Leave out the compiler's objects when Python ends, which takes seconds to collect them."""
    atexit.register(gc.freeze)


def first_lines(error: Exception) -> str:
    """The type and the first lines of an error, or what the C++ compiler said."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    compiler = [line for line in lines if " error: " in line]  # of g++, after its long command
    return f"{type(error).__name__}: {' '.join(compiler[:1] or lines[:2])}"


@contextmanager
def without_hooks() -> Iterator[None]:
    """Set aside hooks on saved tensors: torch.func refuses them, and a loop saves no tensors."""
    hooks = []
    while (top := _top_saved_tensors_default_hooks(False)) is not None:
        _pop_saved_tensors_default_hooks()
        hooks.append(top)
    try:
        yield
    finally:
        for pack, unpack in reversed(hooks):
            _push_saved_tensors_default_hooks(pack, unpack)
