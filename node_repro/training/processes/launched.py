"""Whether this process is alone or one of several: torchrun says so in the environment."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from node_repro.runs.environment import processes
from node_repro.training.processes import Processes
from node_repro.training.processes.alone import Alone


@contextmanager
def join_processes() -> Iterator[Processes]:
    """The processes that train together, until the end of the block."""
    if processes() == 1:
        yield Alone()
        return
    from node_repro.training.processes.group import Group

    with Group.joined(int(os.environ.get("LOCAL_RANK", 0))) as group:
        yield group
