"""Tableaus: every order condition, the dense output, what is derived, and what is refused."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from chosen import TABLEAUS, real
from rooted_trees import Tree, elementary_weights, gamma, nodes, trees
from scipy.integrate import RK23, RK45

from node_repro.ode.field import Plain
from node_repro.ode.methods import Carry, State
from node_repro.ode.methods.runge_kutta import ExplicitRungeKutta
from node_repro.ode.order_conditions import conditions
from node_repro.ode.tableau import ButcherTableau, Number

ROUNDED = {"tsit5": Decimal("1e-13"), "dopri8": Decimal("1e-13")}
"""Methods published with rounded coefficients, and how far they may be from a condition."""
ROUNDED_DENSE = dict.fromkeys(ROUNDED, Decimal("1e-12"))

Exact = Fraction | Decimal


@pytest.fixture(autouse=True)
def forty_digits() -> Iterator[None]:
    with localcontext(prec=40):
        yield


class Conditions:
    """The order conditions of one tableau, in fractions or, where it is rounded, 40 digits."""

    def __init__(self, name: str) -> None:
        self.tableau, self.rounded = TABLEAUS[name].tableau, name in ROUNDED
        self.phi = elementary_weights([self.of(row) for row in self.tableau.a], self.number(1))

    def number(self, value: Fraction | int) -> Any:  # noqa: ANN401
        value = Fraction(value)
        return Decimal(value.numerator) / Decimal(value.denominator) if self.rounded else value

    def of(self, values: Sequence[Fraction]) -> list[Any]:
        return [self.number(value) for value in values]

    def sum(self, weights: Sequence[Fraction], tree: Tree) -> Any:  # noqa: ANN401
        terms = (w * p for w, p in zip(self.of(weights), self.phi(tree), strict=True))
        return sum(terms, self.number(0))

    def residual(self, weights: Sequence[Fraction], tree: Tree) -> Any:  # noqa: ANN401
        return abs(self.sum(weights, tree) - self.number(Fraction(1, gamma(tree))))


def worst(name: str, weights: Sequence[Fraction], order: int) -> Exact:
    conditions = Conditions(name)
    return max(conditions.residual(weights, tree) for n in range(1, order + 1) for tree in trees(n))


def test_there_are_as_many_rooted_trees_as_counted_by_cayley() -> None:
    assert [len(trees(n)) for n in range(1, 10)] == [1, 1, 2, 4, 9, 20, 48, 115, 286]
    assert all(nodes(tree) == 7 for tree in trees(7))


@pytest.mark.parametrize("name", TABLEAUS)
def test_weights_meet_every_condition_up_to_the_order_and_not_beyond(name: str) -> None:
    tableau = TABLEAUS[name].tableau
    assert worst(name, tableau.b, tableau.order) <= ROUNDED.get(name, 0)
    assert worst(name, tableau.b, tableau.order + 1) > 1e-9


@pytest.mark.parametrize("name", [name for name, m in TABLEAUS.items() if m.adaptive])
def test_embedded_weights_meet_every_condition_up_to_their_order_and_not_beyond(name: str) -> None:
    tableau = TABLEAUS[name].tableau
    assert tableau.b_hat is not None
    assert worst(name, tableau.b_hat, tableau.embedded_order) <= ROUNDED.get(name, 0)
    assert worst(name, tableau.b_hat, tableau.embedded_order + 1) > 1e-9
    assert TABLEAUS[name].error_order == min(tableau.order, tableau.embedded_order) + 1


@pytest.mark.parametrize("name", TABLEAUS)
def test_dense_output_meets_every_condition_as_a_polynomial(name: str) -> None:
    # sum_i b_i(x) phi_i = x^r / gamma: the coefficient of x^r is 1 / gamma, all others are zero
    conditions, tableau = Conditions(name), TABLEAUS[name].tableau
    for r in range(1, tableau.dense_order + 1):
        for tree in trees(r):
            for power, column in enumerate(zip(*tableau.dense, strict=True), start=1):
                aim = conditions.number(Fraction(1, gamma(tree)) if power == r else 0)
                assert abs(conditions.sum(column, tree) - aim) <= ROUNDED_DENSE.get(name, 0)


@pytest.mark.parametrize("name", TABLEAUS)
def test_dense_output_ends_in_the_step_and_its_rows_sum_to_the_nodes(name: str) -> None:
    tableau = TABLEAUS[name].tableau
    allowed = Fraction(ROUNDED_DENSE.get(name, 0))
    for weight, row in zip(tableau.b, tableau.dense, strict=True):
        assert abs(sum(row, Fraction(0)) - weight) <= allowed
    for node, row in zip(tableau.c, tableau.a, strict=True):
        assert abs(sum(row, Fraction(0)) - node) <= Fraction(ROUNDED.get(name, 0))


@pytest.mark.parametrize("name", TABLEAUS)
def test_dense_output_starts_with_the_first_slope(name: str) -> None:
    first = [row[0] for row in TABLEAUS[name].tableau.dense]
    allowed = Fraction(ROUNDED_DENSE.get(name, 0))
    assert abs(first[0] - 1) <= allowed and not any(first[1:])


@pytest.mark.parametrize("name", [name for name, m in TABLEAUS.items() if m.tableau.fsal])
def test_dense_output_of_steps_that_share_a_slope_is_smooth_where_they_join(name: str) -> None:
    tableau = TABLEAUS[name].tableau
    at_end = [sum((k * w for k, w in enumerate(row, 1)), Fraction(0)) for row in tableau.dense]
    allowed = Fraction(ROUNDED_DENSE.get(name, 0)) * 10
    assert abs(at_end[-1] - 1) <= allowed and max(map(abs, at_end[:-1])) <= allowed


def test_first_same_as_last_is_derived() -> None:
    known = {"bosh3": True, "dopri5": True, "tsit5": True, "dopri8": True, "euler": False}
    known |= {"rk4": False, "heun": False, "midpoint": False, "adaptive_heun": False}
    assert {name: TABLEAUS[name].tableau.fsal for name in known} == known


@pytest.mark.parametrize("name", TABLEAUS)
def test_shared_slope_is_the_one_at_the_end_of_the_step(name: str) -> None:
    method = TABLEAUS[name]

    f = Plain(lambda t, y: y * torch.cos(t))
    y, h = real(1.0, 2.0), 0.3
    step = method.step(f, 0.1, 0.1 + h, State(y), method.init(f, 0.1, y))
    slope = step.carry.slope
    assert (slope is not None) == method.tableau.fsal and step.carry.twin is None
    if slope is not None:
        assert torch.equal(slope.dy, f(real(0.1 + h)[0], step.end.y, integrands=True).dy)


@pytest.mark.parametrize("name", TABLEAUS)
def test_essential_stages_are_all_that_the_end_of_a_step_needs(name: str) -> None:
    method = TABLEAUS[name]
    calls = []

    def rate(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        calls.append(float(t))
        return y * torch.cos(t)

    f, y = Plain(rate), real(1.0, 2.0)
    carry = method.init(f, 0.1, y)
    full = method.step(f, 0.1, 0.4, State(y), carry)
    assert len(calls) == method.tableau.stages
    calls.clear()
    short = method.step(f, 0.1, 0.4, State(y), carry, advance_only=True)
    assert len(calls) == method.tableau.essential - 1
    torch.testing.assert_close(short.end.y, full.end.y, rtol=1e-15, atol=0)
    assert short.error is None and short.carry == Carry()


def test_essential_stages_of_the_known_methods() -> None:
    known = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4, "adaptive_heun": 2, "bosh3": 3}
    known |= {"dopri5": 6, "tsit5": 6, "dopri8": 13}
    assert {name: TABLEAUS[name].tableau.essential for name in known} == known


HEUN: dict[str, Any] = {
    "order": 2,
    "a": [[], [1]],
    "b": ["1/2", "1/2"],
    "c": [0, 1],
    "dense": [[1, "-1/2"], [0, "1/2"]],
    "dense_order": 2,
}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"c": [0]}, "must all have 2 rows"),
        ({"a": [[]]}, "must all have 2 rows"),
        ({"dense": [[1, "-1/2"]]}, "must all have 2 rows"),
        ({"b_hat": [1]}, "must all have 2 rows"),
        ({"a": [[], [1, 0]]}, "row 1 of a must have 1 entries, as the method is explicit"),
        ({"a": [["1/2"], [1]], "c": ["1/2", 1]}, "row 0 of a must have 0 entries"),
        ({"c": [0, "1/2"]}, r"row 1 of a does not sum to c\[1\]"),
        ({"c": ["1/10", 1]}, r"row 0 of a does not sum to c\[0\]"),
        ({"b": ["1/2", "1/3"]}, "the weights b do not sum to 1"),
        ({"b_hat": ["1/2", "1/3"]}, "the weights b_hat do not sum to 1"),
        ({"dense": [[1, "-1/3"], [0, "1/2"]]}, r"weight 0 at x = 1 is not b\[0\]"),
        ({"order": 3}, r"order=3 .* b_i c_i\^2 = 0.5, not 1/3"),
        ({"b_hat": [1, 0], "embedded_order": 2}, "embedded_order=2 .* b_hat_i c_i = 0, not 1/2"),
        ({"dense_order": 3}, r"dense_order=3 .* x\^3/3"),
        ({"dense": [["1/2"], ["1/2"]]}, r"dense_order=2 .* x\^2/2"),
    ],
)
def test_a_wrong_tableau_is_refused_with_a_sentence(change: dict[str, Any], sentence: str) -> None:
    ButcherTableau.from_numbers("mine", **HEUN)
    with pytest.raises(ValueError, match=f"^mine: .*{sentence}"):
        ButcherTableau.from_numbers("mine", **(HEUN | change))


def test_a_method_whose_last_stage_is_not_the_end_of_the_step_shares_no_slope() -> None:
    # Kutta's third order: c_3 = 1, but the last stage is not y1
    kutta = ButcherTableau.from_numbers(
        "kutta3",
        order=3,
        a=[[], ["1/2"], [-1, 2]],
        b=["1/6", "2/3", "1/6"],
        c=[0, "1/2", 1],
        dense=[[1, "-3/2", "2/3"], [0, 2, "-4/3"], [0, "-1/2", "2/3"]],
        dense_order=2,
    )
    assert not kutta.fsal and kutta.essential == 3
    # the same steps with the slope at the end as one more stage
    row: list[Number] = ["1/6", "2/3", "1/6"]
    shared = ButcherTableau.from_numbers(
        "kutta3 with its end",
        order=3,
        a=[[], ["1/2"], [-1, 2], row],
        b=[*row, 0],
        c=[0, "1/2", 1, 1],
        dense=[[1, "-3/2", "2/3"], [0, 2, "-4/3"], [0, "-1/2", "2/3"], [0, 0, 0]],
        dense_order=2,
    )
    assert shared.fsal and shared.essential == 3


@pytest.mark.parametrize("name", [n for n, m in TABLEAUS.items() if m.order == m.dense_order < 4])
def test_an_order_that_is_one_too_high_is_refused(name: str) -> None:
    tableau = TABLEAUS[name].tableau
    for option in ("order", "dense_order"):
        with pytest.raises(ValueError, match=f"^{name}: {option}={tableau.order + 1}"):
            replace(tableau, **{option: tableau.order + 1})


def test_closed_forms_of_order_conditions_are_those_of_the_rooted_trees() -> None:
    tableau = TABLEAUS["rk38"].tableau
    phi = elementary_weights(tableau.a, Fraction(1))
    aim = [(nodes(t), gamma(t), [*map(float, phi(t))]) for n in range(1, 5) for t in trees(n)]
    known = conditions(tableau.rows, tableau.nodes)
    found = [(order, density, pytest.approx([*values])) for order, density, _, values in known]
    assert all(x in found for x in aim) and len(found) == len(aim)


def torchdiffeq_tableau(name: str) -> Any:  # noqa: ANN401
    pytest.importorskip("torchdiffeq")
    from torchdiffeq._impl import adaptive_heun, bosh3, dopri5, dopri8

    modules: dict[str, tuple[ModuleType, str]] = {
        "adaptive_heun": (adaptive_heun, "_ADAPTIVE_HEUN_TABLEAU"),
        "bosh3": (bosh3, "_BOGACKI_SHAMPINE_TABLEAU"),
        "dopri5": (dopri5, "_DORMAND_PRINCE_SHAMPINE_TABLEAU"),
        "dopri8": (dopri8, "_DOPRI8_TABLEAU"),
    }
    module, attribute = modules[name]
    return getattr(module, attribute)


@pytest.mark.parametrize("name", ["adaptive_heun", "bosh3", "dopri5", "dopri8"])
def test_coefficients_are_those_of_torchdiffeq(name: str) -> None:
    theirs, ours = torchdiffeq_tableau(name), TABLEAUS[name].tableau
    assert ours.nodes[1:] == pytest.approx(theirs.alpha.tolist(), rel=1e-15)
    for our_row, their_row in zip(ours.rows[1:], theirs.beta, strict=True):
        assert our_row == pytest.approx(their_row.tolist(), rel=2e-15)
    assert ours.weights == pytest.approx(theirs.c_sol.tolist(), rel=2e-15)
    # theirs of dopri5 is another embedded formula (1951/21600, ...), of the same order
    if name != "dopri5":
        error = np.abs(ours.error_weights)
        assert error == pytest.approx(theirs.c_error.abs().numpy(), abs=2e-15)


@pytest.mark.parametrize(("name", "peer"), [("bosh3", RK23), ("dopri5", RK45)])
def test_coefficients_and_dense_output_are_those_of_scipy(
    name: str, peer: type[RK23] | type[RK45]
) -> None:
    tableau: Any = peer
    method: ExplicitRungeKutta = TABLEAUS[name]
    ours = method.tableau
    assert ours.nodes[:-1] == pytest.approx(tableau.C)
    for i, row in enumerate(ours.rows[:-1]):
        assert row == pytest.approx(tableau.A[i, :i])
    assert ours.weights[:-1] == pytest.approx(tableau.B)
    assert np.abs(ours.error_weights) == pytest.approx(np.abs(tableau.E), abs=1e-15)
    assert np.array(ours.dense_weights) == pytest.approx(tableau.P, abs=1e-14)
