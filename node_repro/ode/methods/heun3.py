"""Heun's method of order 3 (Heun 1900; Hairer, Norsett, Wanner: Solving ODEs I, II.1, table 1.1).

The slope at the step's end is a fourth stage, shared with the next step: with it the dense output
is the cubic Hermite polynomial, of order 3, which the three stages alone cannot give.
"""

from node_repro.ode.methods.runge_kutta import ExplicitRungeKutta
from node_repro.ode.tableau import ButcherTableau

HEUN3 = ExplicitRungeKutta(
    ButcherTableau.from_numbers(
        "heun3",
        order=3,
        a=[[], ["1/3"], [0, "2/3"], ["1/4", 0, "3/4"]],
        b=["1/4", 0, "3/4", 0],
        c=[0, "1/3", "2/3", 1],
        dense=[[1, "-5/4", "1/2"], [0, 0, 0], [0, "9/4", "-3/2"], [0, -1, 1]],
        dense_order=3,
    )
)
