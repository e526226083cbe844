"""Bogacki and Shampine 1989, order 3(2), with the cubic Hermite dense output."""

from node_repro.ode.methods.runge_kutta import ExplicitRungeKutta
from node_repro.ode.tableau import ButcherTableau

BOSH3 = ExplicitRungeKutta(
    ButcherTableau.from_numbers(
        "bosh3",
        order=3,
        a=[[], ["1/2"], [0, "3/4"], ["2/9", "1/3", "4/9"]],
        b=["2/9", "1/3", "4/9", 0],
        c=[0, "1/2", "3/4", 1],
        dense=[[1, "-4/3", "5/9"], [0, 1, "-2/3"], [0, "4/3", "-8/9"], [0, -1, 1]],
        dense_order=3,
        b_hat=["7/24", "1/4", "1/3", "1/8"],
        embedded_order=2,
    )
)
