"""The automatic first step (Hairer, Norsett, Wanner: Solving ODEs I, section II.4)."""

import math

import torch
from torch import Tensor

from node_repro.ode.methods import Field, Slope, State
from node_repro.ode.methods.runge_kutta import combine
from node_repro.ode.norm import Norm, Tolerances
from node_repro.ode.solution import SolverError, count_non_finite


@torch.no_grad()
def initial_step(
    f: Field,
    t: float,
    state: State,
    slope: Slope,
    *,
    end: float,
    error_order: int,
    tolerances: Tolerances,
    norm: Norm,
) -> float:
    """The signed size of the first step from t towards end. Takes one more evaluation of f.

    The slope after a step of Euler's method that changes the state by 1 % estimates the second
    derivative.

    Args:
        f: The field.
        t: The start of the solve.
        state: The state there.
        slope: The slope there.
        end: The end of the solve.
        error_order: The power of h with which the error estimate falls.
        tolerances: The tolerances of the solve.
        norm: The norm of the solve.

    Raises:
        SolverError: f(t, y) is not finite (kind non_finite_dynamics).
    """
    slope_state = State(slope.dy, slope.integrands)
    sizes = [norm.measure(x, tolerances, state) for x in (state, slope_state)]
    d0, d1 = map(float, torch.stack(sizes).cpu())  # one host read
    if not math.isfinite(d1) and tolerances.integrals[1] == 0 and _finite(state.y, slope.dy):
        raise SolverError(
            "bad_input",
            "an element of y0 is 0 and atol is 0, so its error has no tolerance: use atol > 0",
            t=t,
        )
    if not (math.isfinite(d0) and math.isfinite(d1)):
        raise SolverError(
            "non_finite_dynamics",
            f"f is not finite or too large at the start t = {t:g}: "
            f"{count_non_finite(slope.dy)} of its value and {count_non_finite(state.y)} of the "
            "state are NaN or infinite; check the inputs and the parameters (often a diverged "
            "training)",
            t=t,
        )
    h0 = 1e-6 if d0 < 1e-5 or d1 < 1e-5 else 0.01 * d0 / d1
    span = end - t
    h0 = min(h0, abs(span))
    signed = math.copysign(h0, span)
    y1 = combine(state.y, signed, (1.0,), (slope.dy,))
    t_ahead = end if h0 == abs(span) else t + signed
    ahead = f(t_ahead, y1, integrands=norm.integrals)
    turn = State(
        ahead.dy - slope.dy,
        tuple(q1 - q0 for q1, q0 in zip(ahead.integrands, slope.integrands, strict=False)),
    )
    d2 = float(norm.measure(turn, tolerances, state)) / h0
    fastest = max(d1, d2)
    h1 = max(1e-6, h0 * 1e-3) if fastest <= 1e-15 else (0.01 / fastest) ** (1.0 / error_order)
    if not math.isfinite(h1):
        h1 = h0
    return math.copysign(min(100.0 * h0, h1, abs(span)), span)


def _finite(*tensors: Tensor) -> bool:
    return all(bool(torch.isfinite(x).all()) for x in tensors)
