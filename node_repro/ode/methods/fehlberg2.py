"""Fehlberg's pair of orders 2 and 1 with three stages, RKF1(2), advanced with order 2.

E. Fehlberg: Low-order classical Runge-Kutta formulas with stepsize control, NASA Technical Report
R-315, 1969. Its order 1 is that of the first two stages. The dense output is the parabola of order
2 that starts with the first slope and takes the last stage with its own weight.
"""

from node_repro.ode.methods.runge_kutta import ExplicitRungeKutta
from node_repro.ode.tableau import ButcherTableau

FEHLBERG2 = ExplicitRungeKutta(
    ButcherTableau.from_numbers(
        "fehlberg2",
        order=2,
        a=[[], ["1/2"], ["1/256", "255/256"]],
        b=["1/512", "255/256", "1/512"],
        c=[0, "1/2", 1],
        dense=[[1, "-511/512"], [0, "255/256"], [0, "1/512"]],
        dense_order=2,
        b_hat=["1/256", "255/256", 0],
        embedded_order=1,
    )
)
