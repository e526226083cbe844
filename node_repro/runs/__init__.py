"""Runs on disk: `RunDirectory` writes one, `StoredRun` reads one, `find_runs` finds them.

This package is independent of models, tasks and solvers; only `meters` imports torch.
"""

from typing import ClassVar


class OutputError(Exception):
    """A run's directory cannot be created, locked, read or written."""

    exit_code: ClassVar[int] = 6
