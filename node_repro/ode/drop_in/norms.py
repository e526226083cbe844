"""torchdiffeq's norms (functions of tensors or tuples), converted to norms of the solver."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from node_repro.ode.drop_in.callbacks import saved_method
from node_repro.ode.drop_in.methods import ADAPTIVE, SCIPY, warn_about_option
from node_repro.ode.norm import FULL, SEMI, CallableNorm, Norm
from node_repro.ode.solution import SolverError
from node_repro.ode.state import Layout

StateNorm = Callable[[Tensor], Any]
"""A norm of the solver's state: (*S), or a tuple packed into a vector."""


def state_norm(options: dict[str, Any] | None, y0: Tensor | tuple[Tensor, ...]) -> StateNorm | None:
    """The option `norm` of the forward solve, a function of the form of y0; None if it is not
    given. Raises SolverError (bad_input).
    """
    given = (options or {}).get("norm")
    if given is None:
        return None
    norm = _function(given, "the option norm must be a function")
    if not isinstance(y0, tuple):
        return norm
    layout = Layout.from_parts(y0)
    return lambda y: norm(layout.unpack(y))


def forward_norm(method: str, norm: StateNorm | None) -> Norm | None:
    """The norm of the forward solve; None for the default, and for methods of fixed steps."""
    return None if norm is None or method not in ADAPTIVE else CallableNorm(lambda y, _: norm(y))


def adjoint_norm(
    method: str,
    adjoint_options: dict[str, Any] | None,
    of_state: StateNorm | None,
    y0: Tensor | tuple[Tensor, ...],
) -> Norm:
    """The norm of the backward solve.

    Unless adjoint_options has one, it is the largest of the norms of the state, of its adjoint, and
    of the parameters' gradients, which "seminorm" leaves out. A function is given the tuple (t, y,
    adjoint of y, *gradients of the parameters), the parts of a tuple one by one; t, the gradient of
    the time, is not integrated here, and zero. Raises SolverError (bad_input).
    """
    if method not in ADAPTIVE and method != SCIPY:  # no error is controlled
        return FULL
    given = (adjoint_options or {}).get("norm")
    if method == SCIPY:
        of_state = None
        if callable(given):
            warn_about_option(method, "norm")
            given = None
    semi = isinstance(given, str) and given == "seminorm"
    if given is None or semi:
        if of_state is None:
            return SEMI if semi else FULL
        return CallableNorm(_Largest(of_state), integrals=not semi)
    norm = _function(given, "adjoint_options' norm must be a function or 'seminorm'")
    layout = Layout.from_parts(y0) if isinstance(y0, tuple) else None

    def of_all(z: Tensor, integrals: tuple[Tensor, ...]) -> Any:  # noqa: ANN401
        still = z.new_zeros((), dtype=z.dtype.to_real())
        states = [part for y in z for part in (layout.unpack(y) if layout else (y,))]
        return norm((still, *states, *integrals))

    return CallableNorm(of_all, integrals=True)


def _function(given: Any, message: str) -> Callable[..., Any]:  # noqa: ANN401
    if not callable(given):
        raise SolverError("bad_input", f"{message}, not {given!r}")
    return saved_method(given)


class _Largest:
    """The largest of a norm of the state and of its adjoint, and of the integrals' root mean
    squares.
    """

    def __init__(self, of_state: StateNorm) -> None:
        self.of_state = of_state

    def __call__(self, z: Tensor, integrals: tuple[Tensor, ...]) -> Tensor:
        norms = [torch.as_tensor(self.of_state(y)).abs().reshape(()).to(z.device) for y in z]
        means = [q.abs().square().mean().sqrt() for q in integrals if q.numel()]
        return torch.stack([x.to(z.dtype.to_real()) for x in (*norms, *means)]).max()
