"""Butcher tableaus: the coefficients that define a Runge-Kutta method, explicit or implicit.

Stage i evaluates k_i = f(t + c_i h, y + h sum_j a_ij k_j); the step is y1 = y + h sum_i b_i k_i. A
second set of weights gives the error estimate h sum_i (b_i - b_hat_i) k_i, and polynomials b_i(x)
give the dense output y(t + x h) = y + h sum_i b_i(x) k_i for 0 <= x <= 1. (Hairer, Norsett, Wanner:
Solving ODEs I, sections II.1, II.4, II.6; Hairer, Wanner: Solving ODEs II, section IV.5.)
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import isqrt
from typing import Self

from node_repro.ode.order_conditions import conditions, violated, violated_within

Number = int | str | Fraction
ROUNDING = Fraction(1, 10**14)  # published decimals carry about 16 digits


def exact(value: Number) -> Fraction:
    """An integer, a fraction such as "3/40" or a decimal such as "0.161" as an exact rational."""
    return Fraction(value)


def square_root(n: int) -> Fraction:
    """The square root of a whole number, to 40 decimals."""
    return Fraction(isqrt(n * 10**80), 10**40)


@dataclass(frozen=True, repr=False)
class ButcherTableau:
    """The coefficients of an explicit method with s stages, exact, and checked against each other.

    `from_numbers` makes one from integers and strings.

    Args:
        name: The name of the method, for messages.
        order: The order of the solution.
        a: s rows; row i holds a_ij for j < i, so that the first is empty.
        b: The s weights of the solution.
        c: The s nodes.
        dense: s rows of coefficients of x, x^2, ...: the polynomials b_i(x), with b_i(1) = b_i.
        dense_order: The order of the dense output.
        b_hat: The s weights of a second solution, for the error estimate; None without one.
        embedded_order: The order of the second solution.

    Raises:
        ValueError: The sizes differ, a row of a does not sum to c_i, weights do not sum to 1, the
            dense output does not end in y1, or an order is too high. The conditions for orders
            above 4 are not checked.

    Examples:
        >>> from node_repro import ode
        >>> ralston = ode.ButcherTableau.from_numbers(
        ...     "ralston",
        ...     order=2,
        ...     a=[[], ["2/3"]],
        ...     b=["1/4", "3/4"],
        ...     c=[0, "2/3"],
        ...     dense=[[1, "-3/4"], [0, "3/4"]],
        ...     dense_order=2,
        ... )
        >>> ralston.stages, ralston.weights
        (2, (0.25, 0.75))
    """

    name: str
    order: int
    a: tuple[tuple[Fraction, ...], ...]
    b: tuple[Fraction, ...]
    c: tuple[Fraction, ...]
    dense: tuple[tuple[Fraction, ...], ...]
    dense_order: int
    b_hat: tuple[Fraction, ...] | None = None
    embedded_order: int = 0

    def __hash__(self) -> int:
        return hash(self.name)  # all coefficients would take longer than a step

    @classmethod
    def from_numbers(
        cls,
        name: str,
        *,
        order: int,
        a: list[list[Number]],
        b: list[Number],
        c: list[Number],
        dense: list[list[Number]],
        dense_order: int,
        b_hat: list[Number] | None = None,
        embedded_order: int = 0,
    ) -> Self:
        """The tableau of coefficients that are integers, fractions or decimals as strings, such as
        2, "3/40" and "0.161", or Fractions.
        """
        return cls(
            name=name,
            order=order,
            a=tuple(tuple(map(exact, row)) for row in a),
            b=tuple(map(exact, b)),
            c=tuple(map(exact, c)),
            dense=tuple(tuple(map(exact, row)) for row in dense),
            dense_order=dense_order,
            b_hat=None if b_hat is None else tuple(map(exact, b_hat)),
            embedded_order=embedded_order,
        )

    def __repr__(self) -> str:
        return f"<tableau {self.name}>"

    def __post_init__(self) -> None:
        s = self.stages
        sizes = {len(self.a), len(self.c), len(self.dense)} | (
            {len(self.b_hat)} if self.b_hat else set()
        )
        if sizes != {s}:
            raise ValueError(f"{self.name}: a, b, c, dense and b_hat must all have {s} rows")
        self._check_rows()
        for i, row in enumerate(self.a):
            if abs(sum(row, Fraction(0)) - self.c[i]) > ROUNDING:
                raise ValueError(f"{self.name}: row {i} of a does not sum to c[{i}]")
        for label, weights in (("b", self.b), ("b_hat", self.b_hat)):
            if weights is not None and abs(sum(weights, Fraction(0)) - 1) > ROUNDING:
                raise ValueError(f"{self.name}: the weights {label} do not sum to 1")
        for i, row in enumerate(self.dense):
            if abs(sum(row, Fraction(0)) - self.b[i]) > ROUNDING * 100:
                raise ValueError(
                    f"{self.name}: the dense output's weight {i} at x = 1 is not b[{i}]"
                )
        self._check_orders()

    def _check_orders(self) -> None:
        known = conditions(self.rows, self.nodes)
        second = tuple(map(float, self.b_hat or ()))
        embedded = self.embedded_order if second else 0
        for option, order, unmet in (
            ("order", self.order, violated(known, "b", self.weights, self.order)),
            ("embedded_order", embedded, violated(known, "b_hat", second, embedded)),
            (
                "dense_order",
                self.dense_order,
                violated_within(known, self.dense_weights, self.dense_order),
            ),
        ):
            for condition in unmet:
                raise ValueError(f"{self.name}: {option}={order} is too high: {condition}")

    def _check_rows(self) -> None:
        for i, row in enumerate(self.a):
            if len(row) != i:
                raise ValueError(
                    f"{self.name}: row {i} of a must have {i} entries, as the method is explicit"
                )

    @cached_property
    def stages(self) -> int:
        """s, the number of stages."""
        return len(self.b)

    @cached_property
    def fsal(self) -> bool:
        """First same as last: whether the last stage is f(t + h, y1)."""
        return self.stages > 1 and self.c[-1] == 1 and self.b[-1] == 0 and self.a[-1] == self.b[:-1]

    @cached_property
    def essential(self) -> int:
        """The number of stages that y1 needs. The others are for the error estimate, the dense
        output and the next step.
        """
        return max(i for i, weight in enumerate(self.b) if weight != 0) + 1

    @cached_property
    def rows(self) -> tuple[tuple[float, ...], ...]:
        """a in float64."""
        return tuple(tuple(map(float, row)) for row in self.a)

    @cached_property
    def weights(self) -> tuple[float, ...]:
        """b in float64."""
        return tuple(map(float, self.b))

    @cached_property
    def error_weights(self) -> tuple[float, ...]:
        """b - b_hat in float64; empty without an error estimate."""
        return (
            ()
            if self.b_hat is None
            else tuple(float(p - q) for p, q in zip(self.b, self.b_hat, strict=True))
        )

    @cached_property
    def uses_integrands(self) -> tuple[bool, ...]:
        """Whether a quadrature needs a stage: for its value, its error or the next step."""
        errors = self.error_weights or (0.0,) * self.stages
        shared = (False,) * (self.stages - 1) + (self.fsal,)
        return tuple(any(uses) for uses in zip(self.weights, errors, shared, strict=True))

    @cached_property
    def nodes(self) -> tuple[float, ...]:
        """c in float64."""
        return tuple(map(float, self.c))

    @cached_property
    def dense_weights(self) -> tuple[tuple[float, ...], ...]:
        """The coefficients of the dense output in float64, (s, degree)."""
        return tuple(tuple(map(float, row)) for row in self.dense)


@dataclass(frozen=True, repr=False)
class ImplicitTableau(ButcherTableau):
    """The coefficients of an implicit method with s stages: a has s rows of s entries.

    Either a is full, so that all stages are solved together (as in most collocation methods). Or it
    is lower triangular with one number on its diagonal, so that they are solved one by one
    (singly diagonally implicit methods); the first stage may then be explicit.

    Raises:
        ValueError: a has neither form, or as for ButcherTableau.

    Examples:
        >>> from node_repro import ode
        >>> implicit_euler = ode.ImplicitTableau.from_numbers(
        ...     "implicit_euler", order=1, a=[[1]], b=[1], c=[1], dense=[[1]], dense_order=1
        ... )
        >>> implicit_euler.triangular, implicit_euler.fsal
        (True, True)
    """

    __hash__ = ButcherTableau.__hash__

    def _check_rows(self) -> None:
        if any(len(row) != self.stages for row in self.a):
            raise ValueError(f"{self.name}: every row of a must have {self.stages} entries")
        diagonal = {self.a[i][i] for i in range(self.explicit, self.stages)}
        if self.triangular and (len(diagonal) != 1 or 0 in diagonal):
            raise ValueError(
                f"{self.name}: the diagonal of a must hold one number other than 0 in all stages "
                "that are implicit"
            )

    @cached_property
    def triangular(self) -> bool:
        """Whether no stage depends on a later one."""
        return not any(any(row[i + 1 :]) for i, row in enumerate(self.a))

    @cached_property
    def explicit(self) -> int:
        """The number of explicit stages: 1 if the first is f(t, y), else 0."""
        return int(not any(self.a[0]))

    @cached_property
    def groups(self) -> tuple[range, ...]:
        """The implicit stages in the order in which they are solved, together or one by one."""
        if self.triangular:
            return tuple(range(i, i + 1) for i in range(self.explicit, self.stages))
        return (range(self.stages),)

    @cached_property
    def inner(self) -> tuple[tuple[float, ...], ...]:
        """The part of a that couples the stages of one group, the same for all groups."""
        group = self.groups[0]
        return tuple(self.rows[i][group.start : group.stop] for i in group)

    @cached_property
    def fsal(self) -> bool:
        """Whether the last stage is f(t + h, y1): the method is stiffly accurate."""
        return self.c[-1] == 1 and self.a[-1] == self.b
