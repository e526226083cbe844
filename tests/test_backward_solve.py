"""The solver of the adjoint's backward solve, as gradient.* on the command line chooses it."""

from typing import Any

import pytest
import torch

from node_repro.config import ODEConfig
from node_repro.config.choices import Choices, conf_folder
from node_repro.config.compose import compose
from node_repro.config.signature import signature
from node_repro.ode.controllers.constant import Constant
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.controllers.pi import PI
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.odeint import odeint
from node_repro.ode.scipy.vode_adams import VodeAdams
from node_repro.ode.solver import RungeKutta, Solver
from node_repro.training import build

NAMES = Choices([conf_folder()]).names("solver")


def ode(*words: str) -> ODEConfig:
    found = compose(words).ode
    assert found is not None
    return found


def adjoint(*words: str) -> Adjoint:
    found = build.gradient(ode(*words))
    assert isinstance(found, Adjoint)
    return found


def back(*words: str) -> Any:  # noqa: ANN401
    """The solver of the backward solve as it will be used."""
    solver, gradient = build.forward_solver(ode(*words)), adjoint(*words)
    return (gradient.solver or solver).with_tolerance(gradient.rtol, gradient.atol)


def name(solver: Solver) -> str:
    return solver.method.name if isinstance(solver, RungeKutta) else type(solver).__name__


def test_without_a_word_the_backward_solve_is_the_forward_one() -> None:
    assert adjoint("rtol=1e-4").solver is None
    assert back("rtol=1e-4", "controller=pi") == build.forward_solver(
        ode("rtol=1e-4", "controller=pi")
    )
    assert back("solver=rk4", "controller.step_size=0.3").controller == Constant(0.3)


@pytest.mark.parametrize("forward", ["dopri5", "rk4", "vode_adams"])
@pytest.mark.parametrize("backward", NAMES)
def test_every_solver_goes_back_after_every_kind_of_solver(forward: str, backward: str) -> None:
    words = ("precision=float64", f"solver={forward}", f"gradient.solver={backward}")
    chosen = ode(*words)
    assert chosen.backward is not None and chosen.backward.solver.name == backward
    y0 = torch.tensor([1.0, -0.5], dtype=torch.float64, requires_grad=True)
    ts = torch.tensor([0.0, 1.0], dtype=torch.float64)
    ys = odeint(
        lambda t, y: -y,
        y0,
        ts,
        solver=build.forward_solver(chosen),
        gradient=build.gradient(chosen),
        parameters=(),
    ).ys
    ys[-1].sum().backward()
    assert y0.grad is not None
    torch.testing.assert_close(
        y0.grad, torch.exp(torch.tensor(-1.0).double()).expand(2), rtol=0.1, atol=0
    )


@pytest.mark.parametrize(
    ("words", "controller"),
    [
        (["gradient.solver=rk4"], Constant(0.1)),
        (["gradient.solver=rk4", "gradient.step_size=0.02"], Constant(0.02)),
        (["solver=euler", "controller.step_size=0.3", "gradient.solver=rk4"], Constant(0.3)),
        (["solver=euler", "gradient.step_size=0.02"], Constant(0.02)),
        (["gradient.controller=constant"], Constant(0.1)),
        (["gradient.controller=constant", "gradient.step_size=0.2"], Constant(0.2)),
        (["solver=rk4", "gradient.solver=dopri5"], Integral(rtol=1e-3, atol=1e-3)),
        (["solver=vode_adams", "gradient.solver=dopri5"], Integral(rtol=1e-3, atol=1e-3)),
        (["controller=pi", "gradient.solver=tsit5"], PI(rtol=1e-3, atol=1e-3, integral=0.3)),
        (["controller=pi", "gradient.solver=rk4"], Constant(0.1)),
        (["controller=constant", "gradient.solver=tsit5"], Constant(0.1)),
        (
            ["controller.safety=0.8", "gradient.solver=tsit5"],
            Integral(rtol=1e-3, atol=1e-3, safety=0.8),
        ),
        (["gradient.controller=pi", "gradient.rtol=1e-5"], PI(rtol=1e-5, atol=1e-3)),
    ],
)
def test_the_backward_steps_are_decided_as_asked_or_as_usual_for_their_solver(
    words: list[str], controller: object
) -> None:
    assert back(*words).controller == controller


def test_scipys_solvers_go_back_with_tolerances_of_their_own() -> None:
    solver = back("rtol=1e-4", "gradient.solver=vode_adams", "gradient.rtol=1e-6")
    assert isinstance(solver, VodeAdams)
    assert (solver.rtol, solver.atol, solver.max_order) == (1e-6, 1e-4, 12)


def test_steps_of_the_backward_solve_are_limited_apart() -> None:
    assert back("gradient.max_steps=7").max_steps == 7
    assert build.forward_solver(ode("gradient.max_steps=7")).max_steps == 10_000  # type: ignore[union-attr]
    assert back("gradient.solver=lsoda", "gradient.max_steps=7").max_steps == 7
    assert name(back("solver=bosh3", "gradient.max_steps=7")) == name(back("solver=bosh3"))


@pytest.mark.parametrize(
    ("words", "others"),
    [
        (["gradient.solver=tsit5"], ["gradient.solver=tsit5", "gradient.controller=integral"]),
        (
            ["gradient.controller=constant"],
            ["gradient.controller=constant", "gradient.step_size=0.1"],
        ),
        (["solver=rk4"], ["solver=rk4", "gradient.step_size=null"]),
    ],
)
def test_two_ways_to_ask_for_one_backward_solve_are_one_run(
    words: list[str], others: list[str]
) -> None:
    assert signature(compose(words), "x") == signature(compose(others), "x")


@pytest.mark.parametrize(
    "words",
    [
        ["gradient.solver=tsit5"],
        ["gradient.solver=rk4"],
        ["gradient.solver=rk4", "gradient.step_size=0.2"],
        ["gradient.controller=pi"],
        ["gradient.controller=constant"],
        ["gradient.max_steps=7"],
        ["gradient.rtol=1e-5"],
    ],
)
def test_another_backward_solve_is_another_run(words: list[str]) -> None:
    known = [["gradient.solver=tsit5", "gradient.controller=pi"], ["rtol=1e-3"]]
    others = {signature(compose(other), "x") for other in known}
    assert signature(compose(words), "x") not in others
