"""The classical Runge-Kutta method (Kutta 1901), order 4, with the dense output of order 3 of its
four stages.

Dense output: Hairer, Norsett, Wanner: Solving ODEs I, II.6, equation (6.20).
"""

from node_repro.ode.methods.runge_kutta import ExplicitRungeKutta
from node_repro.ode.tableau import ButcherTableau

RK4 = ExplicitRungeKutta(
    ButcherTableau.from_numbers(
        "rk4",
        order=4,
        a=[[], ["1/2"], [0, "1/2"], [0, 0, 1]],
        b=["1/6", "1/3", "1/3", "1/6"],
        c=[0, "1/2", "1/2", 1],
        dense=[[1, "-3/2", "2/3"], [0, 1, "-2/3"], [0, 1, "-2/3"], [0, "-1/2", "2/3"]],
        dense_order=3,
    )
)
