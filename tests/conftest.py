"""Tiny tensors: one thread is faster than many, here and in the processes that tests start.

`pytest tests/ode --engine uncompiled` runs the tests of the solver with the loop of the compiled
engine, without compiling it.
"""

import os
from typing import Any, cast

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--engine", choices=("eager", "uncompiled"), default="eager")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--engine") == "eager":
        return
    from node_repro.ode import Compiled, RungeKutta, adaptive, fixed

    # what it does not compile it says in a warning, and leaves to the eager engine
    config.addinivalue_line("filterwarnings", "ignore:engine=compiled")
    engine = Compiled(backend="uncompiled")
    limit, _, callbacks = cast(Any, RungeKutta.__init__.__defaults__)
    RungeKutta.__init__.__defaults__ = (limit, engine, callbacks)
    for constructor in (adaptive, fixed):
        cast(Any, constructor.__kwdefaults__)["engine"] = engine
