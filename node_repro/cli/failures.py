"""Failures: exit code and one-line message of exceptions, and reports of worker processes."""

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
    """A failed job.

    Attributes:
        number: Position in the sweep, from 1.
        overrides: Overrides of the job.
        code: Exit code.
        reason: The message; "" if the run has printed it.
    """

    number: int
    overrides: str
    code: int
    reason: str

    def __str__(self) -> str:
        reason = self.reason or f"exit code {self.code}"
        return f"job {self.number} ({self.overrides}): {reason}"


def describe(error: Exception, *, in_job: bool) -> tuple[int, str]:
    """Exit code and message of an exception.

    Args:
        error: The exception. If it has an `exit_code`, its text is the message.
        in_job: Whether it was raised inside a job. Outside of jobs, errors of hydra, of yaml and of
            values are caused by the command line; inside, by a bug of this program.

    Raises:
        BrokenPipeError: `error` is one, which is not a failure.
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
    """The message of an exception without line breaks, with its notes in parentheses."""
    from yaml import MarkedYAMLError

    if isinstance(error, MarkedYAMLError):
        error = malformed(error)
    notes = (f"({note})" for note in getattr(error, "__notes__", ()))
    lines = (line.strip() for line in (*str(error).splitlines(), *notes))
    return " ".join(line for line in lines if line) or type(error).__name__


def show(sentence: str, *, every_rank: bool = False) -> None:
    """Print a sentence on stderr.

    Args:
        sentence: The sentence.
        every_rank: Whether every process of a run prints. False for an error that all processes
            have in common, such as a wrong configuration: rank 0 prints it, and the others wait,
            since torchrun kills all processes once one has exited.
    """
    if not every_rank and processes() > 1 and os.environ["RANK"] != "0":
        time.sleep(EXIT_DELAY)
        return
    print(f"node-run: {sentence}", file=sys.stderr)


def wants_traceback(words: Sequence[str]) -> bool:
    """Whether debug=true is among the words; also works if the configuration is invalid."""
    return any(word.lower() == "debug=true" for word in words)


def failures_file(outputs: Path) -> Path:
    """The file to which worker processes report failures; other hosts share the output folder."""
    return outputs.absolute() / ".sweep" / f"failures-{os.uname().nodename}-{os.getpid()}.jsonl"


def append_failure(path: Path, failure: Failure) -> None:
    """Append a failure, in one write, to a file shared by several processes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(failure) + "\n")


def take_failures(path: Path) -> list[Failure]:
    """Read the reported failures, sorted by number, and remove the file."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    path.unlink()
    return sorted(Failure(*json.loads(line)) for line in lines)
