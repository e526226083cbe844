"""Bytes held for backward: constant for the adjoint, a state a step for checkpointed, all stages
of all steps for direct.
"""

import pytest
import torch
from chosen import (
    ADJOINTS,
    GRADIENTS,
    IMPLICIT,
    METHODS,
    REAL_ONLY,
    REVERSIBLE,
    TABLEAUS,
    Net,
    adaptive,
    real,
    steps,
)
from torch import Tensor

from node_repro.ode import odeint
from node_repro.runs.meters import SavedBytes

STATE = 16 * 3 * 8
"""Bytes of one state: 16 rows of 3 numbers of 8 bytes."""


def bytes_of(gradient: str, count: int, method: str = "rk4", outputs: int = 2) -> tuple[int, int]:
    """Held after a forward pass of so many steps, and the most at any moment until backward ends.

    The parameters and the times are there anyway: they are left out.
    """
    f = Net()
    y0 = torch.linspace(-1, 1, 48, dtype=torch.float64).reshape(16, 3).requires_grad_()
    ts = torch.linspace(0, 1, outputs, dtype=torch.float64)
    with SavedBytes(exclude=[*f.parameters(), ts]) as saved:
        ys, stats = odeint(f, y0, ts, solver=steps(method, 1 / count), gradient=GRADIENTS[gradient])
        assert stats.accepted == count
        held = saved.held_bytes
        ys[-1].sum().backward()
    assert y0.grad is not None
    return held, saved.peak_bytes


@pytest.mark.parametrize("gradient", ADJOINTS)
@pytest.mark.parametrize("method", METHODS)
def test_the_adjoint_holds_its_outputs_whatever_the_number_of_steps(
    gradient: str, method: str
) -> None:
    few, many = bytes_of(gradient, 4, method), bytes_of(gradient, 64, method)
    assert few == many
    assert few[0] == 2 * STATE


@pytest.mark.parametrize("gradient", ADJOINTS)
def test_the_adjoint_is_flat_over_two_orders_of_magnitude(gradient: str) -> None:
    assert bytes_of(gradient, 4) == bytes_of(gradient, 256)
    held, _ = bytes_of(gradient, 8, outputs=9)
    assert held == 9 * STATE


@pytest.mark.parametrize("gradient", ADJOINTS)
def test_the_adjoint_is_flat_in_the_tolerance(gradient: str) -> None:
    def held(tol: float) -> tuple[int, int]:
        f, y0 = Net(), torch.ones(16, 3, dtype=torch.float64)
        with SavedBytes(exclude=f.parameters()) as saved:
            ys, stats = odeint(
                f, y0, real(0, 5), solver=adaptive(tol=tol), gradient=GRADIENTS[gradient]
            )
        assert ys.requires_grad
        return saved.held_bytes, stats.accepted

    (loose, few), (tight, many) = held(1e-3), held(1e-11)
    assert many > 5 * few and loose == tight


@pytest.mark.parametrize("method", METHODS)
def test_checkpointed_holds_the_state_of_every_step(method: str) -> None:
    (few, peak_few), (many, peak_many) = (
        bytes_of("checkpointed", count, method) for count in (4, 64)
    )
    if method in IMPLICIT:  # with the slopes of its stages, which neighbours may share
        each = (many - few) / (60 * STATE)
        assert IMPLICIT[method].tableau.stages <= each <= 1 + IMPLICIT[method].tableau.stages
        return
    each = 2 if method in REVERSIBLE else 1  # with the twin, which at the start is the state itself
    assert (few, many) == ((4 * each + 1 - each) * STATE, (64 * each + 1 - each) * STATE)
    # and while it goes back, one step's graph at a time
    assert peak_many - peak_few == 60 * each * STATE


@pytest.mark.parametrize("method", METHODS)
def test_direct_holds_every_step(method: str) -> None:
    held = [bytes_of("direct", count, method)[0] for count in (8, 16, 32, 64)]
    assert held[2] - held[1] == 2 * (held[1] - held[0])
    assert held[3] - held[2] == 2 * (held[2] - held[1])
    essential = TABLEAUS[method].tableau.essential if method in TABLEAUS else 1
    assert held[3] >= 64 * essential * STATE


def test_rejected_steps_hold_nothing() -> None:
    def field(t: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(y * torch.cos(30 * t))

    y0 = torch.ones(16, 3, dtype=torch.float64, requires_grad=True)
    with SavedBytes() as saved:
        _, stats = odeint(
            field, y0, real(0, 2), solver=adaptive(tol=1e-5), gradient=GRADIENTS["direct"]
        )
    each = saved.held_bytes / stats.accepted
    with SavedBytes() as saved:
        _, plain = odeint(
            field, y0, real(0, 2), solver=steps("dopri5", 0.1), gradient=GRADIENTS["direct"]
        )
    assert stats.rejected > 5
    assert each == pytest.approx(saved.held_bytes / plain.accepted, rel=0.05)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_without_gradients_nothing_is_held(gradient: str) -> None:
    f, y0 = Net(), torch.ones(16, 3, dtype=torch.float64)
    with torch.no_grad(), SavedBytes() as saved:
        odeint(f, y0, real(0, 1), solver=steps("rk4", 0.01), gradient=GRADIENTS[gradient])
    assert saved.held_bytes == 0
    # the sensitivities are a part of what is solved, and their graph that of one evaluation
    assert saved.total_bytes == 0 or gradient in REAL_ONLY


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_backward_frees_what_was_held(gradient: str) -> None:
    f, y0 = Net(), torch.ones(16, 3, dtype=torch.float64)
    with SavedBytes() as saved:
        ys, _ = odeint(f, y0, real(0, 1), solver=steps("rk4", 0.1), gradient=GRADIENTS[gradient])
        ys[-1].sum().backward()
    assert saved.held_bytes == 0
