"""A job that failed: exit code and one sentence of what was raised, and how workers pass it on."""

import json
import os
from pathlib import Path
from typing import NamedTuple

from node_repro.config.choices import malformed

_INTERNAL, _RESOURCES = 1, 5


class Failure(NamedTuple):
    """A job that failed: its number in the sweep, from 1, and what it left with."""

    number: int
    overrides: str
    code: int
    reason: str  # empty where the run itself said it

    @property
    def told(self) -> str:
        """The job and its reason."""
        reason = self.reason or f"left with exit code {self.code}"
        return f"job {self.number} ({self.overrides}): {reason}"


def notes_file(outputs: Path) -> Path:
    """Where workers tell this process of failures: beside the runs, as another host sees them."""
    return outputs.absolute() / ".sweep" / f"failures-{os.uname().nodename}-{os.getpid()}.jsonl"


def write_failure(notes: Path, failure: Failure) -> None:
    """Adds a failure to a file that several processes write to; a line of an append is whole."""
    notes.parent.mkdir(parents=True, exist_ok=True)
    with notes.open("a", encoding="utf-8") as file:
        file.write(json.dumps(failure) + "\n")


def read_failures(notes: Path) -> list[Failure]:
    """The failures in such a file, by number, which is removed; none where there is no file."""
    if not notes.is_file():
        return []
    lines = notes.read_text(encoding="utf-8").splitlines()
    notes.unlink()
    return sorted(Failure(*json.loads(line)) for line in lines)


def judge(error: Exception) -> tuple[int, str]:
    """Exit code and sentence for what a job raised."""
    code = getattr(error, "exit_code", None)
    if code is not None:
        return code, in_one_line(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return _RESOURCES, f"out of memory: {in_one_line(error)}"
    if isinstance(error, BrokenPipeError):
        raise error
    reason = f"internal error: {type(error).__name__}: {in_one_line(error)}"
    return _INTERNAL, f"{reason}; run again with debug=true for the traceback"


def in_one_line(error: Exception) -> str:
    """What an exception says, without line breaks, its notes in brackets."""
    from yaml import MarkedYAMLError

    if isinstance(error, MarkedYAMLError):
        error = malformed(error)
    notes = (f"({note})" for note in getattr(error, "__notes__", ()))
    lines = (line.strip() for line in (*str(error).splitlines(), *notes))
    return " ".join(line for line in lines if line) or type(error).__name__
