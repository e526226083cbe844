"""Interleaved timing of contenders, each in its own process.

Separate processes keep allocators, threads and caches apart. The contenders are timed in turn, so
that a slow phase of the machine affects all of them and the ratios of a round are stable.
"""

import math
import multiprocessing
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

import torch

from bench.program import Contender

PATIENCE = 600.0
"""Seconds after which a contender that does not answer is given up."""

AIM = 0.02
"""Seconds that one timing should take at least; short iterations are repeated."""


class Entry(NamedTuple):
    """A named contender. build(*arguments) is called in the contender's own process.

    missing: why it cannot run, "" if it can.
    """

    name: str
    build: Callable[..., Contender]
    arguments: tuple[Any, ...] = ()
    missing: str = ""


class GaveUp(Exception):
    """A contender failed; the message is the reason."""


class _Running:
    """A contender in its process."""

    def __init__(self, entry: Entry, threads: int, warm_up: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_serve, args=(theirs, entry, threads, warm_up), daemon=False
        )
        self.process.start()
        theirs.close()

    def ask(self, word: str = "") -> Any:  # noqa: ANN401
        """The answer to a word, or the first answer, which comes unasked."""
        try:
            if word:
                self.pipe.send(word)
            if not self.pipe.poll(PATIENCE):
                raise GaveUp(f"no answer in {PATIENCE:.0f} s")
            kind, answer = self.pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self.process.join(timeout=10)
            raise GaveUp(f"its process ended with code {self.process.exitcode}") from None
        if kind == "failed":
            raise GaveUp(answer)
        return answer

    def end(self) -> None:
        self.pipe.close()
        self.process.join(timeout=10)
        if self.process.is_alive():
            self.process.terminate()


def compare(
    entries: Sequence[Entry], rounds: int, *, threads: int, warm_up: int = 2
) -> list[dict[str, Any]]:
    """Time contenders in turn.

    Args:
        entries: The contenders.
        rounds: How often each is timed.
        threads: Number of CPU threads; contenders are also restricted to as many cores.
        warm_up: Iterations before the first timing.

    Returns:
        A row for every entry: its name, its report, the `warnings` it gave, `first_seconds` of its
        first iteration, which compiles, `repeats` iterations in one timing, and the `seconds` of an
        iteration for every round; or its name and the reason as `not_run`.
    """
    running: dict[int, _Running] = {}
    rows: list[dict[str, Any]] = [{"name": entry.name} for entry in entries]

    def attempt(index: int, action: Callable[[], None]) -> None:
        try:
            action()
        except GaveUp as reason:
            running.pop(index).end()
            rows[index] = {"name": entries[index].name, "not_run": str(reason)}

    def start(index: int) -> None:
        rows[index] |= running[index].ask()
        rows[index]["seconds"] = []

    try:
        for index, entry in enumerate(entries):  # one after the other: none warms up beside another
            if entry.missing:
                rows[index]["not_run"] = entry.missing
                continue
            running[index] = _Running(entry, threads, warm_up)
            attempt(index, lambda i=index: start(i))
        for _ in range(rounds):
            for index in list(running):
                attempt(index, lambda i=index: rows[i]["seconds"].append(running[i].ask("time")))
        for index in list(running):
            attempt(index, lambda i=index: rows[i].update(running[i].ask("report")))
    finally:
        for contender in running.values():
            contender.end()
    return rows


def _serve(pipe: Connection, entry: Entry, threads: int, warm_up: int) -> None:
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache  # what compiling costs is part of a report
        os.environ["OMP_NUM_THREADS"] = str(threads)
        if hasattr(os, "sched_setaffinity"):  # libraries that do not ask OMP_NUM_THREADS, as XLA
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
        said: dict[str, None] = {}

        def note(message: Warning | str, *_: object, **__: object) -> None:
            said[str(message).splitlines()[0]] = None

        warnings.showwarning = note  # an engine says in a warning what it cannot compile
        try:
            torch.set_num_threads(threads)
            contender = entry.build(*entry.arguments)
            first = contender.timed(1)
            for _ in range(warm_up):
                contender.iterate()
            repeats = max(1, math.ceil(AIM / contender.timed(1)))
            pipe.send(("ready", {"first_seconds": first, "repeats": repeats}))
            while True:
                word = pipe.recv()
                if word == "time":
                    pipe.send((word, contender.timed(repeats)))
                else:
                    pipe.send((word, contender.report() | {"warnings": list(said)}))
        except EOFError:
            return
        except Exception as error:
            pipe.send(("failed", f"{type(error).__name__}: {error}".splitlines()[0][:300]))
