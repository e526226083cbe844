"""A solver for ordinary differential equations with gradients. Torch only; imports nothing else of
this project.

Read in this order: tableau, methods/runge_kutta, methods/dopri5, engines/eager, gradients/adjoint.
"""

from node_repro.ode.block import ODEBlock
from node_repro.ode.dense import DenseSolution, odeint_dense
from node_repro.ode.event import EventSolution, odeint_event
from node_repro.ode.odeint import odeint
from node_repro.ode.solution import Solution, SolverError, Stats
from node_repro.ode.solver import RungeKutta

__all__ = [
    "DenseSolution",
    "EventSolution",
    "ODEBlock",
    "RungeKutta",
    "Solution",
    "SolverError",
    "Stats",
    "odeint",
    "odeint_dense",
    "odeint_event",
]
