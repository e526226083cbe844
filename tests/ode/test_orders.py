"""Orders of convergence within 0.1: of solutions, embedded solutions, dense outputs, gradients."""

import pytest
from chosen import ADAPTIVE, GRADIENTS, IMPLICIT, METHODS, steps, taken
from orders import (
    clean_range,
    dense_slope,
    embedded_slope,
    growth,
    oscillator,
    riccati,
    slope,
    slopes,
)

from node_repro.ode.methods.reversible import Coupled

COUPLED = {name: method for name, method in METHODS.items() if isinstance(method, Coupled)}
USUAL = {name: m for name, m in METHODS.items() if name not in (*COUPLED, *IMPLICIT)}
LOW_ORDER = [name for name, method in USUAL.items() if method.order <= 4]
PAIRS = [
    (gradient, name)
    for gradient in GRADIENTS
    for name in LOW_ORDER
    if gradient != "direct" and taken(gradient, steps(name, 1.0)) == steps(name, 1.0)
]
"""Without the methods that a gradient method takes only coupled with themselves."""


@pytest.mark.parametrize("name", USUAL)
def test_solution_and_gradients_converge_with_the_stated_order(name: str) -> None:
    method = METHODS[name]
    found = slopes(lambda count: growth(method, count), clean_range(method.order).counts)
    assert found == pytest.approx((method.order,) * 3, abs=0.1)


IMPLICIT_COUNTS = {
    1: (64, 128, 256, 512),
    2: (16, 32, 64, 128),
    3: (16, 32, 64, 128),
    4: (12, 16, 24, 32, 48),
    5: (8, 12, 16, 24, 32),
    6: (4, 5, 6, 8, 10),
}
"""Numbers of steps between the first that is small enough and the rounding errors, by order."""


@pytest.mark.parametrize("name", IMPLICIT)
def test_implicit_solutions_and_gradients_of_a_nonlinear_problem_do_too(name: str) -> None:
    # six states, as a Jacobian of the 1024 copies above would take minutes
    method = METHODS[name]
    found = slopes(lambda count: riccati(method, count), IMPLICIT_COUNTS[method.order])
    assert found == pytest.approx((method.order,) * 3, abs=0.1 if method.order < 6 else 0.2)


@pytest.mark.parametrize("name", LOW_ORDER)
def test_solution_and_gradients_of_a_nonlinear_problem_do_too(name: str) -> None:
    method = METHODS[name]
    found = slopes(lambda count: riccati(method, count), [8 * 2**k for k in range(7)])
    assert found == pytest.approx((method.order,) * 3, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("gradient", "name"), PAIRS)
def test_gradients_of_every_method_converge_with_the_order_of_the_steps(
    gradient: str, name: str
) -> None:
    # six halvings; the discrete gradients are direct's, and the adjoint solves its own equation
    method, counts = METHODS[name], [8 * 2**k for k in range(7)]
    found = slopes(lambda count: riccati(method, count, gradient), counts)
    assert found == pytest.approx((method.order,) * 3, abs=0.1)


@pytest.mark.parametrize("name", COUPLED)
def test_coupled_methods_converge_with_the_order_of_the_method_at_least(name: str) -> None:
    # the difference of the two states makes way from a term of one order more to one of the order
    method, counts = COUPLED[name], [4 * 2**k for k in range(7)]
    found = slope([1 / count for count in counts], [oscillator(method, n) for n in counts])
    assert method.order - 0.1 < found < method.order + 1.1


@pytest.mark.parametrize("name", ADAPTIVE)
def test_embedded_solutions_converge_with_the_order_that_the_estimate_stands_for(
    name: str,
) -> None:
    method = ADAPTIVE[name]
    assert embedded_slope(method) == pytest.approx(method.error_order - 1, abs=0.1)


@pytest.mark.parametrize("name", METHODS)
def test_dense_output_errs_within_a_step_with_one_order_more_than_it_states(name: str) -> None:
    order = METHODS[name].dense_order
    found = dense_slope(METHODS[name])
    if order <= 4:
        # the fifth-order term of esdirk54 is small, and the next one adds to what is seen
        assert found == pytest.approx(order + 1, abs=0.2 if name == "esdirk54" else 0.1)
    else:  # the term that gives the order is so small that float64 shows the next one
        assert found > order + 1 - 0.1
