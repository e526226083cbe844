"""Failures: an exit code and one sentence for every exception, and how worker processes report."""

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from node_repro.config.choices import malformed
from node_repro.runs.environment import EXIT_DELAY, processes

INTERNAL, USAGE, RESOURCES, OUTPUT = 1, 2, 5, 6


class Failure(NamedTuple):
    """A failed job. number: its place in the sweep, from 1; reason: "" if the run printed it."""

    number: int
    overrides: str
    code: int
    reason: str

    def __str__(self) -> str:
        reason = self.reason or f"left with exit code {self.code}"
        return f"job {self.number} ({self.overrides}): {reason}"


def describe(error: Exception, *, in_job: bool) -> tuple[int, str]:
    """Exit code and sentence for an exception.

    Args:
        error: The exception. One with an `exit_code` speaks for itself.
        in_job: Whether a job raised it. Before, between and after jobs, hydra and the user's words
            are the cause of what in a job would be an error of this program.

    Raises:
        BrokenPipeError: `error` is one, which is no failure.
    """
    code = getattr(error, "exit_code", None)
    if code is not None:
        return code, in_one_line(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return RESOURCES, f"out of memory: {in_one_line(error)}"
    if isinstance(error, BrokenPipeError):
        raise error
    if not in_job and isinstance(error, OSError) and error.errno is not None:
        return OUTPUT, f"the output folder cannot be used: {in_one_line(error)}"
    if not in_job and _is_usage(error):
        return USAGE, in_one_line(error)
    reason = f"internal error: {type(error).__name__}: {in_one_line(error)}"
    return INTERNAL, f"{reason}; run again with debug=true for the traceback"


def _is_usage(error: Exception) -> bool:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import MarkedYAMLError

    return isinstance(error, HydraException | OmegaConfBaseException | MarkedYAMLError | ValueError)


def in_one_line(error: Exception) -> str:
    """The message of an exception without line breaks, its notes in brackets."""
    from yaml import MarkedYAMLError

    if isinstance(error, MarkedYAMLError):
        error = malformed(error)
    notes = (f"({note})" for note in getattr(error, "__notes__", ()))
    lines = (line.strip() for line in (*str(error).splitlines(), *notes))
    return " ".join(line for line in lines if line) or type(error).__name__


def show(sentence: str, *, every_rank: bool = False) -> None:
    """Prints a sentence on stderr.

    Args:
        sentence: The sentence.
        every_rank: False for what all processes of a run find alike, as in the configuration: then
            rank 0 prints it, and the others wait, since torchrun ends all once one has left.
    """
    if not every_rank and processes() > 1 and os.environ["RANK"] != "0":
        time.sleep(EXIT_DELAY)
        return
    print(f"node-run: {sentence}", file=sys.stderr)


def wants_traceback(words: Sequence[str]) -> bool:
    """Whether debug=true was typed, which holds although the configuration may be at fault."""
    return any(word.lower() == "debug=true" for word in words)


def failures_file(outputs: Path) -> Path:
    """Where worker processes report failures: beside the runs, as other hosts see that folder."""
    return outputs.absolute() / ".sweep" / f"failures-{os.uname().nodename}-{os.getpid()}.jsonl"


def append_failure(path: Path, failure: Failure) -> None:
    """Appends a failure to a file that several processes write to, in one write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(failure) + "\n")


def take_failures(path: Path) -> list[Failure]:
    """The reported failures, by number; the file is removed."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    path.unlink()
    return sorted(Failure(*json.loads(line)) for line in lines)
