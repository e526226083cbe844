"""Heun's method with Euler's as its error estimate, order 2(1)."""

from node_repro.ode.methods.runge_kutta import ExplicitRungeKutta
from node_repro.ode.tableau import ButcherTableau

ADAPTIVE_HEUN = ExplicitRungeKutta(
    ButcherTableau.from_numbers(
        "adaptive_heun",
        order=2,
        a=[[], [1]],
        b=["1/2", "1/2"],
        c=[0, 1],
        dense=[[1, "-1/2"], [0, "1/2"]],
        dense_order=2,
        b_hat=[1, 0],
        embedded_order=1,
    )
)
