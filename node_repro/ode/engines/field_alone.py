"""f compiled alone, for solves whose loop is not compiled."""

from collections.abc import Callable, Hashable
from functools import lru_cache, partial

from torch import Tensor

from node_repro.ode.engines.compilation import compiled, first_lines, report_once
from node_repro.ode.engines.parametrized import NotCompilableError, kind_of
from node_repro.ode.engines.pure import Traceable
from node_repro.ode.field import Plain, VectorField
from node_repro.ode.methods import Field

FUNCTIONS = 64  # that are kept; the one that was unused for longest is dropped


def with_compiled_function(field: Field) -> Field:
    """The field with f compiled alone, if it can be; torch runs what it cannot trace."""
    if not isinstance(field, Plain | Traceable):
        return field
    return field.around(partial(_evaluations(kind_of(field.f)), field.f))


class _Evaluation:
    """f(t, y) by a compiled graph, or as it is where the compiler fails."""

    def __init__(self) -> None:
        def evaluate(f: VectorField, t: Tensor, y: Tensor) -> Tensor:
            return f(t, y)

        self._call: Callable[..., Tensor] | None = compiled(evaluate, fullgraph=False)

    def __call__(self, f: VectorField, t: Tensor, y: Tensor) -> Tensor:
        from torch._dynamo.exc import BackendCompilerFailed
        from torch._inductor.exc import InductorError

        if self._call is not None:
            try:
                return self._call(f, t, y)
            except (InductorError, BackendCompilerFailed, NotCompilableError) as error:
                self._call = None
                report_once(f"engine=compiled runs f as it is: {first_lines(error)}")
        return f(t, y)


@lru_cache(maxsize=FUNCTIONS)
def _evaluations(kind: Hashable) -> _Evaluation:
    """The evaluation of functions f of one kind."""
    return _Evaluation()
