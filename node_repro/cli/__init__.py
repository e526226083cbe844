"""The command `node-run`. Every failure ends as one line on stderr and an exit code."""

from node_repro.cli.command import main

__all__ = ["main"]
