"""Kutta's 3/8 rule (Kutta 1901; Hairer, Norsett, Wanner: Solving ODEs I, II.1, table 1.2), order 4.

The dense output is the only polynomial of order 3 that its four stages allow.
"""

from node_repro.ode.methods.runge_kutta import ExplicitRungeKutta
from node_repro.ode.tableau import ButcherTableau

RK38 = ExplicitRungeKutta(
    ButcherTableau.from_numbers(
        "rk38",
        order=4,
        a=[[], ["1/3"], ["-1/3", 1], [1, -1, 1]],
        b=["1/8", "3/8", "3/8", "1/8"],
        c=[0, "1/3", "2/3", 1],
        dense=[[1, "-15/8", 1], [0, "15/8", "-3/2"], [0, "3/8", 0], [0, "-3/8", "1/2"]],
        dense_order=3,
    )
)
