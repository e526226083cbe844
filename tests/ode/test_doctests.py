"""The examples in the docstrings of the solver, run; and every public name has one."""

import doctest
import inspect
import pkgutil
import warnings
from importlib import import_module
from types import ModuleType

import pytest
import torch

from node_repro import ode

EXAMPLES = {
    f"{module.__name__}:{test.name}": test
    for module in (
        ode,
        *(import_module(m.name) for m in pkgutil.walk_packages(ode.__path__, "node_repro.ode.")),
    )
    for test in doctest.DocTestFinder().find(module)
    if test.examples
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_does_what_it_shows(name: str) -> None:
    torch.manual_seed(0)
    runner, report = doctest.DocTestRunner(optionflags=doctest.FAIL_FAST), []
    test = EXAMPLES[name]
    test.globs = {}
    with warnings.catch_warnings(action="error"):
        runner.run(test, out=report.append)
    assert not runner.failures, "".join(report)


@pytest.mark.parametrize("name", ode.__all__)
def test_every_public_name_has_a_documented_example(name: str) -> None:
    value = getattr(ode, name)
    described = value if inspect.isclass(value) or inspect.isroutine(value) else type(value)
    documentation = vars(described)["__doc__"] if inspect.isclass(described) else described.__doc__
    assert ">>> " in (documentation or "")


def test_the_examples_of_the_namespace_are_found() -> None:
    assert isinstance(ode, ModuleType)
    found = {name.rsplit(".", 1)[-1] for name in EXAMPLES}
    assert {"odeint", "dopri5", "rk4", "ODEBlock", "DenseSolution"} <= found
