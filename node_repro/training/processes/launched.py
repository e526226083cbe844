"""Join the processes of a run, if torchrun started several."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from node_repro.runs.environment import processes
from node_repro.training.processes import Processes
from node_repro.training.processes.alone import Alone


@contextmanager
def join_processes() -> Iterator[Processes]:
    """Context manager that joins the processes that train this run together."""
    if processes() == 1:
        yield Alone()
        return
    from node_repro.training.processes.group import Group

    with Group.joined(int(os.environ.get("LOCAL_RANK", 0))) as group:
        yield group
