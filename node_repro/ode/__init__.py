"""Differentiable solvers for ordinary differential equations dy/dt = f(t, y), in torch.

This namespace contains the whole public API:

>>> import torch
>>> from node_repro import ode
>>> f = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Tanh())
>>> ys, stats = ode.odeint(
...     lambda t, y: f(y),
...     torch.zeros(8, 2),
...     torch.linspace(0, 1, 5),
...     solver=ode.dopri5(rtol=1e-6, atol=1e-6),
...     gradient=ode.Adjoint(),
...     parameters=f.parameters(),
... )
>>> ys.shape
torch.Size([5, 8, 2])

Solvers: a lower-case constructor for each built-in method (dopri5, tsit5, rk4, esdirk54, ...);
scipy's as Lsoda, VodeAdams and SolveIvp, which import scipy on first use; `adaptive`, `fixed` or
`RungeKutta` for a custom method. Gradients: Direct, Checkpointed, Reversible, Adjoint, Forward.
Engines: Eager, Compiled and Auto. `ode.drop_in` has torchdiffeq's functions with its arguments.

To read the source start with tableau, methods/runge_kutta, methods/dopri5, engines/eager,
gradients/adjoint.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from node_repro.ode.block import ODEBlock, SolvesODE
from node_repro.ode.constructors import (
    adams,
    adaptive_heun,
    bosh3,
    dopri5,
    dopri8,
    esdirk54,
    euler,
    fehlberg2,
    gl4,
    gl6,
    heun,
    heun3,
    implicit_euler,
    implicit_midpoint,
    midpoint,
    radauIIA3,
    radauIIA5,
    reversible_bosh3,
    reversible_dopri5,
    reversible_heun,
    reversible_rk4,
    reversible_tsit5,
    rk4,
    rk38,
    sdirk2,
    trapezoid,
    trbdf2,
    tsit5,
)
from node_repro.ode.controllers import Controller, SolveStart, StepDecision
from node_repro.ode.controllers.adaptive import AdaptiveController
from node_repro.ode.controllers.constant import Constant
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.controllers.pi import PI
from node_repro.ode.controllers.prescribed import Prescribed
from node_repro.ode.dense import DenseSolution, odeint_dense
from node_repro.ode.engines import SolveOptions, StepCallbacks
from node_repro.ode.engines.auto import Auto
from node_repro.ode.engines.compiled import Compiled
from node_repro.ode.engines.eager import Eager
from node_repro.ode.event import EventSolution, odeint_event
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.gradients.checkpointed import Checkpointed
from node_repro.ode.gradients.direct import Direct
from node_repro.ode.gradients.forward import Forward
from node_repro.ode.gradients.reversible import Reversible
from node_repro.ode.methods import Method
from node_repro.ode.methods.adams import Adams, Corrector
from node_repro.ode.methods.collocation import (
    GAUSS_LEGENDRE_4,
    GAUSS_LEGENDRE_6,
    IMPLICIT_EULER,
    IMPLICIT_MIDPOINT,
    RADAU_IIA_3,
    RADAU_IIA_5,
    TRAPEZOID,
)
from node_repro.ode.methods.diagonally_implicit import ESDIRK54, SDIRK2, TRBDF2
from node_repro.ode.methods.dopri5 import DOPRI5
from node_repro.ode.methods.dopri8 import DOPRI8
from node_repro.ode.methods.explicit import (
    ADAPTIVE_HEUN,
    BOSH3,
    EULER,
    FEHLBERG2,
    HEUN,
    HEUN3,
    MIDPOINT,
    RK4,
    RK38,
)
from node_repro.ode.methods.implicit import ImplicitRungeKutta
from node_repro.ode.methods.reversible import Coupled
from node_repro.ode.methods.reversible_heun import REVERSIBLE_HEUN
from node_repro.ode.methods.runge_kutta import ExplicitRungeKutta
from node_repro.ode.methods.tsit5 import TSIT5
from node_repro.ode.norm import FLAT, FULL, SEMI, STATE, CallableNorm, Norm, RmsNorm
from node_repro.ode.odeint import odeint
from node_repro.ode.solution import Solution, SolverError, Stats
from node_repro.ode.solver import RungeKutta, Solver, adaptive, fixed
from node_repro.ode.tableau import ButcherTableau, ImplicitTableau

if TYPE_CHECKING:
    from node_repro.ode.scipy.lsoda import Lsoda
    from node_repro.ode.scipy.solve_ivp import SolveIvp
    from node_repro.ode.scipy.vode_adams import VodeAdams

__all__ = [
    "ADAPTIVE_HEUN",
    "BOSH3",
    "DOPRI5",
    "DOPRI8",
    "ESDIRK54",
    "EULER",
    "FEHLBERG2",
    "FLAT",
    "FULL",
    "GAUSS_LEGENDRE_4",
    "GAUSS_LEGENDRE_6",
    "HEUN",
    "HEUN3",
    "IMPLICIT_EULER",
    "IMPLICIT_MIDPOINT",
    "MIDPOINT",
    "PI",
    "RADAU_IIA_3",
    "RADAU_IIA_5",
    "REVERSIBLE_HEUN",
    "RK4",
    "RK38",
    "SDIRK2",
    "SEMI",
    "STATE",
    "TRAPEZOID",
    "TRBDF2",
    "TSIT5",
    "Adams",
    "AdaptiveController",
    "Adjoint",
    "Auto",
    "ButcherTableau",
    "CallableNorm",
    "Checkpointed",
    "Compiled",
    "Constant",
    "Controller",
    "Corrector",
    "Coupled",
    "DenseSolution",
    "Direct",
    "Eager",
    "EventSolution",
    "ExplicitRungeKutta",
    "Forward",
    "GradientMethod",
    "ImplicitRungeKutta",
    "ImplicitTableau",
    "Integral",
    "Lsoda",
    "Method",
    "Norm",
    "ODEBlock",
    "Prescribed",
    "Reversible",
    "RmsNorm",
    "RungeKutta",
    "Solution",
    "SolveIvp",
    "SolveOptions",
    "SolveStart",
    "Solver",
    "SolverError",
    "SolvesODE",
    "Stats",
    "StepCallbacks",
    "StepDecision",
    "VodeAdams",
    "adams",
    "adaptive",
    "adaptive_heun",
    "bosh3",
    "dopri5",
    "dopri8",
    "esdirk54",
    "euler",
    "fehlberg2",
    "fixed",
    "gl4",
    "gl6",
    "heun",
    "heun3",
    "implicit_euler",
    "implicit_midpoint",
    "midpoint",
    "odeint",
    "odeint_dense",
    "odeint_event",
    "radauIIA3",
    "radauIIA5",
    "reversible_bosh3",
    "reversible_dopri5",
    "reversible_heun",
    "reversible_rk4",
    "reversible_tsit5",
    "rk4",
    "rk38",
    "sdirk2",
    "trapezoid",
    "trbdf2",
    "tsit5",
]

_SCIPY = {
    "Lsoda": "node_repro.ode.scipy.lsoda",
    "SolveIvp": "node_repro.ode.scipy.solve_ivp",
    "VodeAdams": "node_repro.ode.scipy.vode_adams",
}
"""Names that are imported on first use, because importing scipy takes as long as the rest."""


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name not in _SCIPY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_SCIPY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
