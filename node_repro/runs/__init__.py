"""What a run leaves behind: its directory, its metrics, its surroundings, its dashboard.

Nothing here knows a model, a task or a solver, and everything but `meters` works
without torch, so that a mistake in a command line is told before torch is imported.
"""

from typing import ClassVar


class OutputError(Exception):
    """The run's directory cannot be made, locked, read or written; one plain sentence says why."""

    exit_code: ClassVar[int] = 6
