"""The test problems themselves: their closed forms meet a reference by another's code."""

import pytest
import torch
from detest import DETEST
from problems import DOMAIN, REFERENCE, SMOOTH, STIFF, Problem, jump, reference
from torch import Tensor

KNOWN = {
    problem.name: problem
    for problem in (*SMOOTH, *DETEST.values(), *STIFF[:3], *DOMAIN)
    if problem.exact is not None
}
MOVED = {name: problem for name, problem in KNOWN.items() if problem.jacobian is not None}


@pytest.mark.parametrize("problem", KNOWN.values(), ids=KNOWN.keys())
def test_closed_forms_begin_at_the_start_and_meet_the_reference(problem: Problem) -> None:
    assert problem.exact is not None
    torch.testing.assert_close(problem.exact(problem.t0), problem.y0, rtol=1e-14, atol=1e-14)
    middle = (problem.t0 + problem.t1) / 2
    assert problem.error(reference(problem, middle), middle) < 300 * REFERENCE


@pytest.mark.parametrize("problem", MOVED.values(), ids=MOVED.keys())
def test_closed_forms_of_the_jacobian_move_with_the_field(problem: Problem) -> None:
    # dJ/dt = df/dy J, by central differences in t
    assert problem.jacobian is not None and problem.exact is not None
    t, h = problem.t0 + 0.3 * (problem.t1 - problem.t0), 1e-4
    rate = (problem.jacobian(t + h) - problem.jacobian(t - h)) / (2 * h)

    def at_t(y: Tensor) -> Tensor:
        return problem.f(torch.tensor(t, dtype=torch.float64), y)

    df = torch.autograd.functional.jacobian(at_t, problem.exact(t))
    assert isinstance(df, Tensor)
    torch.testing.assert_close(rate, df @ problem.jacobian(t), rtol=1e-5, atol=1e-8)


def test_the_jump_joins() -> None:
    problem = jump()
    torch.testing.assert_close(problem.at(0.5 - 1e-12), problem.at(0.5))


def test_detest_is_complete() -> None:
    assert list(DETEST) == [f"{c}{k}" for c in "ABCDE" for k in range(1, 6)]
    for problem in DETEST.values():
        assert (problem.t0, problem.t1) == (0.0, 20.0)
        assert problem.f(torch.tensor(0.0, dtype=torch.float64), problem.y0).shape == (
            problem.y0.shape
        )
