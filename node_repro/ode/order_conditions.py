"""The order conditions of Runge-Kutta methods, up to order 4: eight rooted trees.

A method has order p if sum_i b_i phi_i = 1 / gamma for every rooted tree of at most p nodes, where
phi_i and gamma belong to the tree; its dense output has order p if sum_i b_i(x) phi_i = x^r / gamma
for trees of r <= p nodes. (Hairer, Norsett, Wanner: Solving ODEs I, sections II.2 and II.6.)
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

ROUNDING = 1e-10  # of sums of published coefficients with 16 digits, in float64

Vector = Sequence[float]


class Condition(NamedTuple):
    """One order condition.

    Attributes:
        order: The number of nodes of the tree.
        gamma: The density of the tree.
        name: phi_i as a formula.
        phi: The s numbers phi_i.
    """

    order: int
    gamma: int
    name: str
    phi: Vector


def conditions(a: Sequence[Vector], c: Vector) -> tuple[Condition, ...]:
    """The conditions on the weights of a method with the matrix a, given by rows, and nodes c."""

    def product(v: Vector) -> Vector:
        return [sum(x * y for x, y in zip(row, v, strict=False)) for row in a]

    squares = [x * x for x in c]
    inner = product(c)
    return (
        Condition(1, 1, "1", [1.0] * len(c)),
        Condition(2, 2, "c_i", c),
        Condition(3, 3, "c_i^2", squares),
        Condition(3, 6, "sum_j a_ij c_j", inner),
        Condition(4, 4, "c_i^3", [x * y for x, y in zip(c, squares, strict=True)]),
        Condition(4, 8, "c_i sum_j a_ij c_j", [x * y for x, y in zip(c, inner, strict=True)]),
        Condition(4, 12, "sum_j a_ij c_j^2", product(squares)),
        Condition(4, 24, "sum_jk a_ij a_jk c_k", product(inner)),
    )


def violated(known: Sequence[Condition], name: str, weights: Vector, order: int) -> Iterator[str]:
    """The violated conditions up to an order, as text; name: that of the weights."""
    for condition in known:
        if condition.order > order:
            continue
        found = _sum(weights, condition)
        if abs(found - 1 / condition.gamma) > ROUNDING:
            yield f"sum_i {name}_i {condition.name} = {found:.6g}, not 1/{condition.gamma}"


def violated_within(
    known: Sequence[Condition], dense: Sequence[Vector], order: int
) -> Iterator[str]:
    """The violated conditions on dense output, as text, for polynomials given by their coefficients
    of x, x^2, ...
    """
    columns = [*zip(*dense, strict=True)]
    columns += [(0.0,) * len(dense)] * (order - len(columns))
    for condition in known:
        for power, weights in enumerate(columns, start=1):
            aim = 1 / condition.gamma if power == condition.order else 0.0
            if condition.order <= order and abs(_sum(weights, condition) - aim) > ROUNDING:
                yield f"sum_i b_i(x) {condition.name} is not x^{condition.order}/{condition.gamma}"


def _sum(weights: Vector, condition: Condition) -> float:
    return sum(w * p for w, p in zip(weights, condition.phi, strict=True))
