from collections.abc import Iterator

import pytest

from node_repro.ode.engines import compilation


@pytest.fixture(autouse=True)
def _warnings_are_told_again() -> Iterator[None]:
    """A fallback of the compiled engine is told once in a process; here once in a test."""
    before = set(compilation._reported)
    compilation._reported.clear()
    yield
    compilation._reported.update(before)
