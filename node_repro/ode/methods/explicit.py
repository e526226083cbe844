"""Explicit Runge-Kutta methods of orders 1 to 4, as data.

"Solving ODEs I" is Hairer, Norsett, Wanner: Solving Ordinary Differential Equations I, 2nd edition.
"""

from dataclasses import replace
from fractions import Fraction

from node_repro.ode.methods.runge_kutta import ExplicitRungeKutta
from node_repro.ode.tableau import ButcherTableau

EULER = ExplicitRungeKutta(
    ButcherTableau.from_numbers("euler", order=1, a=[[]], b=[1], c=[0], dense=[[1]], dense_order=1)
)
"""Euler's method: the update y + h f(t, y) of a residual block."""

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
"""The explicit midpoint rule (Runge 1895)."""

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
"""Heun's method, the explicit trapezoidal rule (Heun 1900)."""

ADAPTIVE_HEUN = ExplicitRungeKutta(
    replace(HEUN.tableau, name="adaptive_heun", b_hat=(Fraction(1), Fraction(0)), embedded_order=1)
)
"""Heun's method with Euler's as its error estimate."""

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
"""RKF1(2): E. Fehlberg, Low-order classical Runge-Kutta formulas with stepsize control, NASA
Technical Report R-315, 1969.

It is advanced with order 2. The order 1 of b_hat is that of the first two stages. The dense output
is the parabola of order 2 that starts with the first slope and gives the last stage its own weight.
"""

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
"""Heun 1900; Solving ODEs I, table II.1.1.

The slope at the end of the step is a fourth stage, shared with the next step. With it the dense
output is the cubic Hermite polynomial of order 3, which the first three stages cannot give.
"""

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
"""P. Bogacki, L. F. Shampine: A 3(2) pair of Runge-Kutta formulas, Appl. Math. Letters 2, 1989.

The dense output is the cubic Hermite polynomial.
"""

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
"""The classical Runge-Kutta method (Kutta 1901).

Its four stages give a dense output of order 3: Solving ODEs I, equation (II.6.20).
"""

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
"""Kutta's 3/8 rule (Kutta 1901; Solving ODEs I, table II.1.2).

The dense output is the only polynomial of order 3 that the four stages allow.
"""
