"""Runs on disk: `RunDirectory` writes one, `StoredRun` reads one, `find_runs` finds them.

Nothing here depends on a model, a task or a solver, and only `meters` imports torch.
"""

from typing import ClassVar


class OutputError(Exception):
    """A run's directory cannot be created, locked, read or written."""

    exit_code: ClassVar[int] = 6
