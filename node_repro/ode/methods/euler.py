"""Euler's method, order 1: the ResNet's own step, y1 = y + h f(t, y)."""

from node_repro.ode.methods.runge_kutta import ExplicitRungeKutta
from node_repro.ode.tableau import ButcherTableau

EULER = ExplicitRungeKutta(
    ButcherTableau.from_numbers("euler", order=1, a=[[]], b=[1], c=[0], dense=[[1]], dense_order=1)
)
