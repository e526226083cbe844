"""The command `node-run`. Every failure is reported as one line on stderr and an exit code."""

from node_repro.cli.command import main

__all__ = ["main"]
