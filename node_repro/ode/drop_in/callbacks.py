"""torchdiffeq's callbacks: methods of func that are called at every step."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from node_repro.ode.drop_in.methods import CALLBACKS, callbacks_of
from node_repro.ode.engines import Report, StepCallbacks
from node_repro.ode.gradients.saved_function import SavedFunction
from node_repro.ode.methods import State
from node_repro.ode.state import Layout


def forward_callbacks(
    func: Any,  # noqa: ANN401
    method: str,
    y0: Tensor | tuple[Tensor, ...],
) -> StepCallbacks | None:
    """func.callback_step and the others, called with (t0, y0, dt); y0 is a tuple if func's is."""
    layout = Layout.from_parts(y0) if isinstance(y0, tuple) else None

    def shaped(state: State) -> Any:  # noqa: ANN401
        return state.y if layout is None else layout.unpack(state.y)

    return _callbacks(func, "", method, shaped)


def adjoint_callbacks(func: Any, method: str) -> StepCallbacks | None:  # noqa: ANN401
    """func.callback_step_adjoint and the others; y0 is the tuple (t, y, adjoint of y, *gradients of
    the parameters), where a tuple y is packed into a vector, as it is in torchdiffeq. t, the
    gradient of the time, is not integrated here, and zero.
    """

    def shaped(state: State) -> tuple[Tensor, ...]:
        y, a = state.y
        return (y.new_zeros((), dtype=y.dtype.to_real()), y, a, *state.integrals)

    return _callbacks(func, "_adjoint", method, shaped)


def saved_method(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function; a method of a module does not keep the module alive (see SavedFunction)."""
    if not isinstance(getattr(function, "__self__", None), nn.Module):
        return function
    saved = SavedFunction(function, ())

    def call(*arguments: Any) -> Any:  # noqa: ANN401
        with saved.restored() as method:
            return method(*arguments)

    return call


def _callbacks(
    func: Any,  # noqa: ANN401
    suffix: str,
    method: str,
    shaped: Callable[[State], Any],
) -> StepCallbacks | None:
    """A warning names those that the method does not call."""
    found = {name: getattr(func, name + suffix, None) for name in CALLBACKS}
    given = [name for name, callback in found.items() if callable(callback)]
    called = callbacks_of(method)
    for name in given:
        if name not in called:
            warnings.warn(
                f"method={method!r} does not call func.{name}{suffix}: "
                + (f"it calls {called[0]}{suffix} alone" if called else "it calls no callbacks"),
                stacklevel=4,
            )
    reports = [_report(found[name], shaped) if name in given else None for name in called]
    return StepCallbacks(*reports) if any(reports) else None


def _report(callback: Any, shaped: Callable[[State], Any]) -> Report:  # noqa: ANN401
    callback = saved_method(callback)

    def report(t: float, state: State, h: float) -> None:
        def time(value: float) -> Tensor:
            return torch.tensor(value, dtype=torch.float64, device=state.y.device)

        callback(time(t), shaped(state), time(abs(h)))

    return report
