"""Constructors of solvers, one for each built-in method.

`dopri5(rtol=1e-6, atol=1e-6)` controls the error of its steps, `rk4(step_size=0.1)` takes steps of
one size. A custom method needs no constructor here: pass it to `solver.adaptive` or `solver.fixed`.
"""

import inspect
import re
from collections.abc import Callable
from typing import Concatenate, ParamSpec

from node_repro.ode.engines import Engine, StepCallbacks
from node_repro.ode.methods import (
    Method,
    collocation,
    diagonally_implicit,
    explicit,
    reversible,
)
from node_repro.ode.methods.adams import Adams, Corrector
from node_repro.ode.methods.dopri5 import DOPRI5
from node_repro.ode.methods.dopri8 import DOPRI8
from node_repro.ode.methods.reversible_heun import REVERSIBLE_HEUN
from node_repro.ode.methods.tsit5 import TSIT5
from node_repro.ode.solver import EAGER, RungeKutta, adaptive, fixed

P = ParamSpec("P")


def _constructor(
    general: Callable[Concatenate[Method, P], RungeKutta], method: Method
) -> Callable[[Callable[[], None]], Callable[P, RungeKutta]]:
    """`adaptive` or `fixed` for one method, under the name and summary of the decorated function.

    The arguments and the rest of the documentation are those of the general constructor.
    """

    def decorate(named: Callable[[], None]) -> Callable[P, RungeKutta]:
        signature = inspect.signature(general)
        parameters = list(signature.parameters.values())[1:]
        signature = signature.replace(parameters=parameters)
        required = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]

        def construct(*args: P.args, **kwargs: P.kwargs) -> RungeKutta:
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                call = f"{named.__name__}({', '.join(required)}, ...)"
                raise TypeError(f"{call}: {error}") from None
            return general(method, *args, **kwargs)

        sections = inspect.cleandoc(general.__doc__ or "").partition("\n\n")[2]
        sections = re.sub(r"\n    method: .*", "", sections)
        sections = re.sub(r"ode\.(adaptive|fixed)\(ode\.\w+, ", f"ode.{named.__name__}(", sections)
        construct.__doc__ = f"{inspect.cleandoc(named.__doc__ or '')}\n\n{sections}\n"
        construct.__name__ = construct.__qualname__ = named.__name__
        construct.__signature__ = signature
        return construct

    return decorate


@_constructor(adaptive, DOPRI5)
def dopri5() -> None:
    """Dormand and Prince's pair of order 5(4) (1980), the usual choice where f is smooth."""


@_constructor(adaptive, TSIT5)
def tsit5() -> None:
    """Tsitouras's pair of order 5(4) (2011), with slightly smaller errors than dopri5."""


@_constructor(adaptive, DOPRI8)
def dopri8() -> None:
    """Prince and Dormand's pair of order 8(7) (1981), for tolerances below about 1e-7."""


@_constructor(adaptive, explicit.BOSH3)
def bosh3() -> None:
    """Bogacki and Shampine's pair of order 3(2) (1989), for loose tolerances."""


@_constructor(adaptive, explicit.ADAPTIVE_HEUN)
def adaptive_heun() -> None:
    """Heun's method of order 2, with Euler's method as its error estimate."""


@_constructor(adaptive, explicit.FEHLBERG2)
def fehlberg2() -> None:
    """Fehlberg's pair RKF1(2) (1969), advanced with order 2."""


@_constructor(adaptive, diagonally_implicit.ESDIRK54)
def esdirk54() -> None:
    """Kennedy and Carpenter's pair ESDIRK5(4)7L[2]SA2 (2019), order 5(4), for stiff problems."""


@_constructor(adaptive, reversible.REVERSIBLE_DOPRI5)
def reversible_dopri5() -> None:
    """dopri5 coupled with itself (McCallum, Foster 2024): reversible, order 5."""


@_constructor(adaptive, reversible.REVERSIBLE_TSIT5)
def reversible_tsit5() -> None:
    """tsit5 coupled with itself (McCallum, Foster 2024): reversible, order 5."""


@_constructor(adaptive, reversible.REVERSIBLE_BOSH3)
def reversible_bosh3() -> None:
    """bosh3 coupled with itself (McCallum, Foster 2024): reversible, order 3."""


