"""Calls of torch.compile: the compiler, the count of compiled graphs, and f alone."""

import os
import shutil
import time
import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch._C._autograd import (
    _pop_saved_tensors_default_hooks,
    _push_saved_tensors_default_hooks,
    _top_saved_tensors_default_hooks,
)
from torch._higher_order_ops.while_loop import while_loop_op

from node_repro.ode.engines.captured import run_captured
from node_repro.ode.engines.pure import NotCompilableError, Parametrized, Traceable
from node_repro.ode.field import Plain, VectorField
from node_repro.ode.methods import Field
from node_repro.ode.solution import SolverError

GRAPHS = 64
"""The most graphs of one kind of solve, over all shapes and functions f; torch's default is 8."""


@dataclass
class Compilations:
    """What this process has compiled so far.

    Attributes:
        graphs: The number of compiled or captured graphs.
        seconds: The time of the calls that compiled one.
    """

    graphs: int = 0
    seconds: float = 0.0


COMPILATIONS = Compilations()
LOOPS = {f"{while_loop_op.__module__}.{while_loop_op.__name__}": "1"}
"""Graphs with this operator are kept on disk too; a loop is a function of its subgraphs alone."""

_reported: set[str] = set()
_alone: dict[Any, Callable[..., Tensor]] = {}
_refused: set[Any] = set()  # what could not be compiled alone either


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


def _inductor(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:  # noqa: ANN401
    """The backend: torch's own, on a CPU without Python between the kernels."""
    COMPILATIONS.graphs += 1
    on_cpu = all(x.device.type == "cpu" for x in inputs if isinstance(x, Tensor))
    options: dict[str, Any] = {"cpp_wrapper": on_cpu, "unsafe_marked_cacheable_functions": LOOPS}
    if on_cpu:
        from node_repro.ode.engines.cpu_pass import CpuPass  # imports the compiler

        options["post_grad_custom_post_pass"] = CpuPass()
    return torch._inductor.compile(graph, inputs, options=options)


def _count() -> None:
    COMPILATIONS.graphs += 1


def compile_whole(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function compiled without graph breaks.

    Raises:
        NotCompilableError: When it is called: it cannot be traced or compiled.
    """
    return counted(torch.compile(_own(function), fullgraph=True, dynamic=False, backend=_inductor))


def _own(function: Callable[..., Any]) -> Callable[..., Any]:
    """A copy of a function with its own code object, as torch limits the graphs of each."""
    assert isinstance(function, FunctionType)
    return FunctionType(
        function.__code__.replace(),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )


def counted(function: Callable[..., Any]) -> Callable[..., Any]:
    """A compiled function, with the time of compilations counted."""

    def timed(*arguments: Any) -> Any:  # noqa: ANN401
        before, began = COMPILATIONS.graphs, time.perf_counter()
        result = function(*arguments)
        if COMPILATIONS.graphs > before:
            COMPILATIONS.seconds += time.perf_counter() - began
        return result

    return timed


_runs: dict[Any, Callable[..., Any]] = {}
_known: dict[Any, str | None] = {}
"""Why a graph cannot be compiled; None for one that was compiled."""


def call(
    key: Hashable,
    run_of: Callable[[], Callable[..., Any]],
    backend: str,
    case: Hashable,
    check: Callable[[], object],
    *arguments: Any,
    steps: int | None = None,
) -> Any:  # noqa: ANN401
    """Call a function of tensors, compiled if it is not yet.

    Args:
        key: What the function is specialised to.
        run_of: Makes the function.
        backend: See `Compiled`.
        case: What distinguishes calls of the function that need different graphs.
        check: Evaluates f with the checks of the eager engine; called for every new graph.
        arguments: The arguments of the function.
        steps: The number of steps of its loop, if the host knows it.

    Raises:
        NotCompilableError: The function cannot be compiled.
    """
    key, case = (backend, key), (backend, key, case)
    if key not in _runs:
        run = run_of()
        _runs[key] = compile_whole(run) if backend == "inductor" else run
    if case not in _known:
        check()
    elif _known[case]:
        raise NotCompilableError(_known[case])
    run = _runs[key]
    if backend == "graphs":
        run = partial(run_captured, run, steps, _count)
    before = COMPILATIONS.graphs
    try:
        with without_hooks():
            if case in _known:
                result = run(*arguments)
            else:
                with (
                    torch._dynamo.config.patch(recompile_limit=GRAPHS),
                    warnings.catch_warnings(),
                ):
                    warnings.simplefilter("ignore")  # those of the compiler are not about f
                    result = run(*arguments)
    except (SolverError, NotCompilableError):
        raise
    except Exception as error:
        if backend == "uncompiled":
            raise
        _known[case] = _first_lines(error)
        raise NotCompilableError(_known[case]) from error
    if COMPILATIONS.graphs > before and case in _known:
        check()  # another f of this form: it may refer to other tensors
    _known.setdefault(case, None)
    return result


def _first_lines(error: Exception) -> str:
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


def form(f: Any, *tensors: Tensor) -> Hashable:  # noqa: ANN401
    """What distinguishes graphs: the code of f, and the shapes of tensors."""
    shapes = tuple((x.shape, x.dtype, x.device) for x in tensors)
    f = f.module.f if isinstance(f, Parametrized) else f
    return getattr(f, "__code__", type(f)), shapes


def with_compiled_function(field: Field) -> Field:
    """The field with f compiled alone, if it can be; dynamo runs what it cannot trace."""
    if not isinstance(field, Plain | Traceable):
        return field
    f = field.f
    key = getattr(f, "__code__", type(f))
    if key not in _alone:

        def call(f: VectorField, t: Tensor, y: Tensor) -> Tensor:
            return f(t, y)

        _alone[key] = counted(torch.compile(_own(call), dynamic=False, backend=_inductor))
    return field.around(partial(_compiled_alone, key, f))


def _compiled_alone(key: Hashable, f: VectorField, t: Tensor, y: Tensor) -> Tensor:
    """f by its compiled graph, or as it is where the compiler fails."""
    from torch._dynamo.exc import BackendCompilerFailed
    from torch._inductor.exc import InductorError

    if key not in _refused:
        try:
            return _alone[key](f, t, y)
        except (InductorError, BackendCompilerFailed) as error:
            _refused.add(key)
            report_once(f"engine=compiled runs f as it is: {_first_lines(error)}")
    return f(t, y)
