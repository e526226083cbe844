"""Heun's trapezoidal method, order 2, with fixed steps."""

from node_repro.ode.methods.runge_kutta import ExplicitRungeKutta
from node_repro.ode.tableau import ButcherTableau

HEUN = ExplicitRungeKutta(
    ButcherTableau.from_numbers(
        "heun",
        order=2,
        a=[[], [1]],
        b=["1/2", "1/2"],
        c=[0, 1],
        dense=[[1, "-1/2"], [0, "1/2"]],
        dense_order=2,
    )
)