@_constructor(adaptive, REVERSIBLE_HEUN)
def reversible_heun() -> None:
    """Reversible Heun (Kidger, Foster, Li, Lyons 2021): order 2, one evaluation of f per step."""


@_constructor(fixed, reversible.REVERSIBLE_RK4)
def reversible_rk4() -> None:
    """rk4 coupled with itself (McCallum, Foster 2024): reversible, order 4."""


@_constructor(fixed, explicit.EULER)
def euler() -> None:
    """Euler's method, order 1: the update of a residual block."""


@_constructor(fixed, explicit.MIDPOINT)
def midpoint() -> None:
    """The explicit midpoint rule (Runge 1895), order 2."""


@_constructor(fixed, explicit.HEUN)
def heun() -> None:
    """Heun's method, the explicit trapezoidal rule, order 2."""


@_constructor(fixed, explicit.HEUN3)
def heun3() -> None:
    """Heun's method of order 3 (1900)."""


@_constructor(fixed, explicit.RK4)
def rk4() -> None:
    """The classical Runge-Kutta method (Kutta 1901), order 4."""


@_constructor(fixed, explicit.RK38)
def rk38() -> None:
    """Kutta's 3/8 rule (1901), order 4."""


@_constructor(fixed, collocation.IMPLICIT_EULER)
def implicit_euler() -> None:
    """The implicit Euler method, order 1, L-stable."""


@_constructor(fixed, collocation.IMPLICIT_MIDPOINT)
def implicit_midpoint() -> None:
    """The implicit midpoint rule, order 2, A-stable and symplectic."""


@_constructor(fixed, collocation.TRAPEZOID)
def trapezoid() -> None:
    """The implicit trapezoidal rule (Crank, Nicolson 1947), order 2, A-stable."""


@_constructor(fixed, collocation.RADAU_IIA_3)
def radauIIA3() -> None:
    """Radau IIA with two stages, order 3, L-stable."""


@_constructor(fixed, collocation.RADAU_IIA_5)
def radauIIA5() -> None:
    """Radau IIA with three stages, order 5, L-stable."""


@_constructor(fixed, collocation.GAUSS_LEGENDRE_4)
def gl4() -> None:
    """Gauss-Legendre with two stages, order 4, A-stable and symplectic."""


@_constructor(fixed, collocation.GAUSS_LEGENDRE_6)
def gl6() -> None:
    """Gauss-Legendre with three stages, order 6, A-stable and symplectic."""


@_constructor(fixed, diagonally_implicit.SDIRK2)
def sdirk2() -> None:
    """Alexander's singly diagonally implicit method (1977), order 2, L-stable."""


@_constructor(fixed, diagonally_implicit.TRBDF2)
def trbdf2() -> None:
    """TR-BDF2 (Hosea, Shampine 1996), order 2, L-stable."""


def adams(
    step_size: float,
    *,
    points: int = 4,
    corrector: Corrector | None = None,
    max_steps: int = 10_000,
    callbacks: StepCallbacks | None = None,
    engine: Engine = EAGER,
) -> RungeKutta:
    """Adams-Bashforth or Adams-Moulton formulas with steps of one size.

    Args:
        step_size: The size of a step, positive, in the units of time.
        points: The most past slopes that a formula interpolates.
        corrector: The iteration of Adams-Moulton; None for Adams-Bashforth.
        max_steps: Steps after which a solve fails.
        callbacks: Functions that are called at every step.
        engine: Runs the steps: Eager, Compiled or Auto.

    Returns:
        The solver, for odeint and the other functions.

    Raises:
        SolverError: A number is out of its range (kind bad_input).

    References:
        Hairer, Norsett, Wanner: Solving ODEs I, section III.1.

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> ts = torch.tensor([0.0, 1.0])
        >>> for solver in ode.adams(0.1), ode.adams(0.1, corrector=ode.Corrector()):
        ...     ys, stats = ode.odeint(
        ...         lambda t, y: -y, torch.ones(1), ts, solver=solver, gradient=ode.Direct()
        ...     )
        ...     print(torch.allclose(ys[-1], torch.exp(-ts[-1]), rtol=1e-3))
        True
        True
    """
    method = Adams(points, corrector)
    return fixed(method, step_size, max_steps=max_steps, callbacks=callbacks, engine=engine)
