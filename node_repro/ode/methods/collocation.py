"""Collocation methods: a step is a polynomial that satisfies the equation at the nodes c.

With the Lagrange polynomials l_j of the nodes, a_ij = int_0^{c_i} l_j, b_j = int_0^1 l_j, and the
dense output is the polynomial itself, b_j(x) = int_0^x l_j, whose order is the number of nodes
(Hairer, Norsett, Wanner: Solving ODEs I, II.7; Hairer, Wanner: Solving ODEs II, IV.5).

Gauss nodes give the highest order, 2s, and keep quadratic invariants; Radau IIA nodes give order
2s - 1, L-stability and stiff accuracy. The trapezoidal rule is Lobatto IIIA.
"""

from collections.abc import Sequence
from fractions import Fraction

from node_repro.ode.methods.implicit import ImplicitRungeKutta
from node_repro.ode.tableau import ImplicitTableau, exact, square_root

Polynomial = list[Fraction]
"""Coefficients of 1, x, x^2, ..."""


def collocation(name: str, order: int, nodes: Sequence[Fraction | int | str]) -> ImplicitRungeKutta:
    """The collocation method with the given nodes.

    Args:
        name: The name of the method, for messages.
        order: Its order.
        nodes: The nodes c in [0, 1], as integers, fractions as strings, or Fractions.
    """
    c = [exact(node) for node in nodes]
    weights = [integral(lagrange(c, j)) for j in range(len(c))]
    return ImplicitRungeKutta(
        ImplicitTableau.from_numbers(
            name,
            order=order,
            a=[[value(b, node) for b in weights] for node in c],
            b=[value(b, Fraction(1)) for b in weights],
            c=[*c],
            dense=[[*b[1:]] for b in weights],
            dense_order=len(c),
        )
    )


def lagrange(c: Sequence[Fraction | int], j: int) -> Polynomial:
    """The polynomial that is 1 at node j and 0 at the others."""
    product = [Fraction(1)]
    for m, node in enumerate(c):
        if m != j:
            shifted, scaled = [Fraction(0), *product], [*(node * p for p in product), Fraction(0)]
            product = [(p - q) / (c[j] - node) for p, q in zip(shifted, scaled, strict=True)]
    return product


def integral(polynomial: Polynomial) -> Polynomial:
    """The integral from 0 to x, a polynomial in x."""
    return [Fraction(0), *(p / (k + 1) for k, p in enumerate(polynomial))]


def value(polynomial: Polynomial, x: Fraction) -> Fraction:
    """The value at x."""
    return sum((p * x**k for k, p in enumerate(polynomial)), Fraction(0))


_HALF = Fraction(1, 2)
IMPLICIT_EULER = collocation("implicit_euler", 1, [1])
IMPLICIT_MIDPOINT = collocation("implicit_midpoint", 2, [_HALF])
TRAPEZOID = collocation("trapezoid", 2, [0, 1])
RADAU_IIA_3 = collocation("radauIIA3", 3, ["1/3", 1])
RADAU_IIA_5 = collocation("radauIIA5", 5, [(4 - square_root(6)) / 10, (4 + square_root(6)) / 10, 1])
GAUSS_LEGENDRE_4 = collocation("gl4", 4, [_HALF - square_root(3) / 6, _HALF + square_root(3) / 6])
GAUSS_LEGENDRE_6 = collocation(
    "gl6", 6, [_HALF - square_root(15) / 10, _HALF, _HALF + square_root(15) / 10]
)
