"""The automatic first step (Hairer, Norsett, Wanner: Solving ODEs I, section II.4)."""

import math
from typing import Any

import torch
from torch import Tensor

from node_repro.ode.floats import namespace
from node_repro.ode.methods import Field, Slope, State
from node_repro.ode.methods.runge_kutta import combine
from node_repro.ode.norm import Norm, Tolerances
from node_repro.ode.solution import SolverError, count_non_finite

SMALLEST = 1e-6  # the step where the state or its slope is almost 0


def initial_step(
    f: Field,
    t: Any,  # noqa: ANN401
    state: State,
    slope: Slope,
    *,
    end: Any,  # noqa: ANN401
    error_order: int,
    tolerances: Tolerances,
    norm: Norm,
) -> Any:  # noqa: ANN401
    """The signed size of the first step from t towards end. Takes one more evaluation of f.

    The slope after a step of Euler's method that changes the state by 1 % estimates the second
    derivative.

    Args:
        f: The field.
        t: The start of the solve: a float, or a scalar tensor in a compiled loop.
        state: The state there.
        slope: The slope there.
        end: The end of the solve, as t.
        error_order: The power of h with which the error estimate falls.
        tolerances: The tolerances of the solve.
        norm: The norm of the solve.

    Returns:
        A float, or a scalar tensor if t is one.

    Raises:
        SolverError: f(t, y) is not finite (kind non_finite_dynamics). If t is a tensor, the result
            is NaN instead.
    """
    xp = namespace(t)
    slope_state = State(slope.dy, slope.integrands)
    d0, d1 = _scalars(t, *(norm.measure(x, tolerances, state) for x in (state, slope_state)))
    usable = xp.isfinite(d0) & xp.isfinite(d1)
    if xp is not torch and not usable:
        raise _unusable_start(t, state, slope, d1, tolerances)
    span = abs(end - t)
    # Euler's step
    at_rest = (d0 < 1e-5) | (d1 < 1e-5)
    h0 = xp.where(at_rest, SMALLEST, 0.01 * d0 / xp.clip(d1, 1e-5))
    h0 = xp.minimum(h0, span)
    signed = xp.copysign(h0, end - t)
    y1 = combine(state.y, signed, (1.0,), (slope.dy,))
    ahead = f(xp.where(h0 == span, end, t + signed), y1, integrands=norm.integrals)
    # the step of the method, from the larger of the first two derivatives
    pairs = zip(ahead.integrands, slope.integrands, strict=False)
    change = State(ahead.dy - slope.dy, tuple(q1 - q0 for q1, q0 in pairs))
    (difference,) = _scalars(t, norm.measure(change, tolerances, state))
    fastest = xp.maximum(d1, difference / h0)
    h1 = xp.where(
        fastest <= 1e-15,
        xp.clip(h0 * 1e-3, SMALLEST),
        (0.01 / xp.clip(fastest, 1e-15)) ** (1.0 / error_order),
    )
    h1 = xp.where(xp.isfinite(fastest), h1, h0)
    h = xp.minimum(xp.minimum(100.0 * h0, h1), span)
    return xp.where(usable, xp.copysign(h, end - t), math.nan)


def _scalars(t: float | Tensor, *measures: Tensor) -> tuple[Any, ...]:
    """Scalar tensors as numbers of the kind of t; floats take one host read."""
    if isinstance(t, Tensor):
        return tuple(x.double() for x in measures)
    return tuple(map(float, torch.stack(measures).cpu()))


def _unusable_start(
    t: float, state: State, slope: Slope, d1: float, tolerances: Tolerances
) -> SolverError:
    """The error of a start whose state or slope has no finite norm."""
    finite = bool(torch.isfinite(state.y).all()) and bool(torch.isfinite(slope.dy).all())
    if not math.isfinite(d1) and tolerances.integrals[1] == 0 and finite:
        return SolverError(
            "bad_input",
            "an element of y0 is 0 and atol is 0, so its error has no tolerance: use atol > 0",
            t=t,
        )
    return SolverError(
        "non_finite_dynamics",
        f"f is not finite or too large at the start t = {t:g}: {count_non_finite(slope.dy)} of its "
        f"value and {count_non_finite(state.y)} of the state are NaN or infinite; check the inputs "
        "and the parameters (often a diverged training)",
        t=t,
    )
