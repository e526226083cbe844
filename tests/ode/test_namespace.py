"""`from node_repro import ode` is all that a program needs of the solver."""

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from chosen import CONF, METHODS

from node_repro import ode
from node_repro.ode import constructors

TS = torch.tensor([0.0, 1.0], dtype=torch.float64)
CONSTRUCTORS = sorted(
    name
    for name in ode.__all__
    if inspect.isfunction(getattr(ode, name))
    and getattr(ode, name).__module__ == "node_repro.ode.constructors"
)
ONE_METHOD = [name for name in CONSTRUCTORS if name not in ("adaptive", "fixed", "adams")]


def solver(name: str) -> ode.RungeKutta:
    make = getattr(ode, name)
    return (
        make(step_size=0.1)
        if "step_size" in inspect.signature(make).parameters
        else make(1e-3, 1e-6)
    )


def test_every_public_constructor_is_in_the_namespace() -> None:
    defined = {
        name
        for name, value in vars(constructors).items()
        if inspect.isfunction(value) and value.__module__ == constructors.__name__
    }
    assert {name for name in defined if not name.startswith("_")} == set(CONSTRUCTORS)


@pytest.mark.parametrize("name", ONE_METHOD)
def test_a_constructor_makes_the_solver_that_the_yaml_of_its_name_describes(name: str) -> None:
    content = yaml.safe_load((CONF / "solver" / f"{name}.yaml").read_text("utf-8"))
    made = solver(name)
    assert made.method is METHODS[name]
    assert made.max_steps == content["max_steps"]
    (controller,) = content["defaults"][0].values()
    assert type(made.controller).__name__.lower() == controller


@pytest.mark.parametrize("name", ONE_METHOD)
def test_a_constructor_tells_its_name_signature_and_method(name: str) -> None:
    make = getattr(ode, name)
    first, *_ = inspect.signature(make).parameters
    assert make.__name__ == name
    assert first == ("rtol" if solver(name).controls_error else "step_size")
    assert f"ode.{name}({first}" in make.__doc__
    assert "method:" not in make.__doc__


def test_an_adaptive_constructor_hands_further_arguments_to_its_controller() -> None:
    made = ode.tsit5(1e-6, 1e-8, controller=ode.PI, max_steps=7, max_step=0.5, proportional=0.2)
    assert made.controller == ode.PI(rtol=1e-6, atol=1e-8, max_step=0.5, proportional=0.2)
    assert made.max_steps == 7


def test_any_method_takes_constant_steps_and_one_without_an_error_estimate_no_tolerance() -> None:
    made = ode.fixed(ode.DOPRI5, 0.25)
    solution = ode.odeint(lambda t, y: -y, TS[1:], TS, solver=made, gradient=ode.Direct())
    assert solution.stats.accepted == 4
    with pytest.raises(ode.SolverError, match="rk4"):
        ode.adaptive(ode.RK4, 1e-3, 1e-3)


def test_scipy_is_imported_on_first_use_and_torchs_compiler_not_at_all() -> None:
    program = (
        "import sys; from node_repro import ode;"
        "assert not {'scipy', 'torch._dynamo'} & set(sys.modules);"
        "ode.Lsoda(1e-3, 1e-3); assert 'scipy' in sys.modules; assert 'VodeAdams' in dir(ode)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="dopri6"):
        getattr(ode, "dopri" + "6")


def test_the_reference_page_names_everything_public() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference.md").read_text(encoding="utf-8")
    missing = [name for name in ode.__all__ if not re.search(rf"\b{name}\b", page)]
    assert not missing


@pytest.mark.parametrize("name", ["dopri5", "rk4"])
def test_a_constructor_names_itself_and_what_is_missing(name: str) -> None:
    first, *_ = inspect.signature(getattr(ode, name)).parameters
    with pytest.raises(TypeError, match=f"{name}.*{first}") as caught:
        getattr(ode, name)()
    assert "adaptive" not in str(caught.value) and "fixed" not in str(caught.value)


WRONG_SOLVERS = ["dopri5", ode.dopri5, ode.RungeKutta, ode.DOPRI5, ode.Direct(), None]
WRONG_GRADIENTS = ["adjoint", ode.Adjoint, ode.odeint, ode.rk4(0.5), None]


@pytest.mark.parametrize(
    ("argument", "value", "example"),
    [("solver", value, "ode.dopri5(rtol=") for value in WRONG_SOLVERS]
    + [("gradient", value, "ode.Adjoint()") for value in WRONG_GRADIENTS],
)
def test_what_is_no_solver_or_gradient_method_is_refused_with_an_example(
    argument: str, value: object, example: str
) -> None:
    choices: dict[str, Any] = {"solver": ode.rk4(0.5), "gradient": ode.Direct()} | {argument: value}
    given = getattr(value, "__name__", value if isinstance(value, str) else type(value).__name__)
    f, y0 = torch.nn.Linear(1, 1), torch.ones(1)
    calls = [
        lambda: ode.odeint(f, y0, TS, **choices),
        lambda: ode.odeint_event(f, y0, 0.0, lambda t, y: y, limit=1.0, **choices),
        lambda: ode.ODEBlock(f, **choices),
    ]
    if argument == "solver":
        calls.append(lambda: ode.odeint_dense(f, y0, 0.0, 1.0, solver=choices["solver"]))
    for call in calls:
        with pytest.raises(ode.SolverError, match=argument) as caught:
            call()
        assert caught.value.kind == "bad_input"
        assert example in str(caught.value) and str(given) in str(caught.value)


def test_an_adjoint_refuses_what_is_no_solver() -> None:
    wrong: Any = ode.dopri5
    with pytest.raises(ode.SolverError, match=r"solver=ode.dopri5\(rtol="):
        ode.Adjoint(solver=wrong)


@pytest.mark.parametrize(
    ("method", "fact"),
    [
        (ode.RK4.tableau, r"ode\.ExplicitRungeKutta\("),
        (ode.RADAU_IIA_5.tableau, r"ode\.ImplicitRungeKutta\("),
        (ode.ExplicitRungeKutta, "class ExplicitRungeKutta"),
        (ode.dopri5, "function dopri5"),
    ],
)
def test_what_is_no_method_is_refused_at_once(
    method: Any,  # noqa: ANN401
    fact: str,
) -> None:
    for make in (lambda: ode.fixed(method, 0.1), lambda: ode.adaptive(method, 1e-3, 1e-3)):
        with pytest.raises(ode.SolverError, match=fact) as caught:
            make()
        assert caught.value.kind == "bad_input"


@pytest.mark.parametrize("name", ONE_METHOD)
def test_the_repr_of_a_solver_shows_its_method_by_name_and_no_coefficients(name: str) -> None:
    text = repr(solver(name))
    assert name.removeprefix("reversible_") in text
    assert "Fraction" not in text and len(text) < 300
    assert repr(ode.DOPRI5.tableau) == "<tableau dopri5>"
