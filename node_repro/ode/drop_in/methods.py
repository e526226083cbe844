"""torchdiffeq's methods and their options, by name."""

import warnings
from typing import Any

from torch import Tensor

from node_repro.ode.methods import (
    Method,
    collocation,
    diagonally_implicit,
    explicit,
)
from node_repro.ode.methods.adams import MAX_POINTS, MIN_POINTS, Adams, Corrector
from node_repro.ode.methods.dopri5 import DOPRI5
from node_repro.ode.methods.dopri8 import DOPRI8
from node_repro.ode.methods.tsit5 import TSIT5
from node_repro.ode.solution import SolverError

ADAPTIVE: dict[str, Method] = {
    "dopri8": DOPRI8,
    "dopri5": DOPRI5,
    "tsit5": TSIT5,
    "bosh3": explicit.BOSH3,
    "fehlberg2": explicit.FEHLBERG2,
    "adaptive_heun": explicit.ADAPTIVE_HEUN,
}
FIXED: dict[str, Method] = {
    "euler": explicit.EULER,
    "midpoint": explicit.MIDPOINT,
    "heun2": explicit.HEUN,
    "heun3": explicit.HEUN3,
    "rk4": explicit.RK38,
}
IMPLICIT: dict[str, Method] = {
    "implicit_euler": collocation.IMPLICIT_EULER,
    "implicit_midpoint": collocation.IMPLICIT_MIDPOINT,
    "trapezoid": collocation.TRAPEZOID,
    "radauIIA3": collocation.RADAU_IIA_3,
    "radauIIA5": collocation.RADAU_IIA_5,
    "gl4": collocation.GAUSS_LEGENDRE_4,
    "gl6": collocation.GAUSS_LEGENDRE_6,
    "sdirk2": diagonally_implicit.SDIRK2,
    "trbdf2": diagonally_implicit.TRBDF2,
}
"""Implicit Runge-Kutta methods of fixed steps."""

ADAMS = ("explicit_adams", "implicit_adams", "fixed_adams")
"""fixed_adams is an older name of implicit_adams."""

SCIPY = "scipy_solver"
NAMES = (*ADAPTIVE, *FIXED, *ADAMS, *IMPLICIT, SCIPY)

CONTROL = ("first_step", "safety", "ifactor", "dfactor", "max_num_steps", "min_step", "max_step")
GRID = ("step_size", "grid_constructor", "interp", "perturb")
OPTIONS = {
    **dict.fromkeys(ADAPTIVE, (*CONTROL, "step_t", "jump_t", "norm", "dtype")),
    **dict.fromkeys(FIXED, GRID),
    **dict.fromkeys(IMPLICIT, GRID),
    "explicit_adams": (*GRID, "max_order"),
    **dict.fromkeys(("implicit_adams", "fixed_adams"), (*GRID, "max_order", "max_iters")),
    SCIPY: ("solver", "max_step"),
}

CALLBACKS = ("callback_step", "callback_accept_step", "callback_reject_step")

EXPLICIT_ORDER, IMPLICIT_ORDER = 5, MAX_POINTS + 1
"""Default of max_order; torchdiffeq has 12 for both. Adams-Bashforth formulas of that order are
unstable except for very small steps.
"""


def checked_method(method: str | None) -> str:
    """The name, dopri5 for None. Raises SolverError (bad_input)."""
    name = "dopri5" if method is None else method
    if name not in NAMES:
        raise SolverError("bad_input", f"unknown method {name!r}; there are {', '.join(NAMES)}")
    return name


def checked_options(method: str, options: dict[str, Any] | None) -> dict[str, Any]:
    """The options that the method has, without norm, with a warning about any others."""
    given = dict(options or {})
    if not given.get("min_step", 1):
        del given["min_step"]  # 0 stands for none
    known = OPTIONS[method]
    for name, value in given.items():
        if name not in known and not (name == "norm" and value is None):
            warn_about_option(method, name)
    return {name: value for name, value in given.items() if name in known and name != "norm"}


def warn_about_option(method: str, name: str) -> None:
    """Warn that the method has no such option."""
    warnings.warn(
        f"method={method!r} has no option {name!r}, which is ignored; it takes "
        f"{', '.join(OPTIONS[method])}",
        stacklevel=5,
    )


def supported_callbacks(method: str) -> tuple[str, ...]:
    """The callbacks that a method calls."""
    if method in ADAPTIVE:
        return CALLBACKS
    return () if method == SCIPY else CALLBACKS[:1]


def fixed_method(
    name: str, options: dict[str, Any], rtol: float | Tensor, atol: float | Tensor
) -> Method:
    """A method of fixed steps. rtol and atol are those of the iteration of implicit_adams."""
    if name in FIXED:
        return FIXED[name]
    if name in IMPLICIT:
        return IMPLICIT[name]
    implicit = name != "explicit_adams"
    order = int(options.get("max_order", IMPLICIT_ORDER if implicit else EXPLICIT_ORDER))
    if not 1 <= order <= MAX_POINTS + 1:
        raise SolverError("bad_input", f"max_order must lie in [1, {MAX_POINTS + 1}], not {order}")
    least, most = MIN_POINTS + 1, MAX_POINTS + 1
    if order < least:
        warnings.warn(
            f"max_order={order}: an Adams method of an order below {least} takes Runge-Kutta "
            f"steps only, as method='rk4' does; give a max_order from {least} to {most}",
            stacklevel=4,
        )
    iterations = int(options.get("max_iters", 4))
    return Adams(order - 1, Corrector(iterations, rtol, atol) if implicit else None)
