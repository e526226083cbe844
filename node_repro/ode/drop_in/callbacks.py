"""torchdiffeq's callbacks, which are methods of func, called at every step."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from node_repro.ode.drop_in.methods import CALLBACKS, supported_callbacks
from node_repro.ode.engines import Report, StepCallbacks
from node_repro.ode.gradients.saved_function import SavedFunction
from node_repro.ode.methods import State
from node_repro.ode.state import Layout


def forward_callbacks(
    func: Any,  # noqa: ANN401
    method: str,
    y0: Tensor | tuple[Tensor, ...],
) -> StepCallbacks | None:
    """func.callback_step etc., called with (t0, y0, dt), with y0 in the form that func gets."""
    layout = Layout.from_parts(y0) if isinstance(y0, tuple) else None

    def shaped(state: State) -> Any:  # noqa: ANN401
        return state.y if layout is None else layout.unpack(state.y)

    return _callbacks(func, "", method, shaped)


def adjoint_callbacks(func: Any, method: str) -> StepCallbacks | None:  # noqa: ANN401
    """func.callback_step_adjoint and the other callbacks, called with (t0, y0, dt).

    y0 is the tuple (t, y, adjoint of y, *gradients of the parameters), with a tuple y packed into a
    vector as in torchdiffeq. t, the gradient of the time, is not integrated here and is zero.
    """

    def shaped(state: State) -> tuple[Tensor, ...]:
        y, a = state.y
        return (y.new_zeros((), dtype=y.dtype.to_real()), y, a, *state.integrals)

    return _callbacks(func, "_adjoint", method, shaped)


def saved_method(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with a weak reference to its module (see SavedFunction)."""
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
    """The callbacks that the method calls, with a warning about unsupported ones."""
    found = {name: getattr(func, name + suffix, None) for name in CALLBACKS}
    given = [name for name, callback in found.items() if callable(callback)]
    called = supported_callbacks(method)
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
