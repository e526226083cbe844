"""The explicit midpoint rule (Runge 1895), order 2."""

from node_repro.ode.methods.runge_kutta import ExplicitRungeKutta
from node_repro.ode.tableau import ButcherTableau

MIDPOINT = ExplicitRungeKutta(
    ButcherTableau.from_numbers(
        "midpoint",
        order=2,
        a=[[], ["1/2"]],
        b=[0, 1],
        c=[0, "1/2"],
        dense=[[1, -1], [0, 1]],
        dense_order=2,
    )
)
